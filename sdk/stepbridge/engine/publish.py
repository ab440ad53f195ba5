"""Events on their way out, as entries of the bus."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stepbridge.core.codec import dump
from stepbridge.core.envelope import META, TRACE
from stepbridge.core.steps import Draft
from stepbridge.ports import Entry


def entries_of(
    drafts: Iterable[Draft], event_ids: Iterable[str], now_ms: int, source: str, trace: Mapping[str, str] | None = None
) -> list[Entry]:
    """The drafts as entries; `source` and the time stand in where a draft has none; `trace` as `trace_of` gives it."""
    carried = {"tp": trace[TRACE]} if trace and TRACE in trace else {}
    return [
        Entry(
            name=draft.name,
            source=draft.source or source,
            detail=_with_meta(draft.data, dump({"id": event_id, "ts": draft.ts or now_ms, **carried})),
        )
        for draft, event_id in zip(drafts, event_ids, strict=True)
    ]


def trace_of(extra: Mapping[str, str]) -> dict[str, str]:
    """The W3C trace context among what a run carries along: its children and events bear it too."""
    return {TRACE: extra[TRACE]} if TRACE in extra else {}


def _with_meta(data: str, meta: str) -> str:
    """A JSON object's text with one more key, without parsing it."""
    body = data.strip()[1:-1].strip()
    return f'{{"{META}":{meta}{"," if body else ""}{body}}}'
