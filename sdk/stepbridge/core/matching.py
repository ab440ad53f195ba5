"""Which events a wait wants, as keys of the match index.

A wait's equality terms become a *signature* (the paths compared) and a *place* (a hash of event name,
signature and values). An event is looked up once per signature of its name. The index may find too much,
never too little: what it finds is held against the whole expression.

Waits without an equality term stand at the shards of one place, spread by run, so that no partition takes
all their writes; an event is looked up at each shard.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stepbridge.core.ids import digest, fraction
from stepbridge.core.json_values import MISSING, canonical, prune, value_at
from stepbridge.core.limits import SCAN_SHARDS
from stepbridge.errors import ConfigError, StepError

SCAN = "[]"
"""The signature of expressions without an equality term: every event of the name is held against them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """What a wait wants: its places in the index and what is to be held against a candidate."""

    event_name: str
    signatures: tuple[str, ...]
    places: tuple[str, ...]
    """One for each signature; empty: nothing can ever match."""
    expression: str = ""
    event: str = ""
    """JSON text of what the expression reads of the trigger."""


def want_event(
    event_name: str,
    *,
    match: str | Mapping[str, object] | None,
    if_exp: str | None,
    trigger: Mapping[str, Any],
    run_id: str,
    step_id: str,
) -> Want:
    """The want of `wait_for_event`, or of a `Cancel`, given the run and its trigger.

    Raises:
        ConfigError: `match` and `if_exp` both given, or one of them is malformed.
        StepError: `match` is a path that the trigger lacks.
    """
    if match is not None and if_exp is not None:
        message = f"{step_id!r}: match and if_exp are exclusive. Mend: say it all in if_exp."
        raise ConfigError(message)
    if if_exp is not None:
        from stepbridge.core.expression import compile_expression

        expression = compile_expression(if_exp, variables=("event", "async"))
        arms = expression.arms(trigger)
        kept = json.dumps(prune(trigger, expression.event_paths), separators=(",", ":"))
        pairs = [(SCAN, ())] if arms is None else [(_signature(arm.paths), arm.values) for arm in arms]
        return _want(event_name, run_id, pairs, expression=if_exp, event=kept)
    terms: dict[str, object] = {}
    if isinstance(match, str):
        value = value_at(trigger, match)
        if value is MISSING:
            text = f"the trigger {trigger.get('name')!r} has no {match!r} to match {event_name!r} by."
            text += " Mend: match by a field that it has, or send it with this one."
            raise StepError("MatchError", text, step_id=step_id)
        terms = {match: value}
    elif match is not None:
        terms = dict(match)
    paths = sorted(terms)
    return _want(event_name, run_id, [(_signature(paths), tuple(terms[path] for path in paths))])


def _signature(paths: Iterable[str]) -> str:
    return json.dumps(list(paths), ensure_ascii=False, separators=(",", ":"))


def _want(
    event_name: str,
    run_id: str,
    pairs: Sequence[tuple[str, tuple[object, ...]]],
    *,
    expression: str = "",
    event: str = "",
) -> Want:
    shard = int(fraction("shard", run_id) * SCAN_SHARDS)
    return Want(
        event_name=event_name,
        signatures=tuple(signature for signature, _ in pairs),
        places=tuple(
            _sharded(place_of(event_name, signature, values), signature)[shard if signature == SCAN else 0]
            for signature, values in pairs
        ),
        expression=expression,
        event=event,
    )


def place_of(event_name: str, signature: str, values: tuple[object, ...]) -> str:
    """The partition of the match index where waits with these values stand."""
    return digest("wait", event_name, signature, *(canonical(value) for value in values))


def _sharded(place: str, signature: str) -> tuple[str, ...]:
    return tuple(f"{place}.{shard}" for shard in range(SCAN_SHARDS)) if signature == SCAN else (place,)


def is_scan(place: str) -> bool:
    """Whether waits without an equality stand at this place: every event of the name reads all that stand there."""
    return "." in place


def places_of_event(event: Mapping[str, Any], signature: str) -> tuple[str, ...]:
    """The partitions where waits of this signature stand that the event may match: one, or all shards."""
    return _sharded(place_of_event(event, signature), signature)


def place_of_event(event: Mapping[str, Any], signature: str) -> str:
    """The place of this signature that the event belongs to; looking back, it has no shards."""
    found = (value_at(event, path) for path in json.loads(signature))
    return place_of(str(event["name"]), signature, tuple(None if v is MISSING else v for v in found))


def lookback_place(want: Want, place: str) -> str:
    """Where events are kept that a wait at `place` may look back for."""
    return place_of(want.event_name, SCAN, ()) if want.expression else place.partition(".")[0]


def lookback_signature(match: str | Mapping[str, object] | None, if_exp: str | None) -> str:
    """The signature under which events are kept for a declared wait."""
    if if_exp is not None or match is None:
        return SCAN
    return _signature([match] if isinstance(match, str) else sorted(match))


def is_wanted(event: Mapping[str, Any], *, expression: str, trigger: str) -> bool:
    """Whether a candidate that the index found satisfies the whole expression."""
    if not expression:
        return True
    from stepbridge.core.expression import compile_expression

    compiled = compile_expression(expression, variables=("event", "async"))
    return compiled.evaluate({"event": json.loads(trigger), "async": event})
