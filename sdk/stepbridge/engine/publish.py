"""Events on their way out, as entries of the bus."""

from __future__ import annotations

from collections.abc import Iterable

from stepbridge.core.codec import dump
from stepbridge.core.envelope import META
from stepbridge.core.steps import Draft
from stepbridge.ports import Entry


def entries_of(drafts: Iterable[Draft], event_ids: Iterable[str], now_ms: int, source: str) -> list[Entry]:
    """The drafts as entries; `source` and the time stand in where a draft has none."""
    return [
        Entry(
            name=draft.name,
            source=draft.source or source,
            detail=_with_meta(draft.data, dump({"id": event_id, "ts": draft.ts or now_ms})),
        )
        for draft, event_id in zip(drafts, event_ids, strict=True)
    ]


def _with_meta(data: str, meta: str) -> str:
    """A JSON object's text with one more key, without parsing it."""
    body = data.strip()[1:-1].strip()
    return f'{{"{META}":{meta}{"," if body else ""}{body}}}'
