"""The table in memory, billed as DynamoDB bills."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from copy import copy
from itertools import islice
from threading import Lock
from typing import Final

from stepbridge.core.conditions import (
    ALWAYS,
    Change,
    Condition,
    Item,
    Key,
    Updated,
    changed,
    holds,
)
from stepbridge.memory.billing import index_units, indexed, item_bytes, read_units, write_units
from stepbridge.memory.requests import Requests

ITEM_BYTES_MAX: Final = 400 * 1024
PAGE_BYTES: Final = 1024 * 1024
"""A page of a query ends before the item that would take it above this."""
_KEY_CHARACTERS_SAFE: Final = 256
"""So many fit into any part of a key, at four bytes a character."""
_KEY_BYTES_MAX: Final = {"pk": 2048, "sk": 1024, "gp": 2048, "gs": 1024}

_Row = tuple[Item, int]
"""An item and its size in bytes."""


class ItemTooLargeError(ValueError):
    """The item is above DynamoDB's 400 KB; nothing was written."""


class _Partition:
    __slots__ = ("order", "rows")

    def __init__(self) -> None:
        self.rows: dict[str, _Row] = {}
        self.order: list[str] = []
        """The sort keys, sorted: code points order as UTF-8 bytes do."""


class MemoryTable:
    """`ports.Table` in memory: nothing that goes in or out is shared with the caller."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._partitions: dict[str, _Partition] = {}
        self._index: dict[str, list[tuple[str, ...]]] = {}
        """By `gp`: (gs, pk, sk), sorted."""
        self._lock = Lock()

    def counted_by(self, requests: Requests) -> MemoryTable:
        """The same items, for a reader whose requests are counted apart."""
        twin = copy(self)
        twin._requests = requests  # noqa: SLF001 - its own kind
        return twin

    def get(self, key: Key) -> Item | None:
        """The item, or None."""
        with self._lock:
            row = self._row(key.pk, key.sk)
            self._requests.count("GetItem", read_units=read_units(row[1] if row else 0))
            return dict(row[0]) if row else None

    def put(self, item: Item, when: Condition = ALWAYS) -> Item | None:
        """None once written; where `when` refused, the item that stands (empty: there is none).

        Raises:
            ItemTooLargeError: the item is above 400 KB.
            ValueError: a key is missing, empty, too long or no text.
        """
        item = dict(item)
        pk, sk, size = _checked(item)
        with self._lock:
            before = self._row(pk, sk)
            held = before[0] if before else None
            if when is not ALWAYS and not holds(when, held):
                self._bill("PutItem", max(size, before[1]) if before else size)
                return dict(held or {})
            self._write("PutItem", pk, sk, before, (item, size))
            return None

    def update(self, key: Key, change: Change, when: Condition = ALWAYS) -> Updated:
        """Changes the item, making it if there is none; the item after, or the one that refused.

        Raises:
            ItemTooLargeError: the item would be above 400 KB.
            ValueError: the change names an attribute twice or a part of the key, or a key is bad.
        """
        _check_change(change)
        pk, sk = key.pk, key.sk
        with self._lock:
            before = self._row(pk, sk)
            held = before[0] if before else None
            if when is not ALWAYS and not holds(when, held):
                offered = item_bytes(changed(held or {"pk": pk, "sk": sk}, change))
                self._bill("UpdateItem", max(offered, before[1]) if before else offered)
                return Updated(ok=False, item=dict(held) if held else None)
            item = changed(held or {"pk": pk, "sk": sk}, change)
            size = _checked(item)[2]
            self._write("UpdateItem", pk, sk, before, (item, size))
            return Updated(ok=True, item=dict(item))

    def delete(self, key: Key) -> None:
        """Deletes the item; nothing happens where there is none."""
        with self._lock:
            self._write("DeleteItem", key.pk, key.sk, self._row(key.pk, key.sk), None)

    def query(self, pk: str, *, after: str = "") -> Iterator[Item]:
        """The partition's items with a sort key above `after`, in order; pages read as needed."""
        more = True
        while more:
            page, more = self._page(pk, after)
            yield from page
            if page:
                after = str(page[-1]["sk"])

    def query_index(
        self,
        partition: str,
        *,
        newest_first: bool = True,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Item]:
        """What the list index keeps of at most `limit` items, beyond the `gs` given as `after`."""
        with self._lock:
            order = self._index.get(partition, [])
            start, stop, step = 0, len(order), 1
            if after is not None and newest_first:
                stop = bisect_left(order, (after,))
            elif after is not None:
                start = bisect_left(order, (after + "\0",))
            chosen = order[start:stop]
            if newest_first:
                step = -1
            items = [indexed(self._partitions[pk].rows[sk][0]) or {} for _, pk, sk in chosen[::step][:limit]]
        self._requests.count("Query", read_units=read_units(sum(map(item_bytes, items))) / 2)
        return items

    def items(self) -> list[Item]:
        """All items, uncounted: for tests, and to keep the table."""
        with self._lock:
            return [dict(row[0]) for partition in self._partitions.values() for row in partition.rows.values()]

    def load(self, items: list[Item]) -> None:
        """Takes in what `items` gave."""
        for item in items:
            pk, sk, size = _checked(item)
            with self._lock:
                self._store(pk, sk, self._row(pk, sk), (item, size))

    # -- inside, under the lock --------------------------------------------------------------------
    def _row(self, pk: str, sk: str) -> _Row | None:
        partition = self._partitions.get(pk)
        return None if partition is None else partition.rows.get(sk)

    def _page(self, pk: str, after: str) -> tuple[list[Item], bool]:
        """The items of one page, and whether there are more."""
        page: list[Item] = []
        total, more = 0, False
        with self._lock:
            partition = self._partitions.get(pk)
            if partition is not None:
                start = bisect_right(partition.order, after) if after else 0
                for sk in islice(partition.order, start, None):
                    item, size = partition.rows[sk]
                    if total + size > PAGE_BYTES:
                        more = True
                        break
                    total += size
                    page.append(dict(item))
        self._requests.count("Query", read_units=read_units(total))
        return page, more

    def _bill(self, operation: str, size: int, on_index: int = 0) -> None:
        self._requests.count(operation, write_units=write_units(size) + on_index)

    def _write(self, operation: str, pk: str, sk: str, before: _Row | None, after: _Row | None) -> None:
        size = max(before[1] if before else 0, after[1] if after else 0)
        self._bill(operation, size, self._store(pk, sk, before, after))

    def _store(self, pk: str, sk: str, before: _Row | None, after: _Row | None) -> int:
        """Puts `after` in the place of `before`; the write units that the index costs."""
        if after is not None:
            partition = self._partitions.get(pk)
            if partition is None:
                partition = self._partitions[pk] = _Partition()
            partition.rows[sk] = after
            if before is None:
                insort(partition.order, sk)
        elif before is not None:
            partition = self._partitions[pk]
            del partition.rows[sk], partition.order[bisect_left(partition.order, sk)]
            if not partition.order:
                del self._partitions[pk]
        return self._reindex(pk, sk, before, after)

    def _reindex(self, pk: str, sk: str, before: _Row | None, after: _Row | None) -> int:
        """Keeps the index; the write units that it costs."""
        old = None if before is None else indexed(before[0])
        new = None if after is None else indexed(after[0])
        old_gs, new_gs = old and (old["gp"], old["gs"]), new and (new["gp"], new["gs"])
        if old is not None and old_gs != new_gs:
            order = self._index[str(old["gp"])]
            del order[bisect_left(order, (str(old["gs"]), pk, sk))]
        if new is not None and old_gs != new_gs:
            insort(self._index.setdefault(str(new["gp"]), []), (str(new["gs"]), pk, sk))
        return index_units(old, new)


def _checked(item: Item) -> tuple[str, str, int]:
    """The item's key and size, once it is known to be one that DynamoDB takes."""
    pk, sk = _key_part("pk", item.get("pk")), _key_part("sk", item.get("sk"))
    for name in ("gp", "gs"):
        if name in item:
            _key_part(name, item[name])
    size = item_bytes(item)
    if size > ITEM_BYTES_MAX:
        raise ItemTooLargeError(f"item {pk}/{sk} has {size} bytes; at most {ITEM_BYTES_MAX} fit")
    return pk, sk, size


def _key_part(name: str, value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= _KEY_CHARACTERS_SAFE:
        return value
    most = _KEY_BYTES_MAX[name]
    if not isinstance(value, str) or not 0 < len(value.encode()) <= most:
        raise ValueError(f"{name} is to be 1 to {most} bytes of text, not {value!r:.80}")
    return value


def _check_change(change: Change) -> None:
    names = [*change.set, *change.add, *change.remove]
    if len(set(names)) < len(names):
        raise ValueError(f"the change names an attribute twice: {sorted(names)}")
    if "pk" in names or "sk" in names:
        raise ValueError("a change cannot touch the key: delete the item and put another")
