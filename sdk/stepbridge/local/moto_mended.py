"""What moto lets through and AWS does not, and where moto is slow without need; mended while a world is open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch

from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.events.models import EventsBackend
from moto.events.utils import EventTemplateParser
from moto.scheduler.exceptions import ScheduleGroupNotFound
from moto.scheduler.models import EventBridgeSchedulerBackend

from stepbridge.memory.bus import refusal

_INDEX_PLACE: Final = 6
"""Of `index_name` among the arguments of `Table.query` that follow the key. Source: moto 5.2, 2026-11."""

Rows = list[dict[str, Any]]
"""Entries of a call, or of its answer."""


@contextmanager
def mended() -> Iterator[None]:
    """Meanwhile moto is as said here; to be entered, used and left under the lock around moto."""
    with ExitStack() as undo:
        undo.enter_context(patch.object(EventsBackend, "put_events", _refusing(EventsBackend.put_events)))
        create = EventBridgeSchedulerBackend.create_schedule
        undo.enter_context(patch.object(EventBridgeSchedulerBackend, "create_schedule", _grouped(create)))
        undo.enter_context(patch.object(Table, "query", _narrow(Table.query)))
        undo.enter_context(patch.object(EventTemplateParser, "parse", _whole(EventTemplateParser.parse)))
        yield


def _refusing(put: Callable[[EventsBackend, Rows], Rows]) -> Callable[[EventsBackend, Rows], Rows]:
    """`PutEvents` that also refuses what EventBridge does and moto lets through, entry by entry."""

    def put_events(backend: EventsBackend, events: Rows) -> Rows:
        refused = list(map(refusal, events))
        fit = [event for event, answer in zip(events, refused, strict=True) if answer is None]
        taken = iter(put(backend, fit) if fit else [])
        return [answer or next(taken) for answer in refused]

    return put_events


def _whole(parse: Callable[..., Any]) -> Callable[..., Any]:
    """An event as its rule sends it. moto fills it into a text, where a `<source>` in the data is one more blank."""

    def parsed(input_template: str | None, input_paths_map: dict[str, Any], event: dict[str, Any]) -> Any:
        if input_template:
            return parse(input_template, input_paths_map, event)
        return {name: value for name, value in event.items() if name != "ingestion-time"}

    return parsed


def _grouped(create: Callable[..., Any]) -> Callable[..., Any]:
    """`CreateSchedule` in a group that is not there, which moto takes for a fault of its own."""

    def create_schedule(backend: EventBridgeSchedulerBackend, **asked: Any) -> Any:
        if asked["group_name"] not in backend.schedule_groups:
            raise ScheduleGroupNotFound(asked["group_name"])
        return create(backend, **asked)

    return create_schedule


def _narrow(query: Callable[..., Any]) -> Callable[..., Any]:
    """`Query` that looks at its partition only: moto sorts the whole table for each, 30 ms at 2,000 items."""

    def in_partition(table: Table, hash_key: DynamoType, *args: Any, **more: Any) -> Any:
        items = table.items
        if _index_of(*args, **more) is None:
            table.items = defaultdict(dict, {hash_key: items[hash_key]} if hash_key in items else {})
        try:
            return query(table, hash_key, *args, **more)
        finally:
            table.items = items

    return in_partition


def _index_of(*args: Any, index_name: str | None = None, **_: Any) -> str | None:
    return next(iter(args[_INDEX_PLACE:]), index_name)
