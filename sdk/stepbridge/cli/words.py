"""Text for people: lengths of time, instants, values; and nothing in it that a terminal would obey."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Final

_JOINERS: Final = "\u200d\ufe0f"
"""Of emoji; harmless."""
_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR
_UNITS: Final = (
    (_MINUTE, 1, _HOUR, "ms"),
    (_HOUR, _MINUTE, _DAY, "hm"),
    (_DAY, _HOUR, 1000 * _DAY, "dh"),
)
"""The unit, the one below it, where the next one begins, and both names."""


def clean(text: str) -> str:
    """The text with its control characters spelled out: event data may come from anywhere."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _JOINERS else repr(c)[1:-1] for c in text)


def clean_lines(text: str) -> str:
    """As `clean`, the breaks of lines kept."""
    return "\n".join(clean(line) for line in text.split("\n"))


def value(data: Any, limit: int = 100) -> str:
    """A JSON value on one line, cut where it is long."""
    text = clean(json.dumps(data, ensure_ascii=False))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def count(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def no_trigger(name: str, functions: list[Any]) -> str | None:
    """That an event of this name starts none of the functions, as the API lists them; None: it may start one."""
    known = sorted({trigger["event"] for row in functions for trigger in row["triggers"] if "event" in trigger})
    if any(fnmatchcase(name, pattern) for pattern in known):
        return None
    near = get_close_matches(name, known, 1)
    mend = f" Mend: did you mean {near[0]!r}?" if near else ""
    return f"It has started no run: no function here is triggered by {name!r}, and no run waits for it.{mend}"


def length(seconds: float) -> str:
    """`3 ms`, `1.2 s`, `2 m 5 s`, `24 h`, `3 d 4 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:  # noqa: PLR2004 - where tenths stop mattering
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if seconds < _MINUTE - 0.5:
        return f"{seconds:.0f} s"
    for unit, below, above, names in _UNITS:
        total = round(seconds / below) * below
        if total < above:
            whole, rest = divmod(total, unit)
            return f"{whole} {names[0]}" + (f" {rest // below} {names[1]}" if rest else "")
    return f"{seconds / _DAY:.0f} d"


def moment(text: str | None) -> datetime | None:
    """An instant of the API, in the zone of this machine."""
    return None if text is None else datetime.fromisoformat(text).astimezone()


def iso(at: datetime) -> str:
    """An instant as the API writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(at: datetime) -> str:
    """The time of day, to the millisecond."""
    return at.strftime("%H:%M:%S.") + f"{at.microsecond // 1000:03}"


def day(at: datetime) -> str:
    """Date and time."""
    return at.strftime("%Y-%m-%d %H:%M:%S")


def until(text: str | None, now: datetime) -> str:
    """`until 12:00:03 (in 3 s)`; the date too where it is not today's."""
    at = moment(text)
    if at is None:
        return ""
    left = max((at - now) / timedelta(seconds=1), 0.0)
    shown = at.strftime("%H:%M:%S") if at.date() == now.date() else at.strftime("%a %d %b %Y %H:%M:%S")
    return f"until {shown} (in {length(left)})"


def between(start: str | None, end: str | None) -> float | None:
    """Seconds from one instant of the API to another; None where one of them is not known."""
    first, last = moment(start), moment(end)
    return None if first is None or last is None else (last - first).total_seconds()
