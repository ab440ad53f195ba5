"""A run's steps as bars on a scale of time.

The scale is true: a second is everywhere as wide. Where a run has mostly waited, so that what it did has no width,
the idle stretches can be drawn shorter: then a second of work is everywhere as wide, and so is one of waiting.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from stepbridge.cli import words
from stepbridge.local.shapes import Json

IDLE: Final = frozenset({"sleep", "wait_for_event", "wait_for_any", "wait_for_signal"})
"""Kinds of steps during which nothing is done."""
_IDLE_SHARE: Final = 0.35
"""Of the width, where idle stretches are drawn shorter."""
_MOSTLY_IDLE: Final = 0.6
"""From this share of the time on it is worth while."""
_TICKS: Final = 5
_ROUND_SECONDS: Final = (
    *(digit / 1000 * 10**power for power in range(4) for digit in (1, 2, 5)),
    *(10, 15, 30, *(60 * minutes for minutes in (1, 2, 5, 10, 15, 30))),
    *(3600 * hours for hours in (1, 2, 3, 6, 12)),
    *(86_400 * days for days in (1, 2, 5, 10, 30, 90, 365)),
)
"""Between two ticks of a true scale: what one reads at a glance."""
_SHORTEST: Final = timedelta(milliseconds=1)

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One step. `left` and `width` are percentages of the scale."""

    step: Json
    left: float
    width: float
    lead: float
    """How much further to the left the attempts before the last one begin: only of the last one is recorded when."""
    after: str
    """How long after the run's beginning it began."""
    took: str
    """How long it took, or has lasted so far."""
    is_open: bool
    is_idle: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """All steps, in the order in which they began."""

    bars: list[Bar]
    ticks: list[tuple[float, str]]
    """Places on the scale, and how long after the beginning they are."""
    is_mostly_idle: bool
    took: str


class Scale:
    """From instants to places between 0 and 1, piece by piece; `idle` stretches do not overlap."""

    def __init__(self, span: Span, idle: Sequence[Span] = ()) -> None:
        begin, end = span
        marks = sorted({begin, end, *(at for one in idle for at in one if begin < at < end)})
        self._times = marks
        rests = set(idle)
        self.is_bent = bool(rests)
        waits = [piece in rests for piece in pairwise(marks)]
        seconds = [(b - a).total_seconds() for a, b in pairwise(marks)]
        total = [sum(s for s, w in zip(seconds, waits, strict=True) if w is which) for which in (False, True)]
        shares = [1 - _IDLE_SHARE, _IDLE_SHARE] if all(total) else [1.0, 1.0]
        self._places = [0.0]
        for length, is_idle in zip(seconds, waits, strict=True):
            self._places.append(self._places[-1] + length / (total[is_idle] or 1) * shares[is_idle])

    def place(self, at: datetime) -> float:
        """Where an instant is; outside of the span, at its nearer end."""
        at = min(max(at, self._times[0]), self._times[-1])
        piece = min(bisect_right(self._times, at), len(self._times) - 1) - 1
        first, last = self._times[piece], self._times[piece + 1]
        left, right = self._places[piece], self._places[piece + 1]
        return left + (right - left) * ((at - first) / (last - first))

    def instant(self, place: float) -> datetime:
        """Which instant is there."""
        piece = min(bisect_right(self._places, place), len(self._places) - 1) - 1
        left, right = self._places[piece], self._places[piece + 1]
        first, last = self._times[piece], self._times[piece + 1]
        return first + (last - first) * ((place - left) / (right - left) if right > left else 0)


def waterfall(run: Json, now: datetime, *, shorten: bool = False) -> Waterfall:
    """The run as it stands now; `shorten` draws idle stretches shorter."""
    begin = _at(run["created_at"]) or now
    rows = _rows(run, begin, now)
    end = max([_at(run["ended_at"]) or now, *(row.last for row in rows), begin + _SHORTEST])
    idle = _idle(rows, (begin, end))
    is_mostly_idle = sum(((b - a).total_seconds() for a, b in idle), 0.0) > _MOSTLY_IDLE * (end - begin).total_seconds()
    scale = Scale((begin, end), idle if shorten and is_mostly_idle else ())
    places = _even() if scale.is_bent else _round_places((end - begin).total_seconds())
    return Waterfall(
        bars=[_bar(row, scale, begin) for row in sorted(rows, key=lambda row: (row.tried, row.last))],
        ticks=[(place * 100, words.length((scale.instant(place) - begin).total_seconds())) for place in places],
        is_mostly_idle=is_mostly_idle,
        took=words.length((end - begin).total_seconds()),
    )


def _even() -> list[float]:
    return [index / (_TICKS - 1) for index in range(_TICKS)]


def _round_places(seconds: float) -> list[float]:
    """Where round lengths of time are, the beginning among them."""
    apart = next((one for one in _ROUND_SECONDS if seconds / one <= _TICKS), seconds / _TICKS)
    return [index * apart / seconds for index in range(int(seconds / apart) + 1)]


@dataclass(frozen=True, slots=True)
class _Row:
    step: Json
    tried: datetime
    """When its first attempt may have begun."""
    first: datetime
    last: datetime


def _bar(row: _Row, scale: Scale, begin: datetime) -> Bar:
    tried, left, right = (scale.place(at) * 100 for at in (row.tried, row.first, row.last))
    return Bar(
        step=row.step,
        left=round(left, 3),
        width=round(right - left, 3),
        lead=round(left - tried, 3),
        after=words.length((row.first - begin).total_seconds()),
        took=words.length((row.last - row.first).total_seconds()),
        is_open=row.step["ended_at"] is None,
        is_idle=row.step["kind"] in IDLE,
    )


def _rows(run: Json, begin: datetime, now: datetime) -> list[_Row]:
    """From when to when each step lasts.

    When a wait was armed that then timed out is not recorded, nor is it of a child that is not there yet, nor of a
    step that has failed when its first attempt began. Each is taken to begin where the step before it ended.
    """
    rows = []
    before = _at(run["started_at"]) or begin
    over = _at(run["ended_at"]) or now
    for step in run["steps"]:
        ended = _at(step["ended_at"])
        first = _at(step["started_at"]) or _at(step["armed_at"])
        timed_out = step["kind"] in IDLE and first is not None and first == ended and step["output"] is None
        if first is None or timed_out:
            first = before
        first = min(first, ended or over)
        tried = min(before, first) if step["attempts"] > 1 else first
        rows.append(_Row(step, tried, first, ended or over))
        before = max(before, ended) if ended is not None else before
    return rows


def _idle(rows: Sequence[_Row], whole: Span) -> list[Span]:
    """The stretches in which some step slept or waited, also for another attempt, and none was at work."""
    busy: Counter[datetime] = Counter()
    resting: Counter[datetime] = Counter()
    for row in rows:
        spans = [(busy if _works(row.step) else resting, row.first, row.last), (resting, row.tried, row.first)]
        for begun, first, last in spans:
            begun[first] += 1
            begun[last] -= 1
    idle = []
    at_work, at_rest = 0, 0
    for a, b in pairwise(sorted({*whole, *busy, *resting})):
        at_work += busy[a]
        at_rest += resting[a]
        if at_rest and not at_work:
            idle.append((a, b))
    return idle


def _works(step: Json) -> bool:
    return step["kind"] not in IDLE and step["status"] != "RETRYING"


def _at(text: Any) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
