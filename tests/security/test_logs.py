"""No line of a log holds what users put into events, steps and errors."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from pydantic import BaseModel

from stepbridge import App, Cancel, Context, ContextSync, EventMatch, NonRetriableError, Timeouts, event
from stepbridge.testing import Simulation
from tests.poison.envelopes import envelope

SECRET = "hunter2-4242"  # pragma: allowlist secret


class Order(BaseModel):
    """Which the events are not."""

    card: int


def breaks(card: str) -> None:
    message = f"refused: {card}"
    raise ValueError(message)


def strange(card: str) -> Any:
    return {card: {card}}


def shop() -> App:  # noqa: C901 - one handler a way
    """Fails in every way."""
    app = App("shop")

    @app.function("step", trigger=event("go"), retries=1, on_failure=failed)
    async def step(ctx: Context) -> None:
        await ctx.step.run("a", breaks, ctx.event.data["card"])

    @app.function("body", trigger=event("go"), retries=1)
    def body(ctx: ContextSync) -> None:
        breaks(ctx.event.data["card"])

    @app.function("final", trigger=event("go"))
    async def final(ctx: Context) -> None:
        raise NonRetriableError(ctx.event.data["card"])

    @app.function("unserialisable", trigger=event("go"))
    def unserialisable(ctx: ContextSync) -> Any:
        return ctx.step.run("a", strange, ctx.event.data["card"])

    @app.function("model", trigger=event("go", model=Order))
    async def model(ctx: Context[Order]) -> None:
        """Never begins."""

    @app.function("expression", trigger=event("go", if_exp="event.data.card + 1 == 2"))
    async def expression(ctx: Context) -> None:
        """Never begins."""

    @app.function("match", trigger=event("go"), cancel=[Cancel("stop", match="data.nothing")])
    async def match(ctx: Context) -> None:
        """Never begins."""

    @app.function("late", trigger=event("go"), timeouts=Timeouts(finish="10m"))
    async def late(ctx: Context) -> None:
        await ctx.step.wait_for_event("w", event="paid", if_exp="async.data.card == event.data.card", timeout="1h")

    @app.function("parked", trigger=event("go"))
    async def parked(ctx: Context) -> Any:
        kind = ctx.step.sleep("a", "1m") if ctx.now.minute else ctx.step.run("a", str, ctx.event.data["card"])
        await kind
        await ctx.step.sleep("b", "30m")

    @app.function("waits", trigger=event("go"))
    async def waits(ctx: Context) -> None:
        await ctx.step.wait_for_any("w", [EventMatch("paid", match={"data.card": SECRET})], timeout="5m")
        await ctx.step.invoke("i", function="final", data={"card": SECRET})

    return app


def failed(ctx: ContextSync) -> None:
    ctx.step.run("a", breaks, ctx.event.data["event"]["data"]["card"])


@pytest.mark.parametrize("backend", ["memory", pytest.param("moto", marks=pytest.mark.slow)])
def test_failures_of_every_kind_tell_no_payload(
    backend: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the engine's lines nor those of its libraries, tracebacks included; the records have it all."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, logger="stepbridge")
    with Simulation(shop(), backend=backend) as sim:
        sim.send("go", {"card": SECRET})
        sim.send("paid", {"card": "other", "note": SECRET})
        (site,) = sim._sites
        for body in hopeless():
            _deliver(site, body)
        sim.run_until_idle()
        statuses = {run.function_id: run.status for run in sim.runs()}
        errors = json.dumps([run.error for run in sim.runs()])
    assert statuses["step"] == statuses["body"] == statuses["model"] == statuses["match"] == "FAILED"
    assert SECRET in errors
    lines = [record.getMessage() + str(record.exc_text or "") for record in caplog.records]
    assert any("dead-letter" in line for line in lines)
    assert [line for line in lines if SECRET in line] == []
    assert SECRET not in caplog.text
    assert SECRET not in "".join(capsys.readouterr())


def hopeless() -> list[str]:
    """What is buried."""
    card = json.dumps({"card": SECRET})
    return [
        card,
        envelope("go", card)[:-1],
        envelope("go", f"[{card}]"),
        envelope("go", '{"card":NaN,"x":"' + SECRET + '"}'),
        envelope("go", card, time=f'"{SECRET}"'),
        envelope("stepbridge/invoke.shop", card),
        envelope("stepbridge/reply.shop", json.dumps({"parent": [SECRET], "output": SECRET, "error": None})),
    ]


def _deliver(site: Any, body: str) -> None:
    if hasattr(site, "store"):
        site.stack.queue.deliver(body, internal=False)
    else:
        site.stack.counted.clients.sqs().send_message(QueueUrl=site.stack.settings.queue_url, MessageBody=body)
