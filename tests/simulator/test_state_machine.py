"""Whatever is sent, repeated, cancelled, resumed, and whatever befalls: DESIGN's laws hold at every step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from stepbridge import App, Cancel, Context, EventMatch, StepError, event, invoke_only
from stepbridge.core.messages import Cancel as CancelMessage
from stepbridge.core.messages import Resume, Work, message_text
from stepbridge.ports import Outgoing
from tests.faults.programs import EFFECTS, effect
from tests.simulator.luck import Fate, Luck
from tests.simulator.storm import Storm

KEYS = st.sampled_from(["a", "b"])


def everything() -> App:
    """An app whose runs wait in every way that there is."""
    app = App("machine")

    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> str:
        await ctx.step.sleep("z", "1m")
        return await ctx.step.run("c", effect, f"child of {ctx.event.data['n']}")

    @app.function(
        "f",
        trigger=event("go"),
        cancel=[Cancel("stop", match="data.k")],
        waits=[EventMatch("paid", match="data.k", lookback="1h")],
    )
    async def handler(ctx: Context) -> Any:
        number = ctx.event.data["n"]
        await ctx.step.run("a", effect, f"a{number}")
        paid, done, rung = await asyncio.gather(
            ctx.step.wait_for_event("w", event="paid", match="data.k", timeout="3h", lookback=True),
            ctx.step.invoke("i", function=child, data={"n": number}),
            _signal(ctx, number),
        )
        other = await ctx.step.wait_for_any("any", [EventMatch("paid", match="data.k"), EventMatch("x")], timeout="2h")
        await ctx.step.run("b", effect, f"b{number}")
        return [paid and paid.id, done, rung, other and other[1].id]

    @app.function("ring", trigger=event("ring"))
    async def ring(ctx: Context) -> None:
        await ctx.step.send_signal("s", f"bell {ctx.event.data['n']}", "ding")

    return app


async def _signal(ctx: Context, number: int) -> str:
    with suppress(StepError):
        return str(await ctx.step.wait_for_signal("s", f"bell {number}", timeout="1h"))
    return "engaged"


class Machine(RuleBasedStateMachine):
    """Hypothesis chooses what happens; a storm's own luck adds duplicates, other orders, skew and lateness."""

    starts = Bundle("starts")

    @initialize(seed=st.integers(0, 1_000))
    def begin(self, seed: int) -> None:
        """A new world."""
        EFFECTS.clear()
        self.storm = Storm(everything(), luck=Luck(seed, faults_left=0)).__enter__()
        self.ids: list[str] = []
        self.sent = 0

    # -- what people and programs do -----------------------------------------------------------------
    @rule(target=starts, key=KEYS)
    def start(self, key: str) -> int:
        """An event that starts a run."""
        number = len(self.ids)
        self.ids.append(f"go-{number}")
        self.storm.send("go", {"k": key, "n": number}, id=f"go-{number}")
        return number

    @rule(number=starts, key=KEYS)
    def start_again(self, number: int, key: str) -> None:
        """The same event once more, even with other data: it starts nothing, and changes nothing."""
        self.storm.send("go", {"k": key, "n": number}, id=f"go-{number}")

    @rule(name=st.sampled_from(["paid", "stop", "x"]), key=KEYS, again=st.booleans())
    def tell(self, name: str, key: str, again: bool) -> None:  # noqa: FBT001 - hypothesis' choice
        """An event that runs wait for, or that cancels them; some twice."""
        self.sent += 1
        for _ in range(1 + again):
            self.storm.send(name, {"k": key}, id=f"{name}-{self.sent}")

    @rule(number=starts)
    def signal(self, number: int) -> None:
        """A signal for one run."""
        self.sent += 1
        self.storm.send("ring", {"n": number}, id=f"ring-{self.sent}")

    @rule(number=consumes(starts))
    def cancel(self, number: int) -> None:
        """A client cancels a run."""
        self._ask(CancelMessage(run_id=self._run_of(number), reason="a test"))

    @rule(number=starts, stray=st.booleans())
    def resume(self, number: int, stray: bool) -> None:  # noqa: FBT001 - hypothesis' choice
        """A client resumes a run that may not be parked; or a stray wake comes."""
        if stray:
            self.storm.wake_early(self._run_of(number))
        else:
            self._ask(Resume(run_id=self._run_of(number)))

    @rule(duration=st.sampled_from(["1s", "1m", "10m", "1h", "4h"]))
    def advance(self, duration: str) -> None:
        """Time passes."""
        self.storm.advance(duration)

    @rule(fates=st.lists(st.sampled_from(list(Fate)), min_size=1, max_size=3), wait=st.integers(0, 12))
    def befall(self, fates: list[Fate], wait: int) -> None:
        """After some more requests, these come to this."""
        self.storm.luck.planned += [Fate.GOES] * wait + fates

    def _ask(self, work: Work) -> None:
        self.storm._sites[0].stack.queue.send([Outgoing(body=message_text(work))])
        self.storm.settle()

    def _run_of(self, number: int) -> str:
        runs = [run.run_id for run in self.storm.runs("f") if run.event.id == f"go-{number}"]
        return runs[0] if runs else "a" * 26

    # -- the laws --------------------------------------------------------------------------------------
    @invariant()
    def what_is_written_stays(self) -> None:
        """Results and ends of runs; the storm knows them all."""
        if hasattr(self, "storm"):
            self.storm.check()

    @invariant()
    def an_event_starts_one_run(self) -> None:
        """However often it is sent or delivered."""
        if hasattr(self, "storm"):
            begun = [run.event.id for run in self.storm.runs("f")]
            assert len(set(begun)) == len(begun)

    @invariant()
    def no_run_is_given_an_event_twice(self) -> None:
        """Of two waits of a run for the same event, one gets it."""
        for run in self.storm.runs("f") if hasattr(self, "storm") else ():
            found = [row for row in (_id_in(run.steps[key].output) for key in run.steps) if row]
            assert len(set(found)) == len(found), run

    @invariant()
    def whoever_has_not_ended_has_a_driver(self) -> None:
        """A message, a schedule, a wait or a child that has one."""
        if hasattr(self, "storm"):
            assert self.storm.stranded() == []

    def teardown(self) -> None:
        """From here on all goes well: all must end, and leave nothing."""
        if not hasattr(self, "storm"):
            return
        try:
            self.storm.luck.planned.clear()
            self.storm.end()
            assert {run.status for run in self.storm.runs()} <= {"COMPLETED", "CANCELLED"}
            assert self._left_but_for_the_cancelled() == []
        finally:
            self.storm.__exit__(None, None, None)

    def _left_but_for_the_cancelled(self) -> list[str]:
        """A crash between a wait and the head that lists it, and then a cancel: that wait expires, by its ttl."""
        cancelled = [run.run_id for run in self.storm.runs() if run.status == "CANCELLED"]
        return [left for left in self.storm.leftovers() if not any(f" '{run_id}#" in left for run_id in cancelled)]


def _id_in(output: Any) -> str:
    if isinstance(output, list) and len(output) == 2:  # wait_for_any
        output = output[1]
    return str(output["id"]) if isinstance(output, dict) and "id" in output else ""


TestMachine = Machine.TestCase
TestMachine.settings = settings(stateful_step_count=20, report_multiple_bugs=False)


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """The engine tells of every fault; here they are meant."""
    logging.getLogger("stepbridge").setLevel(logging.CRITICAL + 1)
    yield
    logging.getLogger("stepbridge").setLevel(logging.NOTSET)
