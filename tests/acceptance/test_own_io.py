"""A handler's own I/O outside steps: let finish, beside steps that are pending."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

from stepbridge import App, Context, event
from stepbridge.testing import RunView, Simulation


def played(app: App) -> RunView:
    """The run of "f", with nothing more to happen."""
    with Simulation(app) as sim:
        sim.send("go")
        sim.run_until_idle()
        return sim.run("f")


def test_a_real_sleep_before_between_and_after_steps() -> None:
    """The handler's own await is not a suspension."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> list[int]:
        await asyncio.sleep(0.01)
        one = await ctx.step.run("one", lambda: 1)
        await asyncio.sleep(0.01)
        await ctx.step.sleep("nap", "1h")
        await asyncio.sleep(0.01)
        two = await ctx.step.run("two", lambda: 2)
        await asyncio.sleep(0.01)
        return [one, two]

    assert played(app).output == [1, 2]


def test_own_io_beside_a_pending_step_finishes_before_the_run_suspends() -> None:
    """A run suspends once all its tasks wait on steps, not while one still reads."""
    app = App("shop")
    finished: list[str] = []

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> str:
        async def own() -> None:
            await asyncio.sleep(0.03)
            finished.append("own")

        await asyncio.gather(ctx.step.sleep("nap", "1h"), own())
        return "done"

    with Simulation(app) as sim:
        sim.send("go")
        assert finished == ["own"]
        assert sim.run("f").status == "SLEEPING"
        sim.advance("1h")
        assert sim.run("f").output == "done"


def test_a_call_in_an_executor_gathered_with_a_step_is_let_finish() -> None:
    """It is no task, and none of the run's."""
    app = App("shop")
    finished: list[str] = []
    released = threading.Event()

    def own() -> None:
        released.wait(5)
        finished.append("own")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        await asyncio.gather(asyncio.get_running_loop().run_in_executor(None, own), ctx.step.sleep("nap", "1h"))

    with Simulation(app) as sim:
        timer = threading.Timer(0.05, released.set)
        timer.start()
        sim.send("go")
        assert finished == ["own"]
        timer.join()


def test_a_short_timeout_of_asyncio_wait_around_a_step_is_waited_for() -> None:
    """The handler goes on without the step's result."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> list[int]:
        nap = asyncio.create_task(ctx.step.sleep("nap", "1h"))
        done, pending = await asyncio.wait({nap}, timeout=0.02)
        await ctx.step.run("after", lambda: None)
        nap.cancel()
        return [len(done), len(pending)]

    with Simulation(app) as sim:
        sim.send("go")
        assert sim.run("f").output == [0, 1]


def test_a_step_after_own_io_beside_a_pending_step_is_run() -> None:
    """What the reading branch goes on to do belongs to this invocation as well."""
    app = App("shop")
    calls: list[str] = []

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        async def own() -> None:
            await asyncio.sleep(0.02)
            await ctx.step.run("after-io", calls.append, "after-io")

        await asyncio.gather(ctx.step.sleep("nap", "1h"), own())

    with Simulation(app) as sim:
        sim.send("go")
        assert calls == ["after-io"]
        sim.advance("1h")
        assert sim.run("f").status == "COMPLETED"
    assert calls == ["after-io"]


def test_to_thread_beside_pending_steps() -> None:
    """Work in the loop's executor counts as I/O that is under way."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> list[Any]:
        values = await asyncio.gather(
            asyncio.to_thread(sum, [1, 2]), ctx.step.sleep("nap", "1h"), ctx.step.run("a", lambda: 4)
        )
        return list(values)

    assert played(app).output == [3, None, 4]


def test_a_real_socket_beside_pending_steps() -> None:
    """A local server answers while the run has a sleep and a wait pending."""
    app = App("shop")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        await asyncio.sleep(0.02)
        writer.write(line.upper())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def ask() -> str:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"hello\n")
            await writer.drain()
            line = await reader.readline()
            writer.close()
            await writer.wait_closed()
        return line.decode().strip()

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> list[Any]:
        values = await asyncio.gather(
            ask(),
            ctx.step.sleep("nap", "1h"),
            ctx.step.wait_for_event("reply", event="reply", timeout="2h"),
        )
        return list(values)

    assert played(app).output == ["HELLO", None, None]


def test_queues_locks_and_events_between_branches() -> None:
    """A consumer waits for what a producer takes from steps."""
    app = App("shop")

    def times(number: int, factor: int) -> int:
        return number * factor

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> list[int]:
        queue: asyncio.Queue[int | None] = asyncio.Queue(maxsize=1)
        lock = asyncio.Lock()
        taken: list[int] = []

        async def produce() -> None:
            for number in range(3):
                async with lock:
                    await ctx.step.sleep(f"nap-{number}", "1h")
                await queue.put(await ctx.step.run(f"make-{number}", times, number, 1))
            await queue.put(None)

        async def consume() -> None:
            while (number := await queue.get()) is not None:
                async with lock:
                    taken.append(await ctx.step.run(f"take-{number}", times, number, 10))

        await asyncio.gather(produce(), consume())
        return taken

    run = played(app)
    assert (run.status, run.output) == ("COMPLETED", [0, 10, 20])


def test_a_steps_own_tasks_and_timers_are_its_own() -> None:
    """An async step may gather and sleep; the handler beside it goes on."""
    app = App("shop")

    async def work() -> list[int]:
        async def one(number: int) -> int:
            await asyncio.sleep(0.01 * number)
            return number

        return list(await asyncio.gather(*(one(number) for number in range(3))))

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> list[Any]:
        return list(await asyncio.gather(ctx.step.run("work", work), ctx.step.run("a", lambda: 1)))

    assert played(app).output == [[0, 1, 2], 1]


def test_async_steps_of_two_branches_overlap() -> None:
    """Each waits for the other: run one after the other, they would never end."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> list[str]:
        first, second = asyncio.Event(), asyncio.Event()

        async def one() -> str:
            first.set()
            await asyncio.wait_for(second.wait(), 5)
            return "one"

        async def two() -> str:
            second.set()
            await asyncio.wait_for(first.wait(), 5)
            return "two"

        return list(await asyncio.gather(ctx.step.run("one", one), ctx.step.run("two", two)))

    assert played(app).output == ["one", "two"]


def test_a_background_task_left_behind_does_not_hold_a_finished_run() -> None:
    """The handler has returned: its value stands."""
    app = App("shop")
    tasks: list[asyncio.Task[None]] = []

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> str:
        tasks.append(asyncio.create_task(asyncio.sleep(20)))
        return await ctx.step.run("a", lambda: "done")

    assert played(app).output == "done"


def test_partials_and_objects_whose_call_is_async_are_awaited() -> None:
    """Whatever is known to give a coroutine."""
    app = App("shop")

    class Service:
        async def __call__(self, number: int) -> int:
            await asyncio.sleep(0)
            return number + 1

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> list[int]:
        service = Service()
        return [
            await ctx.step.run("object", service, 1),
            await ctx.step.run("partial", partial(service.__call__, 2)),
            await ctx.step.run("bound", service.__call__, 3),
        ]

    assert played(app).output == [2, 3, 4]


def test_step_calls_return_coroutines() -> None:
    """Each of them; what is closed unawaited has not happened."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> list[bool]:
        calls: list[Any] = [
            ctx.step.run("run", int),
            ctx.step.sleep("sleep", "1h"),
            ctx.step.sleep_until("until", "2030-01-01T00:00:00Z"),
            ctx.step.wait_for_event("wait", event="reply", timeout="1h"),
            ctx.step.invoke("invoke", function="f"),
            ctx.step.send_event("send", {"name": "sent"}),
        ]
        kinds = [asyncio.iscoroutine(call) for call in calls]
        for call in calls:
            call.close()
        return kinds

    run = played(app)
    assert run.output == [True] * 6
    assert len(run.steps) == 0
