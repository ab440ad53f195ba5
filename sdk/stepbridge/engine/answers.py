"""What becomes of a message that has been handled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """The message has done its work, or its successor is durable."""


@dataclass(frozen=True, slots=True)
class Bounce:
    """The message must come back: the run is held by another invocation, or the backend failed."""

    until: datetime | None = None
    """When the lease that it met is over."""


Answer = Acknowledge | Bounce


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One call of the dispatcher. Its deadline is when the sandbox is killed."""

    id: str
    deadline: datetime
