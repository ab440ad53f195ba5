"""What user code does to the engine at its worst: the run ends in a known way, never in limbo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from stepbridge import App, Context, ContextSync, event
from stepbridge.testing import RunView, Simulation
from tests.acceptance.helpers import Broken, Colour, Script, error_of

LARGEST = {"blob": "x" * (2**20 - 1024 - 100)}
"""Data that just fits into an event: EventBridge takes 1 MB an entry."""

USER: ContextVar[str] = ContextVar("user", default="nobody")


class UnprintableError(Exception):
    """Its message cannot be had."""

    def __str__(self) -> str:
        """Fails."""
        message = "no text"
        raise ValueError(message)


def played(handler: Callable[[Any], Any], **options: Any) -> RunView:
    """The run of a plain handler, with nothing more to happen."""
    app = App("shop")
    app.function("f", trigger=event("go"), **options)(handler)
    with Simulation(app) as sim:
        sim.send("go")
        sim.run_until_idle()
        return sim.run("f")


def overflowing() -> int:
    """Never ends by itself."""
    return overflowing()


ERRORS: list[tuple[Callable[[], object], str]] = [
    (Broken(ValueError("x" * 1_200_000)), "ValueError"),
    (Broken(UnprintableError()), "UnprintableError"),
    (Broken(ValueError("half a pair: \ud83d")), "ValueError"),
    (Broken(StopIteration(3)), "StopIteration"),
    (Broken(StopAsyncIteration()), "StopAsyncIteration"),
    (Broken(TimeoutError()), "TimeoutError"),
    (overflowing, "RecursionError"),
]
IDS = ["large", "unprintable", "surrogate", "StopIteration", "StopAsyncIteration", "TimeoutError", "recursion"]


@pytest.mark.parametrize(("fn", "name"), ERRORS, ids=IDS)
def test_any_error_of_a_step_fails_the_run_by_its_name(colour: Colour, fn: Callable[[], object], name: str) -> None:
    """Large, unprintable, or of a class that means something to Python itself."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("fail", fn)

    run = colour.play(script, retries=0)
    assert run.status == "FAILED"
    assert error_of(run)["name"] == name
    assert run.steps["fail"].status == "FAILED"


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ValueError("x" * 1_200_000), "ValueError"),
        (UnprintableError(), "UnprintableError"),
        (ValueError("half a pair: \ud83d"), "ValueError"),
    ],
    ids=["large", "unprintable", "surrogate"],
)
def test_any_error_of_the_body_fails_the_run_by_its_name(colour: Colour, error: Exception, name: str) -> None:
    """The same outside steps."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        raise error

    run = colour.play(script, retries=0)
    assert (run.status, error_of(run)["name"]) == ("FAILED", name)


@pytest.mark.parametrize("characters", [100_000, 1_200_000])
def test_a_large_message_keeps_its_beginning(colour: Colour, characters: int) -> None:
    """Cut where it has to be, it still says what went wrong."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("fail", Broken(ValueError("card declined: " + "x" * characters)))

    message = error_of(colour.play(script, retries=0))["message"]
    assert message.startswith("card declined: xxx")
    assert len(message) < 5_000


def test_an_async_step_that_cancels_itself_is_a_failed_attempt() -> None:
    """As libraries do on time-outs of their own; the run is not lost."""
    calls: list[str] = []

    async def cancelled() -> str:
        calls.append("attempt")
        task = asyncio.current_task()
        assert task is not None
        if len(calls) == 1:
            task.cancel()
        await asyncio.sleep(0)
        return "done"

    async def handler(ctx: Context) -> str:
        return await ctx.step.run("cancelled", cancelled)

    run = played(handler)
    assert (run.status, run.output) == ("COMPLETED", "done")
    assert calls == ["attempt", "attempt"]


def test_an_async_step_that_raises_cancelled_error_is_a_failed_attempt() -> None:
    """By its name."""

    async def cancelled() -> None:
        raise asyncio.CancelledError

    async def handler(ctx: Context) -> None:
        await ctx.step.run("cancelled", cancelled)

    run = played(handler, retries=0)
    assert (run.status, error_of(run)["name"]) == ("FAILED", "CancelledError")


def test_a_step_given_up_by_the_handlers_timeout_does_not_stop_the_run() -> None:
    """`asyncio.wait_for` around a step's own slow work."""

    async def handler(ctx: Context) -> str:
        try:
            await asyncio.wait_for(ctx.step.run("slow", asyncio.sleep, 20), 0.03)
        except TimeoutError:
            return await ctx.step.run("instead", lambda: "gave up")
        return "in time"

    assert played(handler).output == "gave up"


def test_the_failure_of_a_run_with_the_largest_event_is_told_of(colour: Colour) -> None:
    """The system event carries the trigger, and has to fit as well."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("fail", Broken(ValueError("no" * 1000)))

    def told(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        return ctx.event.data["error"]["name"]

    app = colour.app(script, retries=0, on_failure=colour.handler(told))
    with Simulation(app) as sim:
        sim.send("go", LARGEST)
        sim.run_until_idle()
        assert sim.run("f").status == "FAILED"
        assert sim.run("f-failure").output == "ValueError"
        assert [one.data["run_id"] for one in sim.events[1:]] == [sim.run("f").run_id]


@pytest.mark.parametrize(("event_", "characters"), [("large", 900_000), ("small", 1_100_000)])
def test_a_large_result_of_a_run_is_told_of(colour: Colour, event_: str, characters: int) -> None:
    """With its event, or alone, it is above 1 MB: whoever triggers on `.finished` is started nevertheless."""

    def script(ctx: Any) -> Script:
        return (yield ctx.step.run("large", lambda: "x" * characters))

    def after(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        return ctx.event.data["run_id"]

    app = colour.app(script)
    colour.function(app, "after", after, trigger=event("stepbridge/function.finished"))
    with Simulation(app) as sim:
        sim.send("go", LARGEST if event_ == "large" else {})
        assert sim.run("f").status == "COMPLETED"
        assert sim.run("after").output == sim.run("f").run_id


def test_large_values_that_begin_alike_are_kept_apart(colour: Colour) -> None:
    """Two of one run, read back after a sleep."""

    def script(ctx: Any) -> Script:
        bulk = "".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(20_000))  # which does not compress
        one = yield ctx.step.run("one", lambda: bulk + "1")
        two = yield ctx.step.run("two", lambda: bulk + "2")
        yield ctx.step.sleep("nap", "1h")
        return [one[-1], two[-1]]

    assert colour.play(script).output == ["1", "2"]


def test_an_invocation_with_large_data_and_a_large_result(colour: Colour) -> None:
    """Child and parent hand megabytes over."""

    def child(ctx: Any) -> Script:
        return (yield ctx.step.run("large", lambda: ctx.event.data["blob"] * 2))

    def parent(ctx: Any) -> Script:
        value = yield ctx.step.invoke("call", function="child", data=LARGEST)
        return len(value)

    app = colour.app(parent)
    colour.function(app, "child", child, trigger=event("never"))
    with Simulation(app) as sim:
        sim.send("go")
        assert sim.run("f").output == 2 * len(LARGEST["blob"])


def test_a_thousand_steps_in_one_run(colour: Colour) -> None:
    """Of one id, with a replay of all of them."""

    def script(ctx: Any) -> Script:
        total = 0
        for number in range(1000):
            total += yield ctx.step.run("add", lambda number=number: number)
        yield ctx.step.sleep("nap", "1h")
        return total

    run = colour.play(script)
    assert run.output == 499_500
    assert len(run.steps) == 1001


def test_a_value_nested_too_deeply_fails_the_run(colour: Colour) -> None:
    """Not by a stack overflow of the engine."""

    def deep() -> Any:
        value: list[Any] = []
        for _ in range(5000):
            value = [value]
        return value

    def script(ctx: Any) -> Script:
        yield ctx.step.run("my-step", deep)

    run = colour.play(script)
    assert error_of(run)["name"] == "UnserializableOutputError"
    assert "my-step" in error_of(run)["message"]


def test_context_variables_reach_steps_of_async_handlers() -> None:
    """Request-scoped loggers and clients work, in threads too."""

    async def handler(ctx: Context) -> list[str]:
        async def read() -> str:
            return USER.get()

        USER.set("ada")
        return [await ctx.step.run("sync", lambda: USER.get()), await ctx.step.run("async", read)]  # noqa: PLW0108

    assert played(handler).output == ["ada", "ada"]


def test_context_variables_reach_steps_and_branches_of_sync_handlers() -> None:
    """The same, in the threads of branches."""

    def handler(ctx: ContextSync) -> list[str]:
        USER.set("ada")
        one = ctx.step.run("one", USER.get)
        return [one, *ctx.group.parallel((USER.get, lambda: ctx.step.run("two", USER.get)))]

    assert played(handler).output == ["ada", "ada", "ada"]


def test_an_async_context_manager_spans_a_suspension() -> None:
    """Its steps run once, and it is left once."""
    calls: list[str] = []

    async def handler(ctx: Context) -> str:
        @asynccontextmanager
        async def resource() -> AsyncIterator[str]:
            name = await ctx.step.run("open", lambda: "r")
            try:
                yield name
            finally:
                await ctx.step.run("close", calls.append, "close")

        async with resource() as name:
            await ctx.step.sleep("nap", "1h")
        return name

    run = played(handler)
    assert run.output == "r"
    assert list(run.steps) == ["open", "nap", "close"]
    assert calls == ["close"]


def test_a_sync_context_manager_spans_a_suspension() -> None:
    """The same, blocking."""
    calls: list[str] = []

    def handler(ctx: ContextSync) -> str:
        @contextmanager
        def resource() -> Iterator[str]:
            name = ctx.step.run("open", lambda: "r")
            try:
                yield name
            finally:
                ctx.step.run("close", calls.append, "close")

        with resource() as name:
            ctx.step.sleep("nap", "1h")
        return name

    run = played(handler)
    assert run.output == "r"
    assert list(run.steps) == ["open", "nap", "close"]
    assert calls == ["close"]
