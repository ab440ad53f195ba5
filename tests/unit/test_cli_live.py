"""A run as a terminal shows it while it goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from stepbridge.cli.live import frame

NOW = datetime(2025, 1, 1, 0, 1, 40, tzinfo=UTC)
RUN: dict[str, Any] = {
    "run_id": "r" * 26,
    "function_id": "buy\x1b[31m",
    "status": "SLEEPING",
    "created_at": "2025-01-01T00:00:00.000Z",
    "ended_at": None,
    "output": None,
    "error": None,
}


def step(step_id: str, begun: str | None, ended: str | None, status: str) -> dict[str, Any]:
    """One of its steps; times as seconds of the first two minutes."""
    times = {"started_at": begun, "ended_at": ended, "due_at": "2025-01-01T00:03:20.000Z"}
    instants = {name: None if at is None or "T" in at else f"2025-01-01T00:{at}.000Z" for name, at in times.items()}
    shape = {"step_id": step_id, "occurrence": 0, "kind": "run", "status": status, "output": None, "error": None}
    return {**shape, **instants, "due_at": times["due_at"], "attempts": 1, "waits_for": [], "child_run_id": None}


def shown(*steps: dict[str, Any]) -> list[str]:
    """The lines of a terminal of 120 columns."""
    console = Console(width=120, color_system=None)
    with console.capture() as captured:
        console.print(frame({**RUN, "steps": list(steps)}, NOW))
    return captured.get().splitlines()


def test_bars_are_to_scale() -> None:
    """A quarter, the half after it, and what goes on to now; the column's head says how long all has taken."""
    steps = [step("a", "00:00", "00:25", "COMPLETED"), step("b", "00:25", "01:15", "COMPLETED")]
    _, head, *rows = shown(*steps, step("c", "01:15", None, "SLEEPING"))
    assert "1 m 40 s" in head
    begin = head.index("1 m 40 s") + len("1 m 40 s") - 32
    bars = [row[begin : begin + 32] for row in rows]
    assert [(len(bar) - len(bar.lstrip()), bar.count("━")) for bar in bars] == [(0, 9), (8, 17), (24, 8)]
    assert "until" in rows[2]


def test_nothing_hostile_reaches_the_terminal() -> None:
    """Names are spelled out; markup is text."""
    headline, _, row = shown(step("[red]\x1b[2J", "00:00", "00:25", "COMPLETED"))
    assert "\x1b" not in headline + row
    assert r"buy\x1b[31m" in headline
    assert r"[red]\x1b[2J" in row
