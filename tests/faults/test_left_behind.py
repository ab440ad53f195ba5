"""Runs that go on after a wait: wherever they are cut, no wait stays behind, though events come at once.

What comes of an event that a crash lets come too early is not the same, so only the end is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stepbridge import App, Context, ContextSync, EventMatch, event
from tests.faults.crash import CrashingSimulation, Knife


def looks_back(app: App) -> None:
    @app.function("f", trigger=event("go"), waits=[EventMatch("paid", match="data.k", lookback="1h")])
    async def handler(ctx: Context) -> None:
        await ctx.step.sleep("y", "1s")
        await ctx.step.wait_for_event("w", event="paid", match="data.k", timeout="10m", lookback=True)
        await ctx.step.sleep("z", "30s")


def any_of_two(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        both = [EventMatch(name, match="data.k") for name in ("paid", "left")]
        await ctx.step.wait_for_any("w", both, timeout="10m")
        await ctx.step.sleep("z", "30s")


def any_of_two_sync(app: App) -> None:
    @app.function("f", trigger=event("go"))
    def handler(ctx: ContextSync) -> None:
        both = [EventMatch(name, match="data.k") for name in ("paid", "left")]
        ctx.step.wait_for_any("w", both, timeout="10m")
        ctx.step.sleep("z", "30s")


def ends_by_any(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        several = [
            EventMatch("paid", match="data.k"),
            EventMatch("paid", if_exp="async.data.k > 0"),
            EventMatch("left"),
        ]
        await ctx.step.wait_for_any("w", several, timeout="10m")
        await ctx.step.run("s", str)


def a_signal(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        await ctx.step.wait_for_signal("w", "bell", timeout="10m")
        await ctx.step.sleep("z", "30s")

    @app.function("bell", trigger=event("ring"))
    async def bell(ctx: Context) -> None:
        await ctx.step.send_signal("s", "bell")


def play(build: Callable[[App], None], then: str | None, knife: Knife) -> list[Any]:
    """What stands at the end, and the runs that have not ended."""
    app = App("left")
    build(app)
    with CrashingSimulation(app, knife=knife) as sim:
        sim.send("go", {"k": 1}, id="go")
        if then is not None:
            sim.send(then, {"k": 1}, id="then")
        sim.run_until_idle()
        return [*sim.leftovers(), *(run for run in sim.runs() if run.status != "COMPLETED")]


STORIES = [
    (looks_back, None),
    (looks_back, "paid"),
    (any_of_two, None),
    (any_of_two, "paid"),
    (any_of_two, "left"),
    (any_of_two_sync, "paid"),
    (ends_by_any, "paid"),
    (ends_by_any, "left"),
    (a_signal, None),
    (a_signal, "ring"),
]


@pytest.mark.parametrize(("build", "then"), STORIES)
def test_no_crash_leaves_a_wait(
    build: Callable[[App], None], then: str | None, record_property: Callable[[str, object], None]
) -> None:
    """Found looking back, lost to another event, timed out: its items go, and its run ends."""
    calm = Knife()
    assert play(build, then, calm) == []
    cuts = range(2 * calm.requests)
    record_property("crash points", len(cuts))
    assert {point: rest for point in cuts if (rest := play(build, then, Knife(frozenset({point}))))} == {}


def test_no_second_crash_leaves_an_alternative(record_property: Callable[[str, object], None]) -> None:
    """The first while the wait is armed, so that no list names it; the second once the next step is recorded."""
    calm = Knife()
    assert play(ends_by_any, "left", calm) == []
    pairs: list[frozenset[int]] = []
    for first in range(2 * calm.requests):
        knife = Knife(frozenset({first}))
        play(ends_by_any, "left", knife)
        loaded = len(knife.trace) - 1 - knife.trace[::-1].index("MemoryTable.query")  # of the invocation that ends it
        pairs += [frozenset({first, second}) for second in range(2 * loaded + 2, 2 * loaded + 8) if second > first]
    record_property("pairs of crash points", len(pairs))
    assert {tuple(pair): rest for pair in pairs if (rest := play(ends_by_any, "left", Knife(pair)))} == {}
