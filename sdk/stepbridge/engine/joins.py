"""The records of a map's items, and the marks by which the last of them is known. Marks are attributes by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from stepbridge.core.conditions import Absent, Change, Key
from stepbridge.core.items import register_item, register_of
from stepbridge.core.keys import JOIN_SK, map_pk
from stepbridge.core.limits import MAP_SHARD
from stepbridge.core.records import Parent, Register
from stepbridge.ports import Table


class Joins:
    """The items of map steps in the table; `expiry` is when what is written at an instant may go."""

    def __init__(self, table: Table, expiry: Callable[[datetime], int]) -> None:
        self._table = table
        self._expiry = expiry

    def record(self, run_id: str, step_key: str, index: int, register: Register) -> None:
        """Writes the register of a map's item, once."""
        shard, _ = divmod(index, MAP_SHARD)
        item = register_item(run_id, register)
        item.update(
            {"pk": map_pk(run_id, step_key, shard), "sk": f"S#{index:09}", "ttl": self._expiry(register.ended_at)}
        )
        self._table.put(item, Absent("sk"))

    def count(self, parent: Parent, now: datetime, *, amount: int) -> int:
        """Counts the executions of an item that have begun anew and not ended; how many there are now."""
        index = parent.item.index if parent.item is not None else 0
        key = Key(map_pk(parent.run_id, parent.step_key, index // MAP_SHARD), f"#began#{index:09}")
        change = Change(add={"n": amount}, default={"ttl": self._expiry(now)})
        return int((self._table.update(key, change).item or {}).get("n", 0))

    def join(self, run_id: str, step_key: str, index: int, count: int, now: datetime) -> bool:
        """Marks an item as done; whether all of the map are, as far as its shard can tell."""
        shard, place = divmod(index, MAP_SHARD)
        last_shard, rest = divmod(count - 1, MAP_SHARD)
        wanted = rest + 1 if shard == last_shard else MAP_SHARD
        if not self._mark(map_pk(run_id, step_key, shard), place, wanted, now):
            return False
        return last_shard == 0 or self._mark(map_pk(run_id, step_key), shard, last_shard + 1, now)

    def _mark(self, pk: str, number: int, wanted: int, now: datetime) -> bool:
        change = Change(set={f"d{number}": 1}, default={"ttl": self._expiry(now)})
        item = self._table.update(Key(pk, JOIN_SK), change).item or {}
        return sum(name[:1] == "d" for name in item) == wanted

    def is_joined(self, run_id: str, step_key: str, count: int) -> bool:
        """Whether every item of a map is done."""
        last_shard, rest = divmod(count - 1, MAP_SHARD)
        pk, wanted = (
            (map_pk(run_id, step_key), last_shard + 1) if last_shard else (map_pk(run_id, step_key, 0), rest + 1)
        )
        item = self._table.get(Key(pk, JOIN_SK)) or {}
        return sum(name[:1] == "d" for name in item) == wanted

    def register(self, parent: Parent) -> Register | None:
        """The register of one item of a map, or None."""
        index = parent.item.index if parent.item is not None else 0
        pk = map_pk(parent.run_id, parent.step_key, index // MAP_SHARD)
        item = self._table.get(Key(pk, f"S#{index:09}"))
        return None if item is None else register_of(item)

    def registers(self, run_id: str, step_key: str, count: int) -> Iterable[Register]:
        """The registers of a map's items, in order."""
        for shard in range((count - 1) // MAP_SHARD + 1):
            for item in self._table.query(map_pk(run_id, step_key, shard), after=JOIN_SK):
                yield register_of(item)
