"""What DynamoDB bills for.

Sizes and units, by "DynamoDB read and write operations" of the developer guide (2026): an item's
size is the UTF-8 length of its names and values; a number takes a byte for two digits and one more.
Writes round up to 1 KB; reads to 4 KB, the sum of a page. A put or update is billed on the larger
of the item before and after, refused or not; a delete on what it deleted. Writes to the index come
on top ("Global secondary indexes", 2026): one where an entry appears, changes or goes, two where
its key changes, none where nothing projected changes.
"""

from __future__ import annotations

from typing import Final

from stepbridge.core.conditions import Item

INDEX_PROJECTION: Final = ("pk", "sk", "gp", "gs", "fn", "ls", "t0", "en")
"""What the list index keeps of an item that has `gp` and `gs`."""
_WRITE_GRAIN: Final = 1024
_READ_GRAIN: Final = 4096


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


def write_units(size: int) -> int:
    """Of a write to an item of so many bytes."""
    return -(-size // _WRITE_GRAIN) or 1


def read_units(size: int) -> int:
    """Of a strongly consistent read of so many bytes."""
    return -(-size // _READ_GRAIN) or 1


def indexed(item: Item | None) -> Item | None:
    """The item's entry in the list index; None: it has none."""
    if item is None or "gp" not in item or "gs" not in item:
        return None
    return {name: item[name] for name in INDEX_PROJECTION if name in item}


def index_units(old: Item | None, new: Item | None) -> int:
    """Of the index, where its entry `old` becomes `new`."""
    if old == new:
        return 0
    sizes = [write_units(item_bytes(entry)) for entry in (old, new) if entry is not None]
    has_moved = old is None or new is None or (old["gp"], old["gs"]) != (new["gp"], new["gs"])
    return sum(sizes) if has_moved else max(sizes)
