"""Runs as people see them: snapshots, good after the run has moved on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from stepbridge.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One step of a run.

    Attributes:
        step_id: The step's id; `occurrence` counts its repetitions from 0.
        kind: `run`, `sleep`, `wait_for_event`, `wait_for_any`, `wait_for_signal`, `invoke`, `map`, `send_event` or
            `send_signal`.
        status: `COMPLETED`, `FAILED`, `RETRYING` (to be tried again), `SLEEPING`, `WAITING`, or `RUNNING` (begun,
            and not known to have ended; only steps whose start is recorded).
        output: The JSON value; None where there is none.
        error: `{"name", "message", "stack"}` of the last failed attempt, or None.
        attempts: How many attempts were made.
        started_at: When the last attempt began, or the wait that is over was armed; None: waiting.
        ended_at: When it ended; None while it goes on.
        due_at: Until when a sleep, a retry or a wait lasts; None where that is not known.
    """

    step_id: str
    occurrence: int
    kind: str
    status: str
    output: Any
    error: dict[str, str] | None
    attempts: int
    started_at: datetime | None
    ended_at: datetime | None
    due_at: datetime | None = None


class Steps(Mapping[str | tuple[str, int], StepView]):
    """Steps in the order of their completion, then those that go on; by id, or by id and occurrence."""

    def __init__(self, steps: list[StepView]) -> None:
        self._steps = {(step.step_id, step.occurrence): step for step in steps}

    def __getitem__(self, key: str | tuple[str, int]) -> StepView:
        """`steps["id"]` is the first occurrence, `steps["id", 1]` the second; a `KeyError` says what there is."""
        found = self._steps.get(key if isinstance(key, tuple) else (key, 0))
        if found is None:
            raise KeyError(f"there is no step {key!r}; there are: {', '.join(map(repr, self)) or 'none'}")
        return found

    def every(self, step_id: str) -> list[StepView]:
        """All occurrences of a step, in their order; empty where there is none."""
        return [self._steps[key] for key in sorted(key for key in self._steps if key[0] == step_id)]

    def __contains__(self, key: object) -> bool:
        """Whether the step is there."""
        return (key if isinstance(key, tuple) else (key, 0)) in self._steps

    def __iter__(self) -> Iterator[str | tuple[str, int]]:
        """Ids in order; repetitions as (id, occurrence)."""
        return (step_id if occurrence == 0 else (step_id, occurrence) for step_id, occurrence in self._steps)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._steps)

    def __repr__(self) -> str:
        """The ids and statuses."""
        return f"Steps({', '.join(f'{key!r}: {step.status}' for key, step in self.items())})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some runs of a list, without their data, outputs and steps.

    Attributes:
        runs: Newest first.
        cursor: Where the next page begins, which may turn out to be empty; None: this is the last.
    """

    runs: list[RunView]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One run.

    Attributes:
        run_id: The run's id.
        function_id: Of its function.
        status: `QUEUED`, `RUNNING`, `SLEEPING`, `PARKED`, `COMPLETED`, `FAILED` or `CANCELLED`.
        output: The JSON value; None where there is none.
        error: `{"name", "message", "stack"}` of what failed, parked or last failed the run, or None.
        event: The event that started it.
        attempt: Of the body, from 0.
        steps: See `Steps`.
        created_at: When its event was taken in.
        started_at: When it was first executed; None: not yet.
        ended_at: None while it goes on.
        parent_id: The run that invoked it, or None.
    """

    run_id: str
    function_id: str
    status: str
    output: Any
    error: dict[str, str] | None
    event: Event[Any]
    attempt: int
    steps: Steps
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    parent_id: str | None = None

    def as_text(self) -> str:
        """The run as a few lines for people and for approval tests: the same run, the same text.

        It names no run id and no date: times count from the run's creation, in whole seconds. Values stand as
        JSON with sorted keys, errors without their tracebacks.
        """
        lines = [f"{self.function_id}: {self.status}", f"  event   {self.event.name} {_json(_data(self.event))}"]
        rows = [self._row(step) for step in self.steps.values()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            lines.append(f"  step    {cells}".rstrip())
        if self.output is not None:
            lines.append(f"  output  {_json(self.output)}")
        if self.error is not None:
            lines.append(f"  error   {_error(self.error)}")
        if self.ended_at is not None:
            lines.append(f"  ended   {self._after(self.ended_at)}")
        return "\n".join(lines) + "\n"

    def _row(self, step: StepView) -> tuple[str, ...]:
        name = step.step_id + (f" #{step.occurrence + 1}" if step.occurrence else "")
        at = step.ended_at or step.due_at
        until = "" if at is None else ("" if step.ended_at else "until ") + self._after(at)
        attempts = f"{step.attempts} attempts" if step.attempts > 1 else ""
        came = _error(step.error) if step.error is not None else "" if step.output is None else _json(step.output)
        return (name, step.kind, step.status, until, attempts, came)

    def _after(self, at: datetime) -> str:
        """`+1d2h`, from the run's creation on."""
        rest = max(int((at - self.created_at).total_seconds()), 0)
        parts: list[str] = []
        for letter, seconds in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
            count, rest = divmod(rest, seconds)
            parts += [f"{count}{letter}"] if count else []
        return "+" + ("".join(parts) or "0s")


def _data(event: Event[Any]) -> Any:
    return event.data.model_dump(mode="json") if isinstance(event.data, BaseModel) else event.data


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _error(error: Mapping[str, str]) -> str:
    """On one line."""
    return " ".join(f"{error['name']}: {error['message']}".split())
