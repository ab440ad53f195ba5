"""A step inside a step fails the run at once, whatever user code makes of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from stepbridge import App, Context, ContextSync, event
from stepbridge.testing import RunView, Simulation
from tests.acceptance.helpers import error_of


def played(app: App) -> RunView:
    """The run of "f", without any time passing."""
    with Simulation(app) as sim:
        sim.send("go")
        return sim.run("f")


def is_nested(run: RunView) -> None:
    """Failed at once, by name, with both steps named."""
    assert run.status == "FAILED"
    assert error_of(run)["name"] == "NestedStepError"
    assert "inner" in error_of(run)["message"]
    assert "outer" in error_of(run)["message"]


def test_an_async_step_in_a_step() -> None:
    """The inner function never runs; there are retries, and none is made."""
    app = App("shop")
    calls: list[str] = []

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        async def outer() -> None:
            calls.append("outer")
            await ctx.step.run("inner", calls.append, "inner")

        await ctx.step.run("outer", outer)

    is_nested(played(app))
    assert calls == ["outer"]


def test_what_goes_wrong_afterwards_is_no_other_end() -> None:
    """The first thing that decides a run's end stands."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        async def outer() -> object:
            with contextlib.suppress(Exception):
                await ctx.step.run("inner", str)
            return object()  # which cannot be recorded

        await ctx.step.run("outer", outer)

    is_nested(played(app))


def test_a_sync_step_in_a_step() -> None:
    """The same for blocking handlers."""
    app = App("shop")
    calls: list[str] = []

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> None:
        def outer() -> None:
            calls.append("outer")
            ctx.step.run("inner", calls.append, "inner")

        ctx.step.run("outer", outer)

    is_nested(played(app))
    assert calls == ["outer"]


def test_swallowed_by_the_async_step() -> None:
    """`except Exception` around the inner step changes nothing."""
    app = App("shop")
    calls: list[str] = []

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> str:
        async def outer() -> str:
            try:
                await ctx.step.run("inner", calls.append, "inner")
            except Exception:  # noqa: BLE001 - the subject
                return "swallowed"
            return "not raised"

        return await ctx.step.run("outer", outer)

    is_nested(played(app))
    assert calls == []


def test_swallowed_by_the_sync_step() -> None:
    """The same for blocking handlers."""
    app = App("shop")
    calls: list[str] = []

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> str:
        def outer() -> str:
            try:
                ctx.step.run("inner", calls.append, "inner")
            except Exception:  # noqa: BLE001 - the subject
                return "swallowed"
            return "not raised"

        return ctx.step.run("outer", outer)

    is_nested(played(app))
    assert calls == []


def test_swallowed_by_everything() -> None:
    """A bare `except:` in the step, another around it: the run fails all the same."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> str:
        def outer() -> str:
            try:
                ctx.step.sleep("inner", "1h")
            except:  # noqa: E722 - the subject
                return "swallowed"
            return "not raised"

        try:
            return ctx.step.run("outer", outer)
        except:  # noqa: E722 - the subject
            return "swallowed again"

    is_nested(played(app))


def test_swallowed_by_everything_in_an_async_handler() -> None:
    """The same, awaited."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> str:
        async def outer() -> str:
            try:
                await ctx.step.sleep("inner", "1h")
            except:  # noqa: E722 - the subject
                return "swallowed"
            return "not raised"

        try:
            return await ctx.step.run("outer", outer)
        except:  # noqa: E722 - the subject
            return "swallowed again"

    is_nested(played(app))


def test_every_kind_of_step_in_a_step() -> None:
    """Sleeps, waits, invocations and sends are steps, too."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        kinds: list[Any] = [
            lambda: ctx.step.sleep("inner", "1h"),
            lambda: ctx.step.sleep_until("inner", "2030-01-01T00:00:00Z"),
            lambda: ctx.step.wait_for_event("inner", event="reply", timeout="1h"),
            lambda: ctx.step.invoke("inner", function="f"),
            lambda: ctx.step.send_event("inner", {"name": "sent"}),
            lambda: ctx.step.run("inner", int),
        ]

        async def outer() -> None:
            await kinds[ctx.event.data["kind"]]()

        await ctx.step.run("outer", outer)

    with Simulation(app) as sim:
        for kind in range(6):
            sim.send("go", {"kind": kind})
        runs = sim.runs("f")
    assert len(runs) == 6
    for run in runs:
        is_nested(run)


def test_a_step_in_a_task_of_a_step() -> None:
    """A task inherits the step that it was made in."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        async def outer() -> None:
            await asyncio.gather(ctx.step.run("inner", int))

        await ctx.step.run("outer", outer)

    is_nested(played(app))


def test_parallel_in_a_step_of_a_sync_handler() -> None:
    """Branches of a step's own are no way around it."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> None:
        def outer() -> None:
            ctx.group.parallel((lambda: ctx.step.run("inner", int),))

        ctx.step.run("outer", outer)

    run = played(app)
    assert run.status == "FAILED"
    assert error_of(run)["name"] == "NestedStepError"


def test_a_step_in_a_sync_step_of_an_async_handler() -> None:
    """The worker thread has no way to await it; nothing is left unawaited either."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        def outer() -> str:
            ctx.step.run("inner", int)  # type: ignore[unused-coroutine]
            return "done"

        await ctx.step.run("outer", outer)

    is_nested(played(app))
