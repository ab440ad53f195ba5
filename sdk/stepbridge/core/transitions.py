"""The one table of a run's statuses: what may become of it, and by which write.

Laws:
    An ended run never changes: no row leads out of COMPLETED, FAILED or CANCELLED.
    Only a claim makes a run RUNNING, and only the holder of the claim ends, suspends or parks it.
    Anybody may cancel a run that has not ended, even one that has not begun.
    A parked run waits for a person: nothing but `resume` or `cancel` moves it.

The conditions of `engine/store.py` and the diagram in ARCHITECTURE.md are made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from stepbridge.core.records import Status


class Cause(StrEnum):
    """The writes that change a status."""

    ENQUEUE = "enqueue"
    """An event of the future."""
    START = "start"
    """A claim by a start message; the only one that may create a run."""
    CLAIM = "claim"
    """A claim by any other message."""
    SUSPEND = "suspend"
    PARK = "park"
    RESUME = "resume"
    COMPLETE = "complete"
    FAIL = "fail"
    CANCEL = "cancel"


_S = Status
TABLE: Final[Mapping[tuple[Status | None, Cause], Status]] = {
    (None, Cause.ENQUEUE): _S.QUEUED,
    (None, Cause.START): _S.RUNNING,
    (None, Cause.CANCEL): _S.CANCELLED,
    (_S.QUEUED, Cause.START): _S.RUNNING,
    (_S.QUEUED, Cause.CLAIM): _S.RUNNING,
    (_S.QUEUED, Cause.CANCEL): _S.CANCELLED,
    (_S.RUNNING, Cause.START): _S.RUNNING,
    (_S.RUNNING, Cause.CLAIM): _S.RUNNING,
    (_S.RUNNING, Cause.SUSPEND): _S.SLEEPING,
    (_S.RUNNING, Cause.PARK): _S.PARKED,
    (_S.RUNNING, Cause.COMPLETE): _S.COMPLETED,
    (_S.RUNNING, Cause.FAIL): _S.FAILED,
    (_S.RUNNING, Cause.CANCEL): _S.CANCELLED,
    (_S.SLEEPING, Cause.CLAIM): _S.RUNNING,
    (_S.SLEEPING, Cause.CANCEL): _S.CANCELLED,
    (_S.PARKED, Cause.RESUME): _S.SLEEPING,
    (_S.PARKED, Cause.CANCEL): _S.CANCELLED,
}
"""What a write makes of a status; None: there is no run. What is not listed is refused."""


def allowing(cause: Cause) -> tuple[str, ...]:
    """The statuses in which the write is not refused."""
    return tuple(status.value for status, listed in TABLE if listed is cause and status is not None)


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    causes: dict[tuple[str, str], list[str]] = {}
    for (before, cause), after in TABLE.items():
        ends = ("[*]" if before is None else before.value, after.value)
        causes.setdefault(ends, []).append(cause.value)
    rows = [f"    {before} --> {after}: {', '.join(names)}" for (before, after), names in causes.items()]
    return "\n".join(["stateDiagram-v2", *rows])
