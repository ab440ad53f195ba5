"""Backend calls that block: on the loop where nobody else waits for a turn of it, in threads everywhere else."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from stepbridge import App, Context, event
from stepbridge.core.keys import HEAD_SK
from stepbridge.engine.answers import Invocation
from stepbridge.engine.engine import Engine
from stepbridge.ports import Message
from tests.waits.bench import Bench

PATIENCE = 10.0
"""Seconds after which a test that would hang fails."""
HOUR = 3600.0
Handler = Callable[[Context], Awaitable[object]]


class Blocking(Bench):
    """An app in memory whose ports count as blocking, as AWS's do; notes which threads write steps."""

    def __init__(self, handler: Handler) -> None:
        app = App("shop")
        app.function("f", trigger=event("go"), retries=0)(handler)
        super().__init__(app)
        self.workers.close()
        self.ports = replace(self.ports, blocking=True)
        self.workers = self.new_workers()
        self.on_loop: list[bool] = []
        """Of each step written, in order: whether the loop's own thread wrote it."""
        table: Any = self.ports.table
        put = table.put

        def noted(*args: Any) -> Any:
            self.on_loop.append(threading.current_thread() is threading.main_thread())
            return put(*args)

        table.put = noted

    def batch(self, *messages: Message) -> None:
        """One invocation with several messages."""
        invocation = Invocation(id="batch", deadline=self.clock.now() + timedelta(minutes=2))
        engine = Engine(self.app, self.ports, self.workers)
        assert self.loop.run_until_complete(engine.handle_all(messages, invocation=invocation)) == []

    def play(self, *, seconds: float = 120) -> list[bool]:
        """One run in one invocation; where its steps were written."""
        self.put("go")
        assert self.step(seconds=seconds)
        assert self.run().status == "COMPLETED"
        return self.on_loop


@pytest.fixture
def blocking() -> Iterator[Callable[[Handler], Blocking]]:
    with contextlib.ExitStack() as made:
        yield lambda handler: made.enter_context(contextlib.closing(Blocking(handler)))


async def one() -> int:
    """What a step does."""
    return 1


async def two_steps(ctx: Context) -> None:
    """One after the other."""
    await ctx.step.run("a", one)
    await ctx.step.run("b", one)


def test_the_only_task_of_the_only_run_writes_on_the_loop(blocking: Callable[[Handler], Blocking]) -> None:
    assert blocking(two_steps).play() == [True, True]


def test_two_runs_of_one_invocation_do_not_wait_for_each_others_calls(blocking: Callable[[Handler], Blocking]) -> None:
    both = asyncio.Barrier(2)

    async def handler(ctx: Context) -> None:
        await both.wait()  # else one of them might be through before the other begins, and be alone
        await two_steps(ctx)
        await both.wait()

    bench = blocking(handler)
    bench.put("go")
    bench.put("go")
    bench.batch(bench.receive(), bench.receive())
    assert [run.status for run in bench.runs()] == ["COMPLETED", "COMPLETED"]
    assert bench.on_loop == [False] * 4


def test_two_steps_of_one_run_do_not_wait_for_each_others_calls(blocking: Callable[[Handler], Blocking]) -> None:
    async def handler(ctx: Context) -> None:
        await asyncio.gather(ctx.step.run("a", one), ctx.step.run("b", one))

    assert blocking(handler).play() == [False, False]


def test_a_task_that_a_step_has_left_running_goes_on_while_calls_are_made(
    blocking: Callable[[Handler], Blocking],
) -> None:
    async def lingering() -> None:
        await asyncio.sleep(HOUR)

    async def handler(ctx: Context) -> None:
        await ctx.step.run("a", begin)
        await ctx.step.run("b", one)

    left: list[asyncio.Task[None]] = []

    async def begin() -> None:
        left.append(asyncio.create_task(lingering()))

    assert blocking(handler).play() == [False, False]


def test_a_timeout_around_a_step_is_kept_while_its_call_hangs(blocking: Callable[[Handler], Blocking]) -> None:
    """The time is up as soon as the call hangs; it does not return before the handler has been told."""
    told = threading.Event()
    returned: list[bool] = []
    limits: list[asyncio.Timeout] = []

    async def handler(ctx: Context) -> str:
        try:
            async with asyncio.timeout(HOUR) as limit:
                limits.append(limit)
                await ctx.step.run("a", one)
        except TimeoutError:
            told.set()
            return "too late"
        return "in time"

    def hang() -> None:
        bench.loop.call_soon_threadsafe(limits[0].reschedule, 0)
        returned.append(told.wait(PATIENCE))

    bench = blocking(handler)
    bench.on("before", "table.put", "R#", hang)
    bench.play()
    assert returned == [True]
    assert bench.run().output == "too late"


def test_a_wait_that_is_being_put_when_the_handler_ends_is_taken_away(
    blocking: Callable[[Handler], Blocking],
) -> None:
    """Its thread is waited for: whoever cleans up knows of it, and it does not go on in a sandbox that sleeps."""
    begun, is_cleaned = asyncio.Event(), threading.Event()

    async def handler(ctx: Context) -> None:
        bench.on("after", "table.update", "R#", is_cleaned.set)
        task = asyncio.create_task(ctx.step.wait_for_event("w", event="paid", timeout="1m"))
        await begun.wait()
        task.cancel()

    def hang() -> None:
        bench.loop.call_soon_threadsafe(begun.set)
        is_cleaned.wait(0.1)

    bench = blocking(handler)
    bench.on("before", "table.put", "W#", hang)
    bench.play()
    assert [item for item in bench.stack.table.items() if item["pk"].startswith("W#")] == []


def test_a_call_that_hangs_holds_nothing_up_for_ever(
    blocking: Callable[[Handler], Blocking], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("stepbridge.engine.disposing.CALL_LONGEST", timedelta(0))
    begun, is_over = asyncio.Event(), threading.Event()

    async def handler(ctx: Context) -> None:
        task = asyncio.create_task(ctx.step.wait_for_event("w", event="paid", timeout="1m"))
        await begun.wait()
        task.cancel()

    def hang() -> None:
        bench.loop.call_soon_threadsafe(begun.set)
        is_over.wait(PATIENCE)

    bench = blocking(handler)
    bench.on("before", "table.put", "W#", hang)
    bench.play()
    is_over.set()
    assert "1 calls of the backend hang" in caplog.text


def test_a_timeout_that_is_over_is_no_reason_for_a_thread(blocking: Callable[[Handler], Blocking]) -> None:
    async def handler(ctx: Context) -> None:
        async with asyncio.timeout(HOUR):
            await ctx.step.run("a", one)
        await ctx.step.run("b", one)

    assert blocking(handler).play() == [False, True]


def test_near_the_deadline_no_call_holds_up_the_hand_over(blocking: Callable[[Handler], Blocking]) -> None:
    """A call may take half a minute where AWS ails, and ten seconds belong to the hand-over."""
    assert blocking(two_steps).play(seconds=39) == [False, False]
    assert blocking(two_steps).play(seconds=50) == [True, True]


def test_a_run_that_begins_is_claimed_while_the_waits_are_read(blocking: Callable[[Handler], Blocking]) -> None:
    """Each call returns only once the other is under way."""
    both = threading.Barrier(2, timeout=PATIENCE)
    bench = blocking(two_steps)
    bench.on("before", "table.update", "R#", both.wait)
    bench.on("before", "table.get", "", both.wait)
    bench.play()


def test_a_run_whose_event_cannot_be_taken_in_whole_does_not_move(blocking: Callable[[Handler], Blocking]) -> None:
    """The lease is given back at once, it counts as no crash, and the event comes back."""
    ran: list[str] = []

    async def handler(ctx: Context) -> None:
        ran.append("")

    def refuse() -> None:
        raise OSError("the index cannot be read")

    bench = blocking(handler)
    bench.put("go")
    for number in range(1, 8):  # more often than a run may crash
        bench.on("before", "table.get", "", refuse)
        assert not bench.step()
        (head,) = [item for item in bench.stack.table.items() if item["sk"] == HEAD_SK]
        assert (head["lx"], head["fe"]) == (0, number)
        bench.later(600)
    assert ran == []
    assert bench.step()
    assert (bench.run().status, len(ran)) == ("COMPLETED", 1)
