"""What a measurement is, and how one is taken."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

US: Final = "stepbridge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure."""

    section: str
    what: str
    value: float | None
    """None: not measured, and `note` says why."""
    unit: str
    who: str = US
    kind: str = ""
    """What the figure's state survives: `memory`, or `durable` with where it is kept."""
    target: float | None = None
    at_least: bool = False
    """The target is a floor; else a ceiling."""
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the target is; None where there is none."""
        if self.target is None or self.value is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


def best(call: Callable[[], object], *, times: int = 3, cpu: bool = False) -> float:
    """Seconds that the call takes, by the wall or of this process's CPU: the least of a few."""
    clock = time.process_time if cpu else time.perf_counter
    call()
    least = float("inf")
    for _ in range(times):
        began = clock()
        call()
        least = min(least, clock() - began)
    return least


def percentile(values: Iterable[float], percent: int) -> float:
    """The value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]


def median(values: Iterable[float]) -> float:
    """The middle one."""
    return statistics.median(values)
