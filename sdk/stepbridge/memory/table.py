"""The table in memory, billed as DynamoDB bills.

Sizes and units, by "DynamoDB read and write operations" of the developer guide (2026): an item's
size is the UTF-8 length of its names and values; a number takes a byte for two digits and one more.
Writes round up to 1 KB; reads to 4 KB, the sum of a page. A put or update is billed on the larger
of the item before and after, refused or not; a delete on what it deleted. Writes to the index come
on top ("Global secondary indexes", 2026): one where an entry appears, changes or goes, two where
its key changes, none where nothing projected changes.
"""

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
from stepbridge.memory.requests import Requests

INDEX_PROJECTION: Final = ("pk", "sk", "gp", "gs", "fn", "ls", "t0", "en")
"""What the list index keeps of an item that has `gp` and `gs`."""
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
            self._requests.count("GetItem", read_units=_units(row[1] if row else 0, 4096))
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
            items = [_projected(self._partitions[pk].rows[sk][0]) for _, pk, sk in chosen[::step][:limit]]
        self._requests.count("Query", read_units=_units(sum(map(item_bytes, items)), 4096) / 2)
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
        self._requests.count("Query", read_units=_units(total, 4096))
        return page, more

    def _bill(self, operation: str, size: int, index_units: int = 0) -> None:
        self._requests.count(operation, write_units=_units(size, 1024) + index_units)

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
        old = _projected(before[0]) if before is not None and "gp" in before[0] and "gs" in before[0] else None
        new = _projected(after[0]) if after is not None and "gp" in after[0] and "gs" in after[0] else None
        if old == new:
            return 0
        if old is not None and new is not None and (old["gp"], old["gs"]) == (new["gp"], new["gs"]):
            return max(_units(item_bytes(old), 1024), _units(item_bytes(new), 1024))
        units = 0
        if old is not None:
            order = self._index[str(old["gp"])]
            del order[bisect_left(order, (str(old["gs"]), pk, sk))]
            units += _units(item_bytes(old), 1024)
        if new is not None:
            insort(self._index.setdefault(str(new["gp"]), []), (str(new["gs"]), pk, sk))
            units += _units(item_bytes(new), 1024)
        return units


def item_bytes(item: Item) -> int:
    """The size that DynamoDB bills."""
    names = "".join(item)
    total = len(names) if names.isascii() else len(names.encode())
    for value in item.values():
        if isinstance(value, str):
            total += len(value) if value.isascii() else len(value.encode())
        elif isinstance(value, int):
            total += (len(str(value).rstrip("0")) + 3) // 2
        else:
            total += len(value)
    return total


def _units(size: int, grain: int) -> int:
    return -(-size // grain) or 1


def _projected(item: Item) -> Item:
    return {name: item[name] for name in INDEX_PROJECTION if name in item}


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
