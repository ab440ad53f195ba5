"""An event that kills every sandbox lands in the dead-letter queue; after the fix a redrive finishes its run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stepbridge import App, Context, event
from stepbridge.local.moto import MotoWorld
from tests.faults.crash import Crash, CrashingSimulation, Knife

app = App("redrive")


@app.function("greet", trigger=event("user/came"))
async def greet(ctx: Context) -> str:
    """One step, then a sleep."""
    name = await ctx.step.run("name", str.title, ctx.event.data["name"])
    await ctx.step.sleep("a while", "1m")
    return f"Hello {name}"


class Deadly(Knife):
    """Kills whatever asks for anything, until it is mended."""

    is_mended = False

    def around(self, name: str, request: Callable[[], Any]) -> Any:
        """Makes the request, once it is mended."""
        if not self.is_mended:
            raise Crash
        return super().around(name, request)


def redrive(sim: CrashingSimulation, site: Any) -> None:
    """All that is in the dead-letter queue goes back, as the console or `start-message-move-task` has it."""
    if not isinstance(sim._world, MotoWorld):
        site.stack.queue.redrive()
        return
    sqs, at = sim._world.clients.sqs(), site.stack.settings
    for message in sqs.receive_message(QueueUrl=at.dlq_url, MaxNumberOfMessages=10)["Messages"]:
        sqs.send_message(QueueUrl=at.queue_url, MessageBody=message["Body"])
        sqs.delete_message(QueueUrl=at.dlq_url, ReceiptHandle=message["ReceiptHandle"])


def test_a_redrive_after_the_fix_finishes_the_run() -> None:
    """Received a hundred times, kept whole; then the run is as if nothing had been, and the queue is empty."""
    knife = Deadly()
    with CrashingSimulation(app, knife=knife) as sim:
        sim.send("user/came", {"name": "ada"}, id="e")
        sim.advance("3 days")
        (site,) = sim._sites
        assert sim.runs() == []
        assert len(site.stack.queue.dead) == 1
        knife.is_mended = True
        redrive(sim, site)
        sim.run_until_idle()
        assert sim.run("greet").output == "Hello Ada"
        assert sim.leftovers() == []
