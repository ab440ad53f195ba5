"""Branches of sync handlers, and what only threads can get wrong."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

from stepbridge import App, ContextSync, StepError, event
from stepbridge.testing import RunView, Simulation
from tests.acceptance.helpers import START, Broken, error_of


def played(app: App) -> RunView:
    """The run of "f", with nothing more to happen."""
    with Simulation(app) as sim:
        sim.send("go")
        sim.run_until_idle()
        return sim.run("f")


def test_branches_give_their_values_in_order() -> None:
    """A tuple; each step runs once, over replays too."""
    app = App("shop")
    calls: list[int] = []

    def square(number: int) -> int:
        calls.append(number)
        return number * number

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> list[Any]:
        squares = ctx.group.parallel(tuple(partial(ctx.step.run, f"square-{n}", square, n) for n in range(5)))
        ctx.step.sleep("nap", "1h")
        return [type(squares).__name__, *squares]

    assert played(app).output == ["tuple", 0, 1, 4, 9, 16]
    assert sorted(calls) == [0, 1, 2, 3, 4]


def test_steps_of_two_branches_overlap() -> None:
    """Each waits for the other: run one after the other, they would never meet."""
    app = App("shop")
    barrier = threading.Barrier(3, timeout=5)

    def meet(name: str) -> str:
        barrier.wait()
        return name

    @app.function("f", trigger=event("go"), retries=0)
    def f(ctx: ContextSync) -> list[str]:
        return list(
            ctx.group.parallel(
                (
                    lambda: ctx.step.run("one", meet, "one"),
                    lambda: ctx.step.run("two", meet, "two"),
                    lambda: ctx.step.run("three", meet, "three"),
                )
            )
        )

    assert played(app).output == ["one", "two", "three"]


def test_a_suspended_branch_lets_the_others_go_on() -> None:
    """The sleep of one branch does not stop the steps of the other, in the same invocation."""
    app = App("shop")
    done: list[tuple[str, timedelta]] = []

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> list[str]:
        def note(name: str) -> None:
            done.append((name, ctx.now - START))

        def slow() -> str:
            ctx.step.sleep("nap", "5h")
            ctx.step.run("slow", note, "slow")
            return "slow"

        def quick() -> str:
            ctx.step.run("quick-1", note, "quick-1")
            ctx.step.run("quick-2", note, "quick-2")
            ctx.step.sleep("short", "1h")
            ctx.step.run("quick-3", note, "quick-3")
            return "quick"

        return list(ctx.group.parallel((slow, quick)))

    assert played(app).output == ["slow", "quick"]
    zero, one, five = timedelta(0), timedelta(hours=1), timedelta(hours=5)
    assert done == [("quick-1", zero), ("quick-2", zero), ("quick-3", one), ("slow", five)]


def test_branches_mix_every_kind_of_step() -> None:
    """run, sleep, wait, invoke, send."""
    app = App("shop")

    @app.function("child", trigger=event("never"))
    def child(ctx: ContextSync) -> int:
        ctx.step.sleep("nap", "90m")
        return int(ctx.event.data["n"])

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> list[Any]:
        branches: list[Any] = [
            lambda: ctx.step.run("run", lambda: 1),
            lambda: ctx.step.sleep("sleep", "1h"),
            lambda: ctx.step.wait_for_event("reply", event="reply", timeout="2h"),
            lambda: ctx.step.invoke("call", function=child, data={"n": 3}),
            lambda: ctx.step.send_event("send", {"name": "sent"}),
        ]
        one, two, reply, three, ids = ctx.group.parallel(branches)
        return [one, two, reply.data["n"], three, len(ids)]

    with Simulation(app) as sim:
        sim.send("go")
        sim.advance("30m")
        sim.send("reply", {"n": 2})
        sim.advance("1h")
        run = sim.run("f")
    assert run.output == [1, None, 2, 3, 1]
    assert list(run.steps)[2:] == ["reply", "sleep", "call"]


def test_groups_may_be_nested() -> None:
    """Parallel in parallel."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> list[Any]:
        def inner(name: str) -> list[Any]:
            before = ctx.step.run(f"{name}-before", lambda: name)
            both: tuple[Any, ...] = ctx.group.parallel(
                (
                    lambda: ctx.step.run(f"{name}-a", lambda: "a"),
                    lambda: ctx.step.sleep(f"{name}-nap", "1h"),
                )
            )
            return [before, *both]

        return list(ctx.group.parallel((lambda: inner("x"), lambda: inner("y"))))

    assert played(app).output == [["x", "a", None], ["y", "a", None]]


def test_parallel_waits_for_all_before_it_raises() -> None:
    """The first failed branch's error, in their order, once all have ended."""
    app = App("shop")
    done: list[str] = []

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> str:
        def slow() -> None:
            ctx.step.sleep("nap", "1h")
            ctx.step.run("slow", done.append, "slow")

        once = ctx.step.with_options(retries=0)
        try:
            ctx.group.parallel(
                (slow, lambda: once.run("one", Broken(OSError())), lambda: once.run("two", Broken(ValueError())))
            )
        except StepError as error:
            return error.step_id
        return "no error"

    assert played(app).output == "one"
    assert done == ["slow"]


def test_return_exceptions_puts_errors_in_their_places() -> None:
    """Of steps, and of the branch's own code."""
    app = App("shop")

    @app.function("f", trigger=event("go"), retries=0)
    def f(ctx: ContextSync) -> list[Any]:
        def own() -> None:
            raise LookupError("own")

        results: tuple[Any, ...] = ctx.group.parallel(
            (
                lambda: ctx.step.run("fine", lambda: 1),
                lambda: ctx.step.run("fail", Broken(OSError("one"))),
                own,
            ),
            return_exceptions=True,
        )
        ctx.step.sleep("nap", "1h")
        return [results[0], results[1].name, type(results[2]).__name__]

    assert played(app).output == [1, "OSError", "LookupError"]


def test_a_shared_step_id_keeps_its_owners() -> None:
    """Two branches use one id before and after their sleeps."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> list[list[str]]:
        def branch(name: str, nap: str) -> list[str]:
            first = ctx.step.run("shared", lambda: f"{name}-first")
            ctx.step.sleep(f"nap-{name}", nap)
            return [first, ctx.step.run("shared", lambda: f"{name}-second")]

        both = ctx.group.parallel((lambda: branch("a", "2h"), lambda: branch("b", "1h")))
        ctx.step.sleep("after", "1h")
        return list(both)

    assert played(app).output == [["a-first", "a-second"], ["b-first", "b-second"]]


def test_branches_interleave_on_replay_as_they_did() -> None:
    """The handler's own shared list comes out the same each time."""
    app = App("shop")
    logs: list[list[str]] = []

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> None:
        log: list[str] = []

        def branch(name: str, hours: tuple[int, ...]) -> None:
            for number, length in enumerate(hours):
                ctx.step.sleep(f"{name}-{number}", f"{length}h")
                log.append(f"{name}-{number}")

        ctx.group.parallel((lambda: branch("a", (1, 5)), lambda: branch("b", (2, 2)), lambda: branch("c", (3,))))
        logs.append(log)
        ctx.step.sleep("after-1", "1h")
        ctx.step.sleep("after-2", "1h")

    assert played(app).status == "COMPLETED"
    assert logs == [["a-0", "b-0", "c-0", "b-1", "a-1"]] * 3


def test_an_error_of_a_branchs_own_code_retries_the_body() -> None:
    """As anywhere outside steps."""
    app = App("shop")
    calls: list[str] = []

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> list[Any]:
        def own() -> int:
            ctx.step.run("a", calls.append, "a")
            if ctx.attempt == 0:
                raise ConnectionError("own")
            return ctx.attempt

        return list(ctx.group.parallel((own, lambda: ctx.step.run("b", lambda: "b"))))

    run = played(app)
    assert run.output == [1, "b"]
    assert calls == ["a"]


def test_a_step_from_a_thread_of_the_handlers_own_is_a_clear_error() -> None:
    """The engine cannot replay such a thread: the error says what to use instead."""
    app = App("shop")

    @app.function("f", trigger=event("go"), retries=0)
    def f(ctx: ContextSync) -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: ctx.step.run("my-step", int)).result()

    error = error_of(played(app))
    assert "my-step" in error["message"]
    assert "thread" in error["message"]
    assert "group.parallel" in error["message"]


def test_a_branch_of_a_suspended_run_leaves_no_thread_behind() -> None:
    """Nothing waits in a thread while the run sleeps, nor after the simulation's end."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> None:
        ctx.group.parallel(tuple(partial(ctx.step.sleep, f"nap-{n}", "1h") for n in range(5)))

    before = set(threading.enumerate())
    with Simulation(app) as sim:
        for _ in range(20):
            sim.send("go")
        assert len(set(threading.enumerate()) - before) < 40
    assert set(threading.enumerate()) <= before


def test_finally_blocks_of_a_suspended_handler_run_no_steps() -> None:
    """Suspension unwinds the handler; a step in its `finally` waits for its turn."""
    app = App("shop")
    calls: list[str] = []

    @app.function("f", trigger=event("go"))
    def f(ctx: ContextSync) -> None:
        try:
            ctx.step.sleep("nap", "1h")
            ctx.step.run("body", calls.append, "body")
        finally:
            ctx.step.run("clean-up", calls.append, "clean-up")

    with Simulation(app) as sim:
        sim.send("go")
        assert calls == []
        sim.advance("1h")
        assert sim.run("f").status == "COMPLETED"
    assert calls == ["body", "clean-up"]
