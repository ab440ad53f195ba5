"""The peers' scripts, run in the environment that `make bench` has filled for them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.bench.rows import Row

AWS: Final = "AWS durable SDK, local runner"
FORK: Final = "async-durable-execution"
DBOS: Final = "DBOS"
RESTATE: Final = "Restate"
_ROOT = Path(__file__).parents[2]
_PYTHON = _ROOT / ".venvs" / "peers" / "bin" / "python"
_FOLDER = Path(__file__).parent / "peers"
_PEERS = (
    (AWS, "aws_runner.py", "memory"),
    (FORK, "async_fork.py", "memory"),
    (DBOS, "dbos_peer.py", "durable, SQLite file"),
    (RESTATE, "restate_peer.py", "durable, server's disk"),
)
_SECONDS: Final = 150
"""For one peer; what it has not told by then is left out."""


def rows() -> Iterator[Row]:
    """All that each peer tells; one that cannot run says why."""
    for who, script, kind in _PEERS:
        yield from _rows(who, script, kind)


def _rows(who: str, script: str, kind: str) -> Iterator[Row]:
    if not _PYTHON.exists():
        yield _missing(who, "its environment is not there: `make bench` fills it")
        return
    command = [str(_PYTHON), "-W", "ignore", str(_FOLDER / script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603
        reason = ""
        try:
            said, complaint = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            said, complaint = process.communicate()
            reason = f"cut off after {_SECONDS} s"
        if process.returncode and not reason:
            reason = (complaint.strip().splitlines() or ["no reason given"])[-1]
    for line in said.splitlines():
        if line.startswith("{"):
            told = json.loads(line)
            yield Row(section="peers", who=who, kind=kind, **told)
    if reason:
        yield _missing(who, reason)


def _missing(who: str, reason: str) -> Row:
    return Row(section="peers", what="(the rest)", who=who, value=None, unit="", note=reason)
