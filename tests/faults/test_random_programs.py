"""Generated programs against a simple oracle: whatever happens, replay gives out results in the first order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from stepbridge import App, Context, ContextSync, event, invoke_only
from tests.faults.crash import CrashingSimulation, Knife

TRACES: list[list[str]] = []
"""One list an invocation: what the handler was given, in order."""


@dataclass(frozen=True)
class Leaf:
    """One step: its kind, an id shared by several leaves, and a number that shifts its time."""

    kind: str
    name: str
    time: int


@dataclass(frozen=True)
class Block:
    """Parts one after the other, side by side, or raced."""

    how: str
    parts: tuple[Any, ...]


LEAVES = st.builds(
    Leaf,
    kind=st.sampled_from(["run", "thread", "flaky", "sleep", "wait", "child", "send"]),
    name=st.sampled_from("abc"),
    time=st.integers(0, 3),
)
PROGRAMS = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        Block,
        how=st.sampled_from(["sequence", "gather", "group", "race"]),
        parts=st.lists(inner, min_size=1, max_size=4).map(tuple),
    ),
    max_leaves=12,
)
SYNC_PROGRAMS = st.recursive(
    LEAVES.filter(lambda leaf: leaf.kind != "thread"),
    lambda inner: st.builds(
        Block, how=st.sampled_from(["sequence", "parallel"]), parts=st.lists(inner, min_size=1, max_size=4).map(tuple)
    ),
    max_leaves=10,
)


def app_of(program: Any, *, is_sync: bool = False) -> App:  # noqa: C901, PLR0915 - an interpreter, in both colours
    """An app whose function is the program; it notes what it is given."""
    app = App("random")
    tries: dict[str, int] = {}

    async def work(label: str, time: int) -> str:
        await asyncio.sleep(time / 1000)
        return label

    def plain(label: str) -> str:
        return label

    def flaky(label: str) -> str:
        tries[label] = tries.get(label, 0) + 1
        if tries[label] == 1:
            raise RuntimeError(label)
        return label

    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> str:
        await ctx.step.sleep("z", f"{ctx.event.data['time']}m")
        return "child"

    async def leaf(ctx: Context, one: Leaf, trace: list[str], numbers: Any) -> None:
        label = f"{one.kind}-{one.name}"
        number = next(numbers)
        calls: dict[str, Callable[[], Any]] = {
            "run": lambda: ctx.step.run(label, work, label, one.time),
            "thread": lambda: ctx.step.run(label, plain, label),
            "flaky": lambda: ctx.step.run(label, flaky, f"{label}{number}"),
            "sleep": lambda: ctx.step.sleep(label, f"{one.time}m"),
            "wait": lambda: ctx.step.wait_for_event(label, event=f"on/{one.name}", timeout=f"{one.time + 1}h"),
            "child": lambda: ctx.step.invoke(label, function=child, data={"time": one.time}),
            "send": lambda: ctx.step.send_event(label, {"name": "out"}),
        }
        got = await calls[one.kind]()
        trace.append(f"{number}:{label}:{getattr(got, 'id', got)}")

    async def play(ctx: Context, part: Any, trace: list[str], numbers: Any) -> None:
        if isinstance(part, Leaf):
            await leaf(ctx, part, trace, numbers)
            return
        if part.how == "sequence":
            for inner in part.parts:
                await play(ctx, inner, trace, numbers)
            return
        branches = [play(ctx, inner, trace, numbers) for inner in part.parts]
        if part.how == "gather":
            await asyncio.gather(*branches)
        elif part.how == "group":
            async with asyncio.TaskGroup() as group:
                for branch in branches:
                    group.create_task(branch)
        else:
            tasks = [asyncio.create_task(branch) for branch in branches]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(tasks)

    def leaf_sync(ctx: ContextSync, one: Leaf, trace: list[str], numbers: Any) -> None:
        label = f"{one.kind}-{one.name}"
        number = next(numbers)
        calls: dict[str, Callable[[], Any]] = {
            "run": lambda: ctx.step.run(label, plain, label),
            "flaky": lambda: ctx.step.run(label, flaky, f"{label}{number}"),
            "sleep": lambda: ctx.step.sleep(label, f"{one.time}m"),
            "wait": lambda: ctx.step.wait_for_event(label, event=f"on/{one.name}", timeout=f"{one.time + 1}h"),
            "child": lambda: ctx.step.invoke(label, function=child, data={"time": one.time}),
            "send": lambda: ctx.step.send_event(label, {"name": "out"}),
        }
        got = calls[one.kind]()
        trace.append(f"{number}:{label}:{getattr(got, 'id', got)}")

    def play_sync(ctx: ContextSync, part: Any, trace: list[str], numbers: Any) -> None:
        if isinstance(part, Leaf):
            leaf_sync(ctx, part, trace, numbers)
        elif part.how == "sequence":
            for inner in part.parts:
                play_sync(ctx, inner, trace, numbers)
        else:
            ctx.group.parallel([partial(play_sync, ctx, inner, trace, numbers) for inner in part.parts])

    if is_sync:

        @app.function("f", trigger=event("go"))
        def sync_handler(ctx: ContextSync) -> list[str]:
            TRACES.append([])
            play_sync(ctx, program, TRACES[-1], itertools.count())
            return TRACES[-1]

    else:

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> list[str]:
            TRACES.append([])
            await play(ctx, program, TRACES[-1], itertools.count())
            return TRACES[-1]

    return app


class Tracing(CrashingSimulation):
    """Forgets what a killed invocation was given.

    Results from outside rank by the run's next record. An invocation that dies before one leaves no order
    behind: of a timer and a child's end of the same instant the next may be given the other first.
    """

    def _deliver_one(self, site: Any) -> bool:
        before = len(TRACES)
        moved = super()._deliver_one(site)
        if self.knife.dead:
            del TRACES[before:]
        return moved


def drive(app: App, knife: Knife, seed: int | None) -> Any:
    """Sends the start and an event for each wait, time enough between them, and goes on until nothing is pending."""
    TRACES.clear()
    with Tracing(app, knife=knife, seed=seed) as sim:
        sim.send("go", {}, id="go")
        sim.advance("10m")
        for name in "abc":
            sim.send(f"on/{name}", {}, id=f"event-{name}")
            sim.advance("10m")
        sim.run_until_idle()
        return sim.run("f"), sim.leftovers()


def assert_ordered(run: Any, leftovers: list[str]) -> None:
    """Completed; what any invocation was given is how what the last one was given, and returned, begins."""
    assert run.status == "COMPLETED", run
    for trace in TRACES:
        assert run.output[: len(trace)] == trace
    assert leftovers == []


@given(program=PROGRAMS)
def test_an_async_program_is_given_the_same_results_in_the_same_order(program: Any) -> None:
    """Undisturbed, over however many invocations it takes."""
    assert_ordered(*drive(app_of(program), Knife(), None))


@given(program=PROGRAMS, cuts=st.frozensets(st.integers(0, 120), max_size=3))
def test_crashes_do_not_change_the_order(program: Any, cuts: frozenset[int]) -> None:
    """Cut anywhere, up to three times."""
    assert_ordered(*drive(app_of(program), Knife(cuts), None))


@given(program=PROGRAMS, seed=st.integers(0, 1000))
def test_a_backend_at_its_worst_does_not_change_the_order(program: Any, seed: int) -> None:
    """Duplicates, other orders of delivery, late timers."""
    run, leftovers = drive(app_of(program), Knife(), seed)
    assert_ordered(run, leftovers)


THREADS_NUMBERS = Block(
    how="parallel",
    parts=(
        Leaf(kind="flaky", name="a", time=0),
        Block(how="parallel", parts=(Leaf(kind="run", name="a", time=0), Leaf(kind="flaky", name="a", time=0))),
        Block(
            how="parallel",
            parts=(
                Block(how="sequence", parts=(Leaf(kind="run", name="a", time=0), Leaf(kind="run", name="a", time=0))),
            ),
        ),
    ),
)
"""A branch's thread ends, and the next one's bears its number: it was taken for no thread of the run's."""


@example(program=THREADS_NUMBERS, cuts=frozenset())
@given(program=SYNC_PROGRAMS, cuts=st.frozensets(st.integers(0, 120), max_size=2))
def test_a_sync_program_is_given_the_same_results_in_the_same_order(program: Any, cuts: frozenset[int]) -> None:
    """Branches of `ctx.group.parallel`, with crashes."""
    assert_ordered(*drive(app_of(program, is_sync=True), Knife(cuts), None))
