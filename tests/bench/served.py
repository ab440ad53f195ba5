"""Rows of the local server: real time, HTTP on loopback, state in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

from stepbridge.core.records import Status
from stepbridge.local.server import LocalServer
from tests.bench.programs import BEGUN, ENTERED, app
from tests.bench.rows import Row, percentile

SECTION = "local server"
_PATIENCE_SECONDS = 60.0


class Sender:
    """Puts events over one connection, which its user closes."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(url.removeprefix("http://"))

    def close(self) -> None:
        """Ends it."""
        self._connection.close()

    def send(self, *events: dict[str, Any]) -> None:
        """Accepted when it returns."""
        self._connection.request(
            "POST", "/api/events", json.dumps(events).encode(), {"Content-Type": "application/json"}
        )
        response = self._connection.getresponse()
        assert response.status < 300, response.read()
        response.read()


def rows(scale: int = 1) -> Iterator[Row]:
    """The first step after an event, waiters, sleepers."""
    with LocalServer(app(), port=0) as server, closing(Sender(server.url)) as sender:
        yield from _firsts(sender, 200 // scale)
        yield from _waiters(server, sender, 200 // scale)
        yield from _sleepers(server, sender, 1_000 // scale, seconds=10.0 if scale == 1 else 1.0)


def _firsts(sender: Sender, number: int) -> Iterator[Row]:
    late = []
    for index in range(number):
        ENTERED.clear()
        began = time.perf_counter()
        sender.send({"name": "bench/first", "data": {"key": str(index)}})
        _until(1)
        late.append(ENTERED[0][1] - began)
    yield _row("event → first step, p50", percentile(late, 50) * 1e3, "ms", 6.0)
    yield _row("event → first step, p95", percentile(late, 95) * 1e3, "ms")


def _waiters(server: LocalServer, sender: Sender, number: int) -> Iterator[Row]:
    ENTERED.clear()
    for index in range(number):
        sender.send({"name": "bench/waiter", "data": {"key": str(index)}})
    _until_all(server, "SLEEPING", "waiter", number)
    sent = {}
    for index in range(number):
        sent[str(index)] = time.perf_counter()
        sender.send({"name": "bench/wake", "data": {"key": str(index)}})
    _until(number)
    late = [at - sent[key] for key, at in ENTERED]
    yield _row("200 waiters, each by its event, p50", percentile(late, 50) * 1e3, "ms", 8.0)
    yield _row("200 waiters, each by its event, p95", percentile(late, 95) * 1e3, "ms")


def _sleepers(server: LocalServer, sender: Sender, number: int, *, seconds: float) -> Iterator[Row]:
    ENTERED.clear()
    BEGUN.clear()
    began = time.process_time()
    number = max(number // 10 * 10, 10)
    for start in range(0, number, 10):
        keys = [str(index) for index in range(start, start + 10)]
        sender.send(*({"name": "bench/sleeper", "data": {"key": key, "ms": seconds * 1e3}} for key in keys))
    _until(number)
    late = [at - BEGUN[key] - seconds for key, at in ENTERED]
    yield _row("1,000 sleepers, lateness p95", percentile(late, 95), "s", 0.1)
    yield _row("1,000 sleepers, lateness p50", percentile(late, 50), "s")
    yield _row("1,000 sleepers, CPU each", (time.process_time() - began) / number * 1e3, "ms CPU")


def _until(number: int) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while len(ENTERED) < number:
        assert time.monotonic() < end, f"{len(ENTERED)} of {number}"
        time.sleep(0.0002)


def _until_all(server: LocalServer, status: str, function_id: str, number: int) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while len(server.service.list_runs(function_id=function_id, status=Status(status), limit=1_000)["runs"]) < number:
        assert time.monotonic() < end
        time.sleep(0.05)


def _row(what: str, value: float, unit: str, target: float | None = None) -> Row:
    return Row(section=SECTION, what=what, value=value, unit=unit, kind="memory", target=target)
