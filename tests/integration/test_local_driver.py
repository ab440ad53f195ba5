"""The local driver: apps in real time, whatever their code does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from stepbridge import App, Context, cron, event
from stepbridge.core.cron import Cron
from stepbridge.core.records import Status
from stepbridge.engine.engine import Engine
from stepbridge.local.driver import Driver
from stepbridge.local.server import LocalServer
from stepbridge.local.service import Service
from stepbridge.memory.timers import MemoryTimers
from stepbridge.ports import Message
from tests.integration.orders_app import app, entered, left
from tests.integration.waiting import eventually


@pytest.fixture
def server() -> Iterator[LocalServer]:
    """With no run yet."""
    with LocalServer(app, port=0) as server:
        yield server


@pytest.fixture(params=["memory", "moto"])
def either(request: pytest.FixtureRequest) -> Iterator[LocalServer]:
    """With no run yet, on either backend."""
    with LocalServer(app, port=0, backend=request.param) as server:
        yield server


def send(service: Service, name: str, data: dict[str, Any] | None = None) -> Any:
    """The run that such an event has started."""
    (event_id,) = service.send({"name": name, "data": data or {}})["ids"]
    return eventually(lambda: service.started_by(event_id))[0]


def ended(service: Service, run_id: str) -> Any:
    """The run, once it has ended."""

    def look() -> Any:
        run = service.run(run_id)
        return run if run["ended_at"] else None

    return eventually(look)


def test_a_sleep_ends_in_time_and_never_early(either: LocalServer) -> None:
    """The step after it begins within moments of the due time."""
    run = ended(either.service, send(either.service, "nap", {"ms": 300})["run_id"])
    (_, sleep), (_, enter) = ((step["step_id"], step) for step in run["steps"])
    assert sleep["due_at"] <= enter["started_at"]
    late = _seconds(enter["started_at"]) - _seconds(sleep["due_at"])
    assert late < 0.5


def _seconds(text: str) -> float:
    hours, minutes, seconds = text.removesuffix("Z").split("T")[1].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def test_many_runs_go_on_at_once(server: LocalServer) -> None:
    """A thousand events, a thousand runs, each step entered once."""
    entered.clear()
    server.service.send([{"name": "ping"}] * 1000)
    eventually(lambda: len(entered) == 1000, seconds=30)
    eventually(lambda: server.service.runs.counts("orders", "ping")[Status.COMPLETED] == 1000, seconds=30)
    assert len(entered) == 1000


def test_code_that_exits_does_not_end_the_server(server: LocalServer, caplog: pytest.LogCaptureFixture) -> None:
    """Not even from a task that a step has left behind."""
    assert ended(server.service, send(server.service, "quit")["run_id"])["status"] == "COMPLETED"
    assert ended(server.service, send(server.service, "order/created")["run_id"])["status"] == "COMPLETED"
    assert "sys.exit()" in caplog.text
    assert [task.exception().__class__ for task in left] == [SystemExit]


def test_a_batch_that_fails_comes_back(
    either: LocalServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever an invocation raises, the driver goes on and its messages are received again."""
    handle_all, failures = Engine.handle_all, iter([OSError("no memory left")])

    async def fail_once(self: Engine, *args: Any, **kwargs: Any) -> Any:
        for failure in failures:
            raise failure
        return await handle_all(self, *args, **kwargs)

    monkeypatch.setattr(Engine, "handle_all", fail_once)
    assert ended(either.service, send(either.service, "ping")["run_id"])["status"] == "COMPLETED"
    assert "no memory left" in caplog.text


def test_a_message_that_bounces_is_not_taken_for_handled(either: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes back when the engine has said."""
    handle_all, bounces = Engine.handle_all, iter([timedelta(0)])

    async def bounce_once(self: Engine, messages: Sequence[Message], **more: Any) -> Any:
        for pause in bounces:
            for message in messages:
                self._ports.queue.postpone(message, pause)
            return list(messages)
        return await handle_all(self, messages, **more)

    monkeypatch.setattr(Engine, "handle_all", bounce_once)
    assert ended(either.service, send(either.service, "ping")["run_id"])["status"] == "COMPLETED"


def test_a_schedule_fires(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the driver itself, whatever else there is to do; here each moment instead of each minute."""
    timely = App("timely")
    monkeypatch.setattr(Cron, "next_after", lambda _self, at: at + timedelta(milliseconds=100))

    @timely.function("tick", trigger=cron("* * * * *"))
    async def tick(ctx: Context) -> str:
        return ctx.event.name

    with LocalServer(timely, port=0) as server:
        counts = server.service.runs.counts
        eventually(lambda: counts("timely", "tick")[Status.COMPLETED] > 1)


def test_no_more_is_taken_in_hand_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest waits in the queue, and comes once there is room."""
    monkeypatch.setattr("stepbridge.local.driver.IN_FLIGHT_MAX", 2)
    waiting, gate = App("waiting"), asyncio.Event()
    inside: list[str] = []

    @waiting.function("wait", trigger=event("ping"))
    async def wait(ctx: Context) -> None:
        inside.append(ctx.run_id)
        most.append(server._driver.in_flight)
        await gate.wait()

    most: list[int] = []
    with LocalServer(waiting, port=0) as server:
        server.service.send([{"name": "ping"}] * 5)
        eventually(lambda: len(inside) == 2)
        server.call(gate.set)
        eventually(lambda: server.service.runs.counts("waiting", "wait")[Status.COMPLETED] == 5)
    assert max(most) <= 2


def test_a_handler_that_blocks_leaves_the_server_reachable(either: LocalServer) -> None:
    """Runs can be read and events sent meanwhile; they are handled once it lets go."""
    blocking = send(either.service, "block", {"seconds": 0.5})["run_id"]
    (event_id,) = either.service.send({"name": "ping"})["ids"]
    assert either.service.run(blocking)["status"] == "RUNNING"
    eventually(lambda: either.service.started_by(event_id))
    assert ended(either.service, blocking)["status"] == "COMPLETED"


def test_a_driver_that_stumbles_goes_on(
    server: LocalServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails between two messages is logged, and tried again."""
    caplog.set_level(logging.ERROR)
    failures = iter([OSError("the disk is full")])

    def fire_due(timers: MemoryTimers) -> int:
        for failure in failures:
            raise failure
        return 0

    monkeypatch.setattr(MemoryTimers, "fire_due", fire_due)
    assert ended(server.service, send(server.service, "ping")["run_id"])["status"] == "COMPLETED"
    assert "the disk is full" in caplog.text


@pytest.mark.parametrize("backend", ["memory", "moto"])
def test_two_apps_share_a_bus_and_nothing_else(backend: str) -> None:
    """One event starts a run in each; each run belongs to its app."""
    other = App("other")

    @other.function("listen", trigger=event("ping"))
    async def listen(ctx: Context) -> str:
        return "heard"

    with LocalServer(app, other, port=0, backend=backend) as server:
        (event_id,) = server.service.send({"name": "ping"})["ids"]
        both = eventually(lambda: _two(server.service.started_by(event_id)))
        assert {(row["app_id"], row["function_id"]) for row in both} == {("orders", "ping"), ("other", "listen")}
        assert [ended(server.service, row["run_id"])["status"] for row in both] == ["COMPLETED", "COMPLETED"]


def _two(rows: list[Any]) -> list[Any]:
    return rows if len(rows) == 2 else []


def test_an_idle_driver_sleeps(server: LocalServer) -> None:
    """With nothing to do for a while it takes hardly any time of the processor."""
    ended(server.service, send(server.service, "ping")["run_id"])
    send(server.service, "nap", {"ms": 60_000})
    before, until = time.thread_time(), time.monotonic() + 0.5
    process = time.process_time()
    eventually(lambda: time.monotonic() > until)
    assert time.process_time() - process - (time.thread_time() - before) < 0.25


def test_stopping_before_the_start_is_stopping() -> None:
    """A server told to stop does not begin."""
    server = LocalServer(app, port=0)
    server.stop()
    server.run()
    assert isinstance(server._driver, Driver)
