"""What a list of runs is asked for, and the bounded search that answers it.

Function, status and time are read from sorted lists, here and on AWS. An event's name, the beginning of a run's id and
a value in the event's data are not indexed: runs are looked at one after the other, newest first, as many as a search
may, and the answer says how far it came. Its cursor goes on from there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from stepbridge.console.source import Source
from stepbridge.core.expression import MISSING, value_at
from stepbridge.core.records import Status
from stepbridge.errors import ConfigError
from stepbridge.local.shapes import Json

ROWS: Final = 50
"""Of a page, and of one look of a search."""
SPANS: Final[Mapping[str, tuple[str, timedelta | None]]] = {
    "1h": ("the last hour", timedelta(hours=1)),
    "24h": ("the last 24 hours", timedelta(hours=24)),
    "7d": ("the last 7 days", timedelta(days=7)),
    "30d": ("the last 30 days", timedelta(days=30)),
    "all": ("any time", None),
}
_PATH: Final = re.compile(r"[\w-]+(?:\.[\w-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The filters of a list of runs; what is empty does not count."""

    function: str = ""
    status: str = ""
    event: str = ""
    run: str = ""
    """The beginning of an id."""
    data: str = ""
    """Text anywhere in the event's data, or `path=value`."""
    within: str = ""
    since: str = ""
    until: str = ""
    cursor: str = ""

    @classmethod
    def of(cls, given: Mapping[str, Any], within: str) -> Query:
        """The filters of a request; `within` where it names no time."""
        named = {name: str(given.get(name) or "").strip() for name in cls.__slots__}
        if not (named["within"] or named["since"] or named["until"]):
            named["within"] = within
        return cls(**named)

    @property
    def is_search(self) -> bool:
        """Whether runs are to be looked at one by one."""
        return bool(self.event or self.run or self.data)

    def link(self, **changed: str) -> str:
        """The query of a URL that asks for this, but for what is `changed`; a new filter begins at the top."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "cursor"} | changed
        return "?" + urlencode({name: text for name, text in fields.items() if text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A page of runs."""

    rows: list[Json]
    cursor: str | None
    looked: int | None = None
    """At so many runs a search has looked; None: nothing was searched."""
    back_to: str | None = None
    """When the last of them was made."""


def find(source: Source, query: Query, now: datetime, *, rows: int = ROWS) -> Found:
    """The runs that a query asks for, newest first.

    Raises:
        ConfigError: A filter is malformed.
    """
    span = SPANS.get(query.within, (None, None))[1]
    asked: dict[str, Any] = {
        "function_id": query.function or None,
        "status": _status(query.status),
        "since": _instant("since", query.since) or (None if span is None else now - span),
        "until": _instant("until", query.until),
        "limit": min(rows, ROWS),
    }
    cursor = query.cursor or None
    if not query.is_search:
        page = source.runs(**asked, cursor=cursor)
        return Found(rows=page["runs"], cursor=page["cursor"])
    found: list[Json] = []
    looked, back_to = 0, None
    while True:
        page = source.runs(**asked, cursor=cursor)
        cursor = page["cursor"]
        looked += len(page["runs"])
        back_to = page["runs"][-1]["created_at"] if page["runs"] else back_to
        found += _matching(source, query, page["runs"])
        if cursor is None or len(found) >= rows or looked >= source.looks_max:
            return Found(rows=found, cursor=cursor, looked=looked, back_to=back_to)


def _matching(source: Source, query: Query, rows: list[Json]) -> list[Json]:
    named = [row for row in rows if query.event in {"", row["event"]["name"]} and row["run_id"].startswith(query.run)]
    if not query.data or not named:
        return named
    texts = source.texts([row["run_id"] for row in named])
    return [row for row, text in zip(named, texts, strict=True) if holds(text, query.data)]


def holds(text: str, wanted: str) -> bool:
    """Whether data, as JSON text, holds what is wanted: `orderId=o-1` at this path, or text in a value or name."""
    path, equals, value = (part.strip() for part in wanted.partition("="))
    if equals and _PATH.fullmatch(path):
        held = value_at({"data": json.loads(text or "{}")}, "data." + path.removeprefix("data."))
        if held is not MISSING:
            return value in {held if isinstance(held, str) else json.dumps(held), json.dumps(held)}
    return _folded(wanted) in _folded(text) or _folded(json.dumps(wanted, ensure_ascii=False)[1:-1]) in _folded(text)


def _folded(text: str) -> str:
    return text.casefold()


def _status(text: str) -> Status | None:
    try:
        return Status(text.upper()) if text else None
    except ValueError as error:
        raise ConfigError(f"status {text!r:.80}. Mend: one of {', '.join(Status)}.") from error


def _instant(name: str, text: str) -> datetime | None:
    """What a field for date and time holds: in this machine's zone, which is the reader's, where it names none."""
    try:
        return datetime.fromisoformat(text).astimezone() if text else None
    except (ValueError, OverflowError) as error:  # the latter at the ends of the calendar
        raise ConfigError(f"{name} {text!r:.80} is no time. Mend: one like 2026-01-31T12:00.") from error
