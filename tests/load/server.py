"""`stepbridge dev` as a process of its own, loaded by a real EventBridge client."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import boto3

from tests.integration.processes import ROOT, environment
from tests.integration.waiting import eventually

_CALLERS: Final = 4
"""Threads that put events."""
_ENTRIES: Final = 10
"""Events a call: the most that EventBridge takes."""
_LOOK_SECONDS: Final = 0.1
_OPTIONS: Final = ("--port", "0", "--json", "--no-first-event", "--no-reload")


class Served:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self._process = process
        self._url = url
        self._bus: Any = boto3.client(
            "events",
            region_name="us-east-1",
            endpoint_url=url,
            aws_access_key_id="any",
            aws_secret_access_key="any",  # pragma: allowlist secret
        )
        self._sent = 0

    def put(self, count: int) -> None:
        """So many events, by several callers at once; all have been accepted when it returns."""
        numbers = range(self._sent, self._sent + count)
        self._sent += count
        with ThreadPoolExecutor(_CALLERS) as callers:
            for accepted in callers.map(self._call, [numbers[at : at + _ENTRIES] for at in range(0, count, _ENTRIES)]):
                assert accepted

    def _call(self, numbers: Sequence[int]) -> bool:
        details = [json.dumps({"order_id": f"o-{number}"}) for number in numbers]
        entries = [{"Source": "load", "DetailType": "load/made", "Detail": detail} for detail in details]
        return bool(self._bus.put_events(Entries=entries)["FailedEntryCount"] == 0)

    def counts(self) -> dict[str, int]:
        """How many runs there are of each status."""
        with urlopen(f"{self._url}/api/functions") as answer:  # noqa: S310 - our own server
            (row,) = json.load(answer)["functions"]
        return {status: count for status, count in row["runs"].items() if count}

    def resident(self) -> int:
        """The process's resident memory, in kilobytes."""
        return resident(self._process.pid)

    def until_through(self, seconds: float, sampled: Callable[[], object] = lambda: None) -> None:
        """Until every event that was put has a run that is COMPLETED, and no other.

        Raises:
            AssertionError: That is not so after so many seconds.
        """
        end = time.monotonic() + seconds
        while (counts := self.counts()) != {"COMPLETED": self._sent}:
            assert time.monotonic() < end, f"{self._sent} events, and the runs are {counts}"
            sampled()
            time.sleep(_LOOK_SECONDS)


def resident(pid: int) -> int:
    """A process's resident memory, in kilobytes."""
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=True)  # noqa: S603, S607
    return int(told.stdout)


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """A server of its own, on any free port."""
    out = folder / "out"
    with out.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "stepbridge.cli", "dev", "tests.load.orders:app", *_OPTIONS],
            cwd=ROOT,
            env=environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        first = eventually(lambda: next(iter(out.read_text().splitlines()), ""), seconds=30)
        yield Served(process, json.loads(first)["ready"])
    finally:
        process.terminate()
        process.wait()
