"""Time that is skipped for one run of the local server, and what the server keeps of a run's logging."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from stepbridge import App, Context, Event, EventMatch, event
from stepbridge.core.instants import to_ms
from stepbridge.core.records import Status
from stepbridge.local import run_logs
from stepbridge.local.run_logs import RunLogs
from stepbridge.local.server import LocalServer
from stepbridge.local.service import ConflictError
from stepbridge.local.wake import wake
from stepbridge.memory.clock import SystemClock
from tests.integration.waiting import eventually

app = App("sleepy")
calls: list[str] = []


def flaky() -> str:
    """Fails once."""
    calls.append("flaky")
    if len(calls) == 1:
        raise ConnectionError("not yet")
    logging.getLogger("bank").warning("it took %s calls", len(calls))
    return "done"


@app.function("nap", trigger=event("nap"))
async def nap(ctx: Context) -> str:
    """A sleep, then a wait, then a step that is tried again, then the body."""
    ctx.logger.warning("good night")
    await ctx.step.sleep("a month", "30 days")
    ctx.logger.warning("good morning")
    came = await ctx.step.wait_for_event("nobody", event="never", timeout="60 days")
    flaked = await ctx.step.run("flaky", flaky)
    if ctx.attempt == 0:
        raise ConnectionError("the body")
    return f"{came} {flaked}"


@app.function("both", trigger=event("both"))
async def both(ctx: Context) -> list[Any]:
    """Two sleeps side by side, and fifty waits, more than a head holds."""
    sleeps = (ctx.step.sleep("short", "1 day"), ctx.step.sleep("long", "2 days"))
    waits = [ctx.step.wait_for_any(f"w{n}", [EventMatch("x")], timeout=timedelta(days=3)) for n in range(50)]
    return list(await asyncio.gather(*sleeps, *waits))


@pytest.fixture
def server() -> Iterator[LocalServer]:
    """On a port of its own."""
    calls.clear()
    with LocalServer(app, port=0) as server:
        yield server


def started(server: LocalServer, what: object) -> str:
    """The id of the run, once it sleeps."""
    (event_id,) = server.service.send(what)["ids"]
    (row,) = eventually(lambda: server.service.started_by(event_id))
    return str(row["run_id"])


def asleep(server: LocalServer, run_id: str, step: str) -> None:
    """Waits until the run is suspended there."""

    def look() -> bool:
        run = server.service.run(run_id)
        pending = [one["step_id"] for one in run["steps"] if one["status"] != "COMPLETED"]
        return bool(run["status"] == "SLEEPING" and (pending or ["body"])[0] == step)

    eventually(look)


def test_all_that_time_brings_can_be_skipped(server: LocalServer) -> None:
    """A sleep, a wait's timeout, a step's retry and the body's, one by one, with nothing else moved."""
    run_id = started(server, {"name": "nap"})
    other = started(server, {"name": "nap"})
    for step in ("a month", "nobody", "flaky", "body"):
        asleep(server, run_id, step)
        server.service.wake(run_id)
    eventually(lambda: server.service.status(run_id) is Status.COMPLETED)
    assert server.service.run(run_id)["output"] == "None done"
    asleep(server, other, "a month")


def test_the_earliest_of_several_is_brought_forward(server: LocalServer) -> None:
    """And the others keep their times."""
    run_id = started(server, {"name": "both"})
    eventually(lambda: len(server.service.run(run_id)["steps"]) == 52)
    eventually(lambda: server.service.status(run_id) is Status.SLEEPING)
    due = woken(server, run_id)
    left = eventually(lambda: sleeping(server, run_id) == ["long"] and sleeping(server, run_id))
    assert left == ["long"]
    assert timedelta(hours=23) < due - server.service.world.clock.now() < timedelta(days=1)
    woken(server, run_id)
    eventually(lambda: not sleeping(server, run_id))
    for _ in range(50):
        if server.service.status(run_id).is_terminal:
            break
        wake_if_asleep(server, run_id)
    assert server.service.run(run_id)["output"] == [None] * 52


def woken(server: LocalServer, run_id: str) -> datetime:
    """When the next due time was; an invocation may be under way that has nothing to do any more."""

    def look() -> datetime | None:
        with suppress(ConflictError):
            return server.service.wake(run_id)
        return None

    return eventually(look)


def wake_if_asleep(server: LocalServer, run_id: str) -> None:
    """The next of several waits whose timeouts lie milliseconds apart."""
    epoch = server.service.epoch(run_id)
    eventually(lambda: server.service.status(run_id) in {Status.SLEEPING, Status.COMPLETED})
    server.service.wake(run_id)
    eventually(lambda: server.service.epoch(run_id) > epoch and server.service.status(run_id) is not Status.RUNNING)


def sleeping(server: LocalServer, run_id: str) -> list[str]:
    """The sleeps that are not over."""
    return [one["step_id"] for one in server.service.run(run_id)["steps"] if one["status"] == "SLEEPING"]


def test_a_run_of_a_future_event_starts_now(server: LocalServer) -> None:
    """It is QUEUED till then."""
    later = to_ms(server.service.world.clock.now() + timedelta(days=7))
    run_id = started(server, Event(name="nap", ts=later))
    assert server.service.status(run_id) is Status.QUEUED
    server.service.wake(run_id)
    asleep(server, run_id, "a month")


def test_a_run_that_has_moved_on_meanwhile_is_left_alone(server: LocalServer) -> None:
    """What it waits for now is not what was looked at."""
    run_id = started(server, {"name": "nap"})
    asleep(server, run_id, "a month")
    site, head = server.service._get(run_id)
    assert wake(site.ports, replace(head, epoch=head.epoch + 1)) is None
    assert wake(site.ports, head) is not None


def test_a_run_that_has_ended_is_not_woken(server: LocalServer) -> None:
    """And says so."""
    run_id = started(server, {"name": "nap"})
    server.service.cancel(run_id)
    eventually(lambda: server.service.status(run_id).is_terminal)
    with pytest.raises(ConflictError, match="waits for nothing that time brings"):
        server.service.wake(run_id)


# -- logs ------------------------------------------------------------------------------------------
def test_the_lines_of_a_run_are_kept(server: LocalServer) -> None:
    """What its context's logger says, once, and what any logger says inside its steps."""
    calls.append("before")
    run_id = started(server, {"name": "nap"})
    for step in ("a month", "nobody", "body"):
        asleep(server, run_id, step)
        server.service.wake(run_id)
    eventually(lambda: server.service.status(run_id) is Status.COMPLETED)
    lines = server.service.logs(run_id)["lines"]
    assert [(line["message"], line["step_id"]) for line in lines] == [
        ("good night", None),
        ("good morning", None),
        ("it took 2 calls", "flaky"),
    ]
    assert [line["logger"] for line in lines] == ["stepbridge.run", "stepbridge.run", "bank"]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By lines of a run, by characters of a line, and by all there is; the count of what was dropped is told."""
    monkeypatch.setattr(run_logs, "LINES_MAX", 3)
    monkeypatch.setattr(run_logs, "CHARACTERS_MAX", 40_000)
    logs = RunLogs(SystemClock())
    for number in range(5):
        logs.handle(record("a", f"line {number}"))
    kept = logs.of("a")
    assert ([line["message"] for line in kept["lines"]], kept["dropped"]) == (["line 2", "line 3", "line 4"], 2)
    for number in range(8):
        logs.handle(record(f"b{number}", "x" * 100_000))
    assert [bool(logs.of(name)["lines"]) for name in ("a", "b0", "b7")] == [False, False, True]
    assert len(logs.of("b7")["lines"][0]["message"]) == run_logs.TEXT_MAX
    odd = record("c", "%d pieces")
    odd.args = ("no number",)
    logs.handle(odd)
    assert "cannot be shown" in logs.of("c")["lines"][0]["message"]


def record(run_id: str, message: str) -> logging.LogRecord:
    """A record as the engine makes it."""
    return logging.makeLogRecord({"msg": message, "run_id": run_id, "levelname": "INFO", "name": "stepbridge.run"})
