"""Runs as lines that appear while they happen: what is new since a run was last looked at."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from stepbridge.cli import words

ENDED: Final = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
_RUNS_MAX: Final = 10_000
"""Runs whose lines are remembered; one that has been forgotten is told anew from its start."""
_OVER: Final = ("over",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that happened."""

    at: str
    """ISO 8601."""
    run_id: str
    function_id: str
    step_id: str = ""
    """Empty: of the run itself."""
    kind: str = ""
    status: str
    seconds: float | None = None
    """How long it took."""
    note: str = ""
    """What is waited for and until when, the error, the output."""


class Timeline:
    """Remembers what has been told of each run."""

    def __init__(self) -> None:
        self._told: OrderedDict[str, set[tuple[Any, ...]]] = OrderedDict()

    def feed(self, run: dict[str, Any], now: datetime) -> list[Line]:
        """The new lines of a run, as the API shows it at the aware instant `now`."""
        told = self._told.setdefault(run["run_id"], set())
        self._told.move_to_end(run["run_id"])
        while len(self._told) > _RUNS_MAX:
            self._told.popitem(last=False)
        if _OVER in told:
            return []
        lines: list[Line] = []
        for mark, line in _lines(run, now):
            if mark not in told:
                told.add(mark)
                lines.append(line)
        if run["status"] in ENDED:
            self._told[run["run_id"]] = {_OVER}
        return lines


def _lines(run: dict[str, Any], now: datetime) -> Iterator[tuple[tuple[Any, ...], Line]]:
    """All lines of a run, each with what it is remembered by."""
    base = {"run_id": run["run_id"], "function_id": run["function_id"]}
    note = f"by {words.clean(run['event']['name'])}"
    yield ("begun",), Line(**base, at=run["created_at"], status="STARTED", note=note)
    for step in run["steps"]:
        ended = step["status"] in {"COMPLETED", "FAILED"}
        yield (
            (step["step_id"], step["occurrence"], step["status"], step["attempts"]),
            Line(
                **base,
                at=step["ended_at"] if ended else words.iso(now),
                step_id=step["step_id"],
                kind=step["kind"],
                status=step["status"],
                seconds=words.between(step["started_at"], step["ended_at"]) if ended else None,
                note=step_note(step, now),
            ),
        )
    if run["status"] in ENDED or run["status"] == "PARKED":
        took = words.between(run["created_at"], run["ended_at"])
        at = run["ended_at"] or words.iso(now)
        yield (
            (run["status"], run["attempt"]),
            Line(**base, at=at, status=run["status"], seconds=took, note=run_note(run)),
        )
    elif run["retry_at"] is not None:
        note = f"{error_text(run['error'])}; the handler again {words.until(run['retry_at'], now)}"
        yield ("retry", run["attempt"]), Line(**base, at=words.iso(now), status="RETRYING", note=note)


def run_note(run: dict[str, Any]) -> str:
    """What a run has come to, in a few words."""
    match run["status"]:
        case "COMPLETED":
            return "" if run.get("output") is None else words.value(run["output"])
        case "FAILED":
            return error_text(run["error"])
        case "PARKED":
            return f"{error_text(run['error'])}; then: stepbridge runs resume {run['run_id']}"
    return ""


def step_note(step: dict[str, Any], now: datetime) -> str:
    """What a step waits for, or what it has come to, in a few words."""
    match step["status"], step["kind"]:
        case "SLEEPING", _:
            return words.until(step["due_at"], now)
        case "WAITING", _:
            return ", ".join(filter(None, [awaited_text(step), words.until(step["due_at"], now)]))
        case "RETRYING", _:
            attempt = f"attempt {step['attempts']}: {error_text(step['error'])}"
            return f"{attempt}; again {words.until(step['due_at'], now).removeprefix('until ')}"
        case "FAILED", _:
            return error_text(step["error"])
        case "COMPLETED", "wait_for_event" | "wait_for_any" | "wait_for_signal":
            return "timed out" if step["output"] is None else words.value(step["output"])
    return ""


def awaited_text(step: dict[str, Any]) -> str:
    """What would wake the step."""
    if step["child_run_id"] is not None:
        return f"for run {step['child_run_id']}"
    return "for " + " or ".join(_want_text(want) for want in step["waits_for"]) if step["waits_for"] else ""


def _want_text(want: dict[str, Any]) -> str:
    if "signal" in want:
        return f"the signal {words.clean(want['signal'])}"
    name = words.clean(want["event"])
    if want["if_exp"]:
        return f"{name} if {words.clean(want['if_exp'])}"
    terms = [f"{words.clean(path)} = {words.value(held, 40)}" for path, held in (want["match"] or {}).items()]
    return f"{name} with {', '.join(terms)}" if terms else name


def error_text(error: dict[str, str] | None) -> str:
    """An error on one line."""
    if error is None:
        return ""
    text = words.clean(f"{error['name']}: {error['message']}")
    return text if len(text) <= 200 else text[:199] + "…"  # noqa: PLR2004 - a line or two
