"""A cancellation that comes right after a crash, before any message is back: cut everywhere, nothing lives on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from stepbridge import App, Cancel, Context, ContextSync, EventMatch, event, invoke_only
from tests.faults.crash import CrashingSimulation, Knife
from tests.waits.bench import START


def app_of(handle: Callable[[Any, Any], Any], colour: str) -> App:
    """An app whose run begins `handle`, and is cancelled by "stop" or "halt"."""
    app = App("faults")

    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> None:
        await ctx.step.sleep("z", "2 days")

    async def handler(ctx: Context) -> None:
        await ctx.step.run("before", str)
        await handle(ctx.step, child)

    def handle_sync(ctx: ContextSync) -> None:
        ctx.step.run("before", str)
        handle(ctx.step, child)

    cancel = [Cancel("stop", match="data.k"), Cancel("halt")]
    handlers: dict[str, Any] = {"async": handler, "sync": handle_sync}
    app.function("f", trigger=event("go"), cancel=cancel)(handlers[colour])
    return app


WAYS: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "a child": ("async", lambda step, child: step.invoke("c", function=child)),
    "a child, sync": ("sync", lambda step, child: step.invoke("c", function=child)),
    "children in lanes": ("async", lambda step, child: step.map("m", child, range(3), max_concurrency=2)),
    "children in lanes, sync": ("sync", lambda step, child: step.map("m", child, range(3), max_concurrency=2)),
    "waits and a child": (
        "async",
        lambda step, child: asyncio.gather(
            step.wait_for_event("w", event="paid", match="data.k", timeout="9 days"),
            step.wait_for_any("any", [EventMatch("x"), EventMatch("y")], timeout="9 days"),
            step.wait_for_signal("s", "signal", timeout="9 days"),
            step.invoke("c", function=child),
        ),
    ),
}


def end_of(app: App, knife: Knife, later: timedelta) -> tuple[list[tuple[str, str]], list[str]]:
    """The runs' ends and what is left, when the cancellation follows at once."""
    with CrashingSimulation(app, knife=knife) as sim:
        sim.send({"name": "go", "data": {"k": 1}, "id": "go", "ts": int((START + later).timestamp() * 1000)})
        sim.send("stop", {"k": 1}, id="stop")
        sim.run_until_idle()
        return sorted({(run.function_id, run.status) for run in sim.runs()}), sim.leftovers()


@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_a_cancelled_run_lives_on(way: str) -> None:
    """Wherever the cut: its children end with it, its waits and timers go.

    A run that had not armed what cancels it when the cancellation came goes its way.
    """
    colour, handle = WAYS[way]
    app = app_of(handle, colour)
    calm = Knife()
    assert end_of(app, calm, timedelta(0)) == ([("child", "CANCELLED"), ("f", "CANCELLED")], [])
    ends = [end_of(app, Knife(frozenset({point})), timedelta(0)) for point in range(2 * calm.requests)]
    assert [left for _, left in ends if left] == []
    allowed = [
        [("child", "CANCELLED"), ("f", "CANCELLED")],
        [("f", "CANCELLED")],
        [("child", "COMPLETED"), ("f", "COMPLETED")],
    ]
    assert [runs for runs, _ in ends if runs not in allowed] == []
    assert sum(("f", "CANCELLED") in runs for runs, _ in ends) > len(ends) / 2


@pytest.mark.parametrize("minutes", [10, 60])
def test_nothing_of_a_queued_run_lives_on(minutes: int) -> None:
    """By a delayed message or a schedule; cut while it is queued, and while it is cancelled."""
    app = app_of(WAYS["a child"][1], "async")
    calm, later = Knife(), timedelta(minutes=minutes)
    assert end_of(app, calm, later) == ([("f", "CANCELLED")], [])
    ends = [end_of(app, Knife(frozenset({point})), later) for point in range(2 * calm.requests)]
    assert [left for _, left in ends if left] == []
    allowed = [[("f", "CANCELLED")], [], [("child", "COMPLETED"), ("f", "COMPLETED")]]  # none: it never began
    assert [runs for runs, _ in ends if runs not in allowed] == []
