"""Lines of runs: what is new since the last look."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepbridge.cli import timeline, words
from stepbridge.cli.timeline import Timeline, run_note, step_note

NOW = datetime(2025, 1, 1, 12, tzinfo=UTC)
LATER = words.iso(NOW + timedelta(hours=1))
ERROR = {"name": "ValueError", "message": "no \x1b", "stack": ""}


def step(step_id: str, status: str, **fields: Any) -> dict[str, Any]:
    """A step as the API shows it."""
    ended = words.iso(NOW) if status in {"COMPLETED", "FAILED"} else None
    base = {"step_id": step_id, "occurrence": 0, "kind": "run", "status": status, "attempts": 1, "output": None}
    more = {"error": None, "started_at": words.iso(NOW), "ended_at": ended, "due_at": None}
    return {**base, **more, "waits_for": [], "child_run_id": None, **fields}


def run(status: str, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A run as the API shows it."""
    base = {"run_id": "r", "function_id": "f", "status": status, "attempt": 0, "output": None, "error": None}
    ended = words.iso(NOW) if status in timeline.ENDED else None
    times = {"created_at": words.iso(NOW), "ended_at": ended, "retry_at": None}
    return {**base, **times, "event": {"name": "e"}, "steps": list(steps), **fields}


def told(lines: list[timeline.Line]) -> list[tuple[str, str]]:
    """Steps and statuses."""
    return [(line.step_id, line.status) for line in lines]


def test_each_thing_is_told_once_in_its_order() -> None:
    """The start, each step, the end; nothing after it."""
    lines = Timeline()
    assert told(lines.feed(run("RUNNING"), NOW)) == [("", "STARTED")]
    assert told(lines.feed(run("SLEEPING", step("a", "COMPLETED"), step("b", "SLEEPING")), NOW)) == [
        ("a", "COMPLETED"),
        ("b", "SLEEPING"),
    ]
    end = run("COMPLETED", step("a", "COMPLETED"), step("b", "COMPLETED"), output=1)
    assert told(lines.feed(end, NOW)) == [("b", "COMPLETED"), ("", "COMPLETED")]
    assert lines.feed(end, NOW) == []


def test_every_attempt_is_told() -> None:
    """Of a step, and of the handler."""
    lines = Timeline()
    lines.feed(run("RUNNING"), NOW)
    for attempts in (1, 2):
        retrying = step("a", "RETRYING", attempts=attempts, error=ERROR, due_at=LATER)
        assert told(lines.feed(run("SLEEPING", retrying), NOW)) == [("a", "RETRYING")]
    for attempt in (1, 2):
        again = run("SLEEPING", attempt=attempt, retry_at=LATER, error=ERROR)
        assert told(lines.feed(again, NOW)) == [("", "RETRYING")]


def test_repeated_step_ids_are_different_steps() -> None:
    """By their occurrence."""
    both = run("RUNNING", step("a", "COMPLETED"), step("a", "COMPLETED", occurrence=1))
    assert told(Timeline().feed(both, NOW))[1:] == [("a", "COMPLETED")] * 2


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was forgotten is told anew."""
    monkeypatch.setattr(timeline, "_RUNS_MAX", 1)
    lines = Timeline()
    lines.feed(run("RUNNING"), NOW)
    lines.feed(run("RUNNING", run_id="other"), NOW)
    assert told(lines.feed(run("RUNNING"), NOW)) == [("", "STARTED")]


@pytest.mark.parametrize(
    ("shown", "note"),
    [
        (step("a", "SLEEPING", due_at=LATER), "(in 1 h)"),
        (step("a", "WAITING", due_at=LATER, waits_for=[{"event": "p", "match": {}, "if_exp": None}]), "for p, until"),
        (
            step("a", "WAITING", waits_for=[{"event": "p", "match": {"data.a": 1}, "if_exp": None}]),
            "for p with data.a = 1",
        ),
        (step("a", "WAITING", waits_for=[{"event": "p", "match": None, "if_exp": "x > 1"}]), "for p if x > 1"),
        (step("a", "WAITING", waits_for=[{"signal": "s"}]), "for the signal s"),
        (step("a", "WAITING", child_run_id="child"), "for run child"),
        (step("a", "RETRYING", error=ERROR, due_at=LATER), "attempt 1: ValueError: no \\x1b; again"),
        (step("a", "FAILED", error=ERROR), "ValueError: no \\x1b"),
        (step("a", "COMPLETED", kind="wait_for_event"), "timed out"),
        (step("a", "COMPLETED", kind="wait_for_event", output={"name": "p"}), '{"name": "p"}'),
    ],
)
def test_a_step_says_what_it_waits_for_or_has_come_to(shown: dict[str, Any], note: str) -> None:
    """In a few words."""
    assert note in step_note(shown, NOW)


def test_a_run_says_what_it_has_come_to() -> None:
    """Its output, its error, or how to go on."""
    assert run_note(run("COMPLETED", output={"a": 1})) == '{"a": 1}'
    assert run_note(run("FAILED", error={**ERROR, "message": "x" * 500})).endswith("x…")
    assert run_note(run("PARKED", error=ERROR)).endswith("then: stepbridge runs resume r")
    assert run_note(run("CANCELLED")) == ""
