"""The load: a burst and a steady flow on the dev server, and the same app on the undisturbed engine.

`python -m tests.load` prints a table and fails if a run is lost.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.load.engine import undisturbed
from tests.load.server import Served, served

Row = tuple[str, str]
_PATIENCE_SECONDS: Final = 300.0
WARM_UP: Final = 500
"""Runs before memory is first looked at."""


def rows(burst: int, rate: int, seconds: float) -> Iterator[Row]:
    """What the table says."""
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as server:
        warm = min(WARM_UP, burst)
        server.put(warm)
        server.until_through(_PATIENCE_SECONDS)
        yield from _burst(server, burst)
        yield from _steady(server, rate, seconds)
    engine = undisturbed(burst, warm)
    yield "the engine undisturbed, in memory: runs per second", f"{engine.per_second:,.0f}"
    yield f"its memory after {warm:,} runs, ended ones forgotten", _megabytes(engine.warm)
    yield f"its memory after {burst:,} more", _megabytes(engine.end)


def _burst(server: Served, count: int) -> Iterator[Row]:
    before, began = server.resident(), time.monotonic()
    server.put(count)
    accepted = time.monotonic() - began
    server.until_through(_PATIENCE_SECONDS)
    took = time.monotonic() - began
    after = server.resident()
    yield f"burst: {count:,} events, accepted in", f"{accepted:.1f} s"
    yield "all COMPLETED after", f"{took:.1f} s"
    yield "runs per second", f"{count / took:,.0f}"
    yield "memory before", _megabytes(before)
    yield "memory after", _megabytes(after)
    yield "that is, for each run that is kept", f"{(after - before) / count:.1f} kB"


def _steady(server: Served, rate: int, seconds: float) -> Iterator[Row]:
    before, began = server.resident(), time.monotonic()
    halfway = before
    tenths = round(seconds * 10)
    sent = 0
    for tenth in range(tenths):
        due = rate * (tenth + 1) // 10
        if due > sent:
            server.put(due - sent)
            sent = due
        if tenth == tenths // 2:
            halfway = server.resident()
        time.sleep(max(0.0, began + (tenth + 1) / 10 - time.monotonic()))
    flowed = time.monotonic() - began
    server.until_through(_PATIENCE_SECONDS)
    late = time.monotonic() - began - flowed
    after = server.resident()
    yield f"steady flow: {sent:,} events in {flowed:.0f} s, per second", f"{sent / flowed:,.0f}"
    yield "all COMPLETED after the last event by", f"{late:.1f} s"
    yield "memory at the beginning, halfway, at the end", " · ".join(map(_megabytes, (before, halfway, after)))
    yield "that is, for each run that is kept", f"{(after - before) / sent:.1f} kB"


def _megabytes(kilobytes: int) -> str:
    return f"{kilobytes / 1024:.0f} MB"


def main() -> None:
    """The table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--burst", type=int, default=5_000)
    options.add_argument("--rate", type=int, default=50, help="events per second of the steady flow")
    options.add_argument("--seconds", type=float, default=30.0)
    given = options.parse_args()
    for what, figure in rows(given.burst, given.rate, given.seconds):
        print(f"{what:<60} {figure:>24}", flush=True)


if __name__ == "__main__":
    main()
