"""Waits for system events: what is declared is let through, and sent; what is not is refused with the mend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stepbridge import App, Cancel, Context, EventMatch, NonRetriableError, event
from stepbridge.aws.schema import event_pattern
from stepbridge.engine.rule import declared, wants
from tests.waits.bench import Bench

ENDS = ("stepbridge/function.failed", "stepbridge/function.cancelled", "stepbridge/function.finished")


def watching(name: str, **options: Any) -> App:
    """A run that waits for such an event, and one that ends in such a way."""
    app = App("shop")

    @app.function("work", trigger=event("work"), cancel=[Cancel("stop")])
    async def work(ctx: Context) -> None:
        if name.endswith("cancelled"):
            await ctx.step.sleep("z", "1 day")
        if name.endswith("failed"):
            raise NonRetriableError("no")

    @app.function("f", trigger=event("go"), **options)
    async def handler(ctx: Context) -> Any:
        told = await ctx.step.wait_for_event("w", event=name, match={"data.function_id": "work"}, timeout="1h")
        return told and told.data["function_id"]

    return app


@pytest.mark.parametrize("name", ENDS)
def test_a_declared_wait_for_a_system_event_gets_it(name: str, bench_of: Callable[[App], Bench]) -> None:
    """Let through by the rule, and `finished` is sent because it is wanted."""
    app = watching(name, waits=[EventMatch(name)])
    assert wants(app, name)
    bench = bench_of(app)
    for one in ("go", "work", "stop"):
        bench.put(one)
        bench.settle()
    assert bench.run().output == "work"


@pytest.mark.parametrize("name", ENDS)
def test_a_declared_cancel_by_a_system_event_gets_it(name: str, bench_of: Callable[[App], Bench]) -> None:
    """As a wait does."""
    app = watching(name, waits=[EventMatch(name)], cancel=[Cancel(name, match={"data.function_id": "work"})])
    bench = bench_of(app)
    for one in ("go", "work", "stop"):
        bench.put(one)
        bench.settle()
    assert bench.run().status == "CANCELLED"
    assert bench.leftovers() == []


@pytest.mark.parametrize("name", ENDS)
def test_a_wait_that_is_not_declared_fails_the_run_and_names_the_mend(
    name: str, bench_of: Callable[[App], Bench]
) -> None:
    """At once: the rule leaves the event out, so the wait would never end."""
    bench = bench_of(watching(name))
    bench.put("go")
    bench.settle()
    error = bench.run().error
    assert error is not None
    assert error["name"] == "ConfigError"
    assert f"waits=[EventMatch({name!r})]" in error["message"]
    assert bench.leftovers() == []


@pytest.mark.parametrize(("declared", "ending"), [([EventMatch("paid")], "COMPLETED"), ([], "FAILED")])
def test_under_a_narrow_rule_a_wait_is_declared_or_refused(
    declared: list[EventMatch], ending: str, bench_of: Callable[[App], Bench]
) -> None:
    """Any event's: what the rule leaves out would never come, and the run waits for nothing without a word."""
    app = App("shop")

    @app.function("f", trigger=event("go"), waits=declared)
    async def handler(ctx: Context) -> Any:
        return await ctx.step.wait_for_event("w", event="paid", timeout="1h") is not None

    bench = bench_of(app)
    bench.ports = replace(bench.ports, narrow=True)
    for one in ("go", "paid"):
        bench.put(one)
        bench.settle()
    run = bench.run()
    assert run.status == ending
    assert (run.output, run.error and run.error["name"]) in {(True, None), (None, "ConfigError")}
    assert bench.leftovers() == []


def test_a_narrow_rule_lets_no_event_through_that_only_one_source_may_send() -> None:
    """A trigger with `source=` declares that source's events, and no others."""
    app = App("shop")

    @app.function("f", trigger=[event("sold", source="till"), event("ware/*")])
    async def handler(ctx: Context) -> None: ...

    assert [wants(app, name, narrow=True) for name in ("sold", "ware/new", "stepbridge/reply.shop")] == [
        False,
        True,
        True,
    ]


def test_rule_and_pattern_are_made_of_the_same_declarations() -> None:
    """Triggers, waits and cancels of every function; each system event among them is in the pattern for AWS."""
    app = watching(ENDS[0], waits=[EventMatch(ENDS[1]), EventMatch("paid")], cancel=[Cancel(ENDS[2]), Cancel("halt")])
    names = {one.name for one in declared(app)}
    assert names == {"work", "stop", "go", "paid", "halt", ENDS[1], ENDS[2]}
    (_, *let_through) = event_pattern(app)["detail-type"]
    assert {name for name in names if name.startswith("stepbridge/")} <= set(let_through)
    assert [wants(app, name) for name in ENDS] == [False, True, True]
