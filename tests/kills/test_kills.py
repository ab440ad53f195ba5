"""Dispatcher processes killed with SIGKILL, several at once: every run ends as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kills.drill import drill
from tests.kills.oracle import total

RUNS = 6


@pytest.mark.slow
def test_no_kill_loses_or_doubles_anything(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """All complete, one result a step, no effect lost or repeated without a death, nothing left behind."""
    with drill(tmp_path, seed=7) as (ready, effects):
        report = ready.play(runs=RUNS, workers=3, deadline_seconds=100, effects=effects)
    record_property("kills", report.kills)
    assert report.faults == [], report.table()
    assert report.runs == {"COMPLETED": total(RUNS)}
    assert report.kills > 0
