"""What templates show: JSON with its parts marked, instants, lengths of time. All of it escaped."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, Final

from markupsafe import Markup, escape

from stepbridge.cli import words

SHOWN_MAX: Final = 100_000
"""Characters of a JSON value; more would make the page slow."""
_TOKEN: Final = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=: )|(?P<str>"(?:[^"\\]|\\.)*")|(?P<num>-?\d[\d.eE+-]*)|(?P<word>true|false|null)'
)


def pretty(value: Any) -> Markup:
    """A JSON value over several lines, its names, texts, numbers and words marked."""
    text = _indented(value)
    cut = len(text) - SHOWN_MAX
    text = text[:SHOWN_MAX]
    parts: list[Markup] = []
    end = 0
    for found in _TOKEN.finditer(text):
        parts += [escape(text[end : found.start()]), _span(found.lastgroup or "", found[0])]
        end = found.end()
    parts.append(escape(text[end:]))
    if cut > 0:
        parts.append(_span("cut", f"\n… {cut:,} more characters"))
    return Markup().join(parts)


def editable(value: Any) -> Markup:
    """The same text, whole, for an attribute: numbers stay as they are, however long, since no script parses them."""
    return escape(_indented(value))


def _indented(value: Any) -> str:
    return words.clean_lines(json.dumps(value, indent=2, ensure_ascii=False))


def _span(kind: str, text: str) -> Markup:
    return Markup('<span class="j-{}">{}</span>').format(kind, text)


def brief(value: Any, limit: int = 90) -> str:
    """A JSON value on one line."""
    return words.value(value, limit)


def setting(value: Any) -> str:
    """What a function has declared, in words: `order/cancelled, match data.orderId`, `finish 7 d`."""
    if isinstance(value, list):
        return "; ".join(setting(one) for one in value)
    if not isinstance(value, dict):
        return str(value)
    words_of = [f"{name.removesuffix('_seconds')} {_measure(name, one)}" for name, one in value.items()]
    return ", ".join(words_of).removeprefix("event ")


def _measure(name: str, value: Any) -> str:
    if name.endswith("_seconds"):
        return words.length(value)
    return value if isinstance(value, str) else brief(value)


def when(text: str | None) -> Markup:
    """An instant, in the zone of this machine, which is the reader's; the whole of it as a title."""
    at = words.moment(text)
    if at is None or text is None:
        return Markup("")
    exact = at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03} {at.tzname()}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(text, exact, at.strftime("%b %d, %H:%M:%S"))


def until(text: str | None, now: datetime) -> Markup:
    """When something comes due, and in how long: the page counts that down."""
    at = words.moment(text)
    if at is None or text is None:
        return Markup("")
    left = words.length(max((at - now).total_seconds(), 0.0))
    return Markup('until {} <span class="quiet">(in <span data-until="{}">{}</span>)</span>').format(
        when(text), text, left
    )


def took(begin: str | None, end: str | None) -> str:
    """How long something lasted; empty where one of the ends is not known."""
    seconds = words.between(begin, end)
    return "" if seconds is None else words.length(seconds)


def rate(runs: dict[str, int]) -> float | None:
    """Percentage of the ended runs that ended well; None: none has ended. Cancelled ones do not count."""
    good, bad = runs.get("COMPLETED", 0), runs.get("FAILED", 0)
    return None if good + bad == 0 else 100 * good / (good + bad)
