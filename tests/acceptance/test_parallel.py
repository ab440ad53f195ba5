"""Branches of async handlers: `gather`, `TaskGroup`, `wait`, `as_completed`, `ctx.group.parallel`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from stepbridge import App, Context, StepError, event
from stepbridge.testing import RunView, Simulation
from tests.acceptance.helpers import START, Broken, error_of

Handler = Callable[[Context], Awaitable[object]]


def app_of(handler: Handler, **options: Any) -> App:
    """An app whose one function, "f", is this handler, triggered by "go"."""
    app = App("shop")
    app.function("f", trigger=event("go"), **options)(handler)
    return app


def played(handler: Handler, **options: Any) -> RunView:
    """The run of the handler, with nothing more to happen."""
    with Simulation(app_of(handler, **options)) as sim:
        sim.send("go")
        sim.run_until_idle()
        return sim.run("f")


async def by_gather(ctx: Context, branches: list[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """`asyncio.gather`."""
    return list(await asyncio.gather(*(branch() for branch in branches)))


async def by_task_group(ctx: Context, branches: list[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """`asyncio.TaskGroup`."""

    async def awaited(branch: Callable[[], Awaitable[Any]]) -> Any:
        return await branch()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(awaited(branch)) for branch in branches]
    return [task.result() for task in tasks]


async def by_wait(ctx: Context, branches: list[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """`asyncio.wait` for all."""
    tasks = [asyncio.ensure_future(branch()) for branch in branches]
    await asyncio.wait(tasks)
    return [task.result() for task in tasks]


async def by_group(ctx: Context, branches: list[Callable[[], Awaitable[Any]]]) -> list[Any]:
    """`ctx.group.parallel`."""
    return list(await ctx.group.parallel(branches))


Way = Callable[[Context, list[Callable[[], Awaitable[Any]]]], Awaitable[list[Any]]]
WAYS = pytest.mark.parametrize("way", [by_gather, by_task_group, by_wait, by_group], ids=lambda way: way.__name__)


@WAYS
def test_branches_of_one_step_each_give_their_values_in_order(way: Way) -> None:
    """Each step runs once, over the replay that the sleep brings."""
    calls: list[int] = []

    def square(number: int) -> int:
        calls.append(number)
        return number * number

    async def handler(ctx: Context) -> list[int]:
        squares = await way(ctx, [partial(ctx.step.run, f"square-{n}", square, n) for n in range(5)])
        await ctx.step.sleep("nap", "1h")
        return squares

    run = played(handler)
    assert run.output == [0, 1, 4, 9, 16]
    assert sorted(calls) == [0, 1, 2, 3, 4]


@WAYS
def test_sleeps_in_branches_overlap(way: Way) -> None:
    """Three hours in parallel are three hours, not six."""

    async def handler(ctx: Context) -> str:
        await way(ctx, [partial(ctx.step.sleep, f"nap-{h}", f"{h}h") for h in (3, 1, 2)])
        return ctx.now.isoformat()

    run = played(handler)
    assert run.output == "2025-01-01T03:00:00+00:00"
    assert list(run.steps) == ["nap-1", "nap-2", "nap-3"]


@WAYS
def test_several_steps_in_a_branch_go_on_independently(way: Way) -> None:
    """A fast branch does not wait for a slow one between its steps."""
    done: list[tuple[str, timedelta]] = []

    async def handler(ctx: Context) -> list[str]:
        def note(name: str) -> None:
            done.append((name, ctx.now - START))

        async def branch(name: str, nap: str) -> str:
            await ctx.step.run(f"{name}-1", note, f"{name}-1")
            await ctx.step.sleep(f"{name}-nap", nap)
            await ctx.step.run(f"{name}-2", note, f"{name}-2")
            return name

        return await way(ctx, [lambda: branch("slow", "5h"), lambda: branch("fast", "1h")])

    assert played(handler).output == ["slow", "fast"]
    hours = timedelta(hours=1)
    assert sorted(done) == [("fast-1", 0 * hours), ("fast-2", hours), ("slow-1", 0 * hours), ("slow-2", 5 * hours)]


@WAYS
def test_branches_mix_every_kind_of_step(way: Way) -> None:
    """run, sleep, wait, invoke, send."""

    async def handler(ctx: Context) -> list[Any]:
        async def waited() -> Any:
            reply = await ctx.step.wait_for_event("reply", event="reply", timeout="2h")
            return None if reply is None else reply.data["n"]

        values = await way(
            ctx,
            [
                lambda: ctx.step.run("run", lambda: 1),
                lambda: ctx.step.sleep("sleep", "1h"),
                waited,
                lambda: ctx.step.invoke("call", function="child", data={"n": 3}),
                lambda: ctx.step.send_event("send", {"name": "sent"}),
            ],
        )
        return [*values[:4], len(values[4])]

    app = app_of(handler)

    @app.function("child", trigger=event("never"))
    async def child(ctx: Context) -> int:
        await ctx.step.sleep("nap", "90m")
        return int(ctx.event.data["n"])

    with Simulation(app) as sim:
        sim.send("go")
        sim.advance("30m")
        sim.send("reply", {"n": 2})
        sim.advance("1h")
        run = sim.run("f")
    assert run.output == [1, None, 2, 3, 1]
    assert list(run.steps)[2:] == ["reply", "sleep", "call"]


def test_gathers_may_be_nested() -> None:
    """Gather in gather in a branch with steps around."""

    async def handler(ctx: Context) -> list[Any]:
        async def inner(name: str) -> list[Any]:
            before = await ctx.step.run(f"{name}-before", lambda: name)
            pair = await asyncio.gather(
                ctx.step.run(f"{name}-a", lambda: "a"),
                asyncio.gather(ctx.step.sleep(f"{name}-nap", "1h"), ctx.step.run(f"{name}-b", lambda: "b")),
            )
            after = await ctx.step.run(f"{name}-after", lambda: "after")
            return [before, *pair, after]

        return list(await asyncio.gather(inner("x"), inner("y")))

    expected = [["x", "a", [None, "b"], "after"], ["y", "a", [None, "b"], "after"]]
    assert played(handler).output == expected


def test_a_step_id_shared_by_two_branches_keeps_its_owners() -> None:
    """The occurrence is taken at the call, in call order."""
    seen: list[tuple[str, str]] = []

    async def handler(ctx: Context) -> list[list[str]]:
        async def branch(name: str, nap: str) -> list[str]:
            first = await ctx.step.run("shared", lambda: f"{name}-first")
            await ctx.step.sleep(f"nap-{name}", nap)
            second = await ctx.step.run("shared", lambda: f"{name}-second")
            seen.append((name, second))
            return [first, second]

        both = await asyncio.gather(branch("a", "2h"), branch("b", "1h"))
        await ctx.step.sleep("after", "1h")
        return list(both)

    run = played(handler)
    assert run.output == [["a-first", "a-second"], ["b-first", "b-second"]]
    assert set(seen) == {("a", "a-second"), ("b", "b-second")}


def test_parallel_waits_for_all_before_it_raises() -> None:
    """`ctx.group.parallel`: the first failed branch's error, in their order, once all have ended."""
    done: list[str] = []

    async def handler(ctx: Context) -> str:
        async def slow() -> None:
            await ctx.step.sleep("nap", "1h")
            await ctx.step.run("slow", done.append, "slow")

        try:
            await ctx.group.parallel(
                [
                    slow,
                    lambda: ctx.step.with_options(retries=0).run("fail-1", Broken(OSError("one"))),
                    lambda: ctx.step.with_options(retries=0).run("fail-2", Broken(ValueError("two"))),
                ]
            )
        except StepError as error:
            return error.step_id
        return "no error"

    assert played(handler).output == "fail-1"
    assert done == ["slow"]


def test_parallel_with_return_exceptions_puts_errors_in_their_places() -> None:
    """Nothing is raised."""

    async def handler(ctx: Context) -> list[object]:
        results: tuple[Any, ...] = await ctx.group.parallel(
            [
                lambda: ctx.step.run("fine", lambda: 1),
                lambda: ctx.step.with_options(retries=0).run("fail", Broken(OSError("one"))),
            ],
            return_exceptions=True,
        )
        assert type(results) is tuple
        await ctx.step.sleep("nap", "1h")
        return [results[0], type(results[1]).__name__, results[1].name, results[1].step_id]

    assert played(handler, retries=0).output == [1, "StepError", "OSError", "fail"]


def test_parallel_of_nothing_is_an_empty_tuple() -> None:
    """No branches, no values."""

    async def handler(ctx: Context) -> bool:
        return await ctx.group.parallel([]) == ()

    assert played(handler).output is True


def test_a_failing_branch_of_a_gather_fails_the_run_and_the_error_is_the_steps() -> None:
    """The usual gather: the first error comes out while the others still sleep."""

    async def handler(ctx: Context) -> None:
        await asyncio.gather(
            ctx.step.sleep("nap", "5h"),
            ctx.step.with_options(retries=0).run("fail", Broken(OSError("one"))),
        )

    run = played(handler)
    assert (run.status, error_of(run)["message"]) == ("FAILED", "one")
    assert run.ended_at == START


def test_retries_in_one_branch_do_not_disturb_the_other() -> None:
    """A step that waits for its retry and one that goes on."""
    calls: list[str] = []

    async def handler(ctx: Context) -> list[str]:
        def flaky() -> str:
            calls.append("flaky")
            if ctx.attempt < 2:
                raise ValueError("no")
            return "flaky"

        async def steady() -> str:
            for number in range(3):
                await ctx.step.run(f"steady-{number}", calls.append, "steady")
                await ctx.step.sleep(f"nap-{number}", "10s")
            return "steady"

        return list(await asyncio.gather(ctx.step.run("flaky", flaky), steady()))

    assert played(handler).output == ["flaky", "steady"]
    assert sorted(calls) == ["flaky"] * 3 + ["steady"] * 3


def test_a_hundred_branches_end_once_each() -> None:
    """A wide fan-out."""
    calls: list[int] = []

    async def handler(ctx: Context) -> int:
        async def branch(number: int) -> int:
            await ctx.step.sleep(f"nap-{number}", f"{number % 7}m")
            await ctx.step.run(f"work-{number}", calls.append, number)
            return number

        return sum(await asyncio.gather(*(branch(number) for number in range(100))))

    assert played(handler).output == 4950
    assert sorted(calls) == list(range(100))


def test_a_timeout_around_a_step_is_the_handlers_own_business() -> None:
    """`asyncio.timeout` that does not fire lets a step through on every replay."""

    async def handler(ctx: Context) -> int:
        async with asyncio.timeout(30):
            value = await ctx.step.run("a", lambda: 1)
        await ctx.step.sleep("nap", "1h")
        return value

    assert played(handler).output == 1
