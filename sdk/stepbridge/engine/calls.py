"""A handler's step call, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stepbridge.core.steps import Step


@dataclass(slots=True, eq=False)
class Call:
    """A step call of the handler. `due_at`: when there is something to do about it by itself."""

    step: Step
    key: str
    occurrence: int
    failed: int = 0
    """Attempts that have failed so far."""
    due_at: datetime | None = None
    started_in: int | None = None
    """Epoch in which the step's start was recorded."""
    future: Any = None


@dataclass(frozen=True, slots=True)
class Stub:
    """What a test says a step comes to: a value, or an exception that it raises."""

    outcome: object

    def play(self) -> object:
        """The value; raises where it is an exception."""
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


Stubs = Callable[[str, str], Stub | None]
"""The stub of a function's step, by their ids."""


def no_stubs(function_id: str, step_id: str) -> Stub | None:  # noqa: ARG001 - a `Stubs`
    """Every step is carried out for real."""
    return None
