"""Waits in the match index: the items of one, and those of the events that cancel a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from stepbridge.core import ids
from stepbridge.core.instants import to_ms
from stepbridge.core.limits import RUN_MAX
from stepbridge.core.matching import Want, want_event
from stepbridge.core.records import RERUN, ArmedWait, Head, Role, Wait
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.store import Store
from stepbridge.function import Function


def put_waits(store: Store, payloads: Payloads, wants: Sequence[Want], template: Wait) -> ArmedWait:
    """Puts the items of a wait, one for each place; the deadline that holds is the one that stood first."""
    deadline = template.deadline
    for index, (want, places) in enumerate(zip(wants, _places(wants), strict=True)):
        known = payloads.keep(want.event, template.run_id) if want.expression else ""
        for signature, place in zip(want.signatures, places, strict=True):
            store.add_signature(want.event_name, signature)
            wait = replace(
                template,
                place=place,
                index=index,
                event_name=want.event_name,
                expression=want.expression,
                event=known,
                deadline=deadline,
            )
            deadline = store.put_wait(wait).deadline
    return armed_wait(wants, replace(template, deadline=deadline))


def armed_wait(wants: Sequence[Want], template: Wait) -> ArmedWait:
    """What the run's head lists of such a wait."""
    return ArmedWait(
        step_key=template.step_key,
        step_id=template.step_id,
        occurrence=template.occurrence,
        places=tuple(place for places in _places(wants) for place in places),
        deadline=template.deadline,
        kind=template.kind,
    )


def _places(wants: Sequence[Want]) -> list[tuple[str, ...]]:
    """Where each alternative's items stand; one whose place an earlier one has already stands beside that, as `/n`."""
    taken: Counter[str] = Counter()
    found: list[tuple[str, ...]] = []
    for want in wants:
        found.append(tuple(f"{place}/{taken[place]}" if taken[place] else place for place in want.places))
        taken.update(want.places)
    return found


def cancel_waits(
    function: Function[Any], head: Head, trigger: Mapping[str, Any], now: datetime
) -> Iterator[tuple[Want, Wait]]:
    """What a run wants to be cancelled by, and the template of each wait's items.

    Raises:
        StepError: `match` is a path that the trigger lacks.
    """
    began = max(head.started_at or now, head.counts_from)  # the latter where the run is queued
    for index, canceller in enumerate(function.cancellers):
        pattern = canceller.pattern
        step_id = f"cancel on {pattern.event}"
        want = want_event(
            pattern.event,
            match=pattern.match,
            if_exp=pattern.if_exp,
            trigger=trigger,
            run_id=head.run_id,
            step_id=step_id,
        )
        yield (
            want,
            Wait(
                place="",
                run_id=head.run_id,
                step_key=ids.step_key(f"~{step_id}", index),
                step_id=f"~{step_id}",
                occurrence=index,
                role=Role.CANCEL,
                event_name=pattern.event,
                since_ms=_cancellable_since(head),
                consumed=(head.event.id,),
                armed_at=now,
                deadline=began + min(canceller.timeout or RUN_MAX, RUN_MAX),
            ),
        )


def _cancellable_since(head: Head) -> int:
    """Older cancel events do nothing: than the trigger, than a rerun of it, or than a run queued for its time."""
    created_ms = to_ms(head.created_at)
    return created_ms if RERUN in head.extra else min(head.event.ts, created_ms)
