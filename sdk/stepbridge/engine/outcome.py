"""How an invocation's work on a run may end: a closed set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from stepbridge.core.records import Failure


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned; its output as JSON text."""

    output: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The run has failed for good."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Retry:
    """The body failed and is to be run again from the top at `at`."""

    failure: Failure
    at: datetime


@dataclass(frozen=True, slots=True)
class Suspended:
    """Every branch waits for something outside."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """The time is up; the run goes on in the next invocation."""

    line: str = ""
    """Where the handler awaited something of its own, which then is repeated."""


@dataclass(frozen=True, slots=True)
class Parked:
    """A person is needed; the history is kept."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Stopped:
    """Another invocation has ended the run meanwhile."""


@dataclass(frozen=True, slots=True)
class Aborted:
    """The backend failed: nothing is decided, and the message comes back."""

    error: BaseException


Outcome = Completed | Failed | Retry | Suspended | HandOver | Parked | Stopped | Aborted
