"""A table that says which runs its writes concern: what lists and live views are made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from stepbridge.core.conditions import ALWAYS, Change, Condition, Item, Key, Updated
from stepbridge.core.keys import HEAD_SK
from stepbridge.ports import Table

_RUN: Final = "R#"


class Watcher(Protocol):
    """Who is told of writes, in the writer's thread, right after each."""

    def head_written(self, item: Item) -> None:
        """A run's head stands now as `item`."""

    def run_touched(self, run_id: str, item: Item) -> None:
        """Something beside the run's head stands now as `item`, a step's record say."""


class WatchedTable:
    """`ports.Table` over another one."""

    def __init__(self, table: Table, watcher: Watcher) -> None:
        self._table = table
        self._watcher = watcher

    def get(self, key: Key) -> Item | None:
        """As the table."""
        return self._table.get(key)

    def put(self, item: Item, when: Condition = ALWAYS) -> Item | None:
        """As the table; tells of what was written."""
        standing = self._table.put(item, when)
        if standing is None:
            self._tell(str(item["pk"]), str(item["sk"]), item)
        return standing

    def update(self, key: Key, change: Change, when: Condition = ALWAYS) -> Updated:
        """As the table; tells of what was written."""
        answer = self._table.update(key, change, when)
        if answer.ok and answer.item is not None:
            self._tell(key.pk, key.sk, answer.item)
        return answer

    def delete(self, key: Key) -> None:
        """As the table."""
        self._table.delete(key)

    def query(self, pk: str, *, after: str = "") -> Iterator[Item]:
        """As the table."""
        return self._table.query(pk, after=after)

    def query_index(
        self, partition: str, *, newest_first: bool = True, after: str | None = None, limit: int = 100
    ) -> list[Item]:
        """As the table."""
        return self._table.query_index(partition, newest_first=newest_first, after=after, limit=limit)

    def _tell(self, pk: str, sk: str, item: Item) -> None:
        if not pk.startswith(_RUN):
            return
        if sk == HEAD_SK:
            self._watcher.head_written(item)
        else:
            self._watcher.run_touched(pk[len(_RUN) :], item)
