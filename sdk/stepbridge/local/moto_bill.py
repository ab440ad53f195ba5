"""The units that AWS would bill for what an app asks of its table: moto counts one for whatever it is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stepbridge.aws.table import DynamoTable
from stepbridge.core.conditions import ALWAYS, Change, Condition, Item, Key, Updated, changed
from stepbridge.local.moto_process import LOCK
from stepbridge.memory.billing import index_units, indexed, item_bytes, read_units, write_units
from stepbridge.memory.requests import Requests

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class BilledTable(DynamoTable):
    """The table on moto, whose units are counted by the rules of `memory.billing`; requests are counted on the wire.

    Args:
        client: As of `DynamoTable`.
        name: As of `DynamoTable`.
        requests: Gets the units.
        standing: The item that stands at a key now, None where there is none; asks for nothing.
    """

    def __init__(
        self,
        client: Callable[[], DynamoDBClient],
        name: str,
        requests: Requests,
        standing: Callable[[Key], Item | None],
    ) -> None:
        super().__init__(client, name)
        self._requests = requests
        self._standing = standing

    def get(self, key: Key) -> Item | None:
        """As the table's."""
        item = super().get(key)
        self._requests.count("GetItem", 0, read_units=read_units(item_bytes(item or {})))
        return item

    def put(self, item: Item, when: Condition = ALWAYS) -> Item | None:
        """As the table's."""
        with LOCK:
            before = self._standing(Key(str(item["pk"]), str(item["sk"])))
            standing = super().put(item, when)
            self._bill("PutItem", before, item, is_written=standing is None)
            return standing

    def update(self, key: Key, change: Change, when: Condition = ALWAYS) -> Updated:
        """As the table's."""
        with LOCK:
            before = self._standing(key)
            answer = super().update(key, change, when)
            after = changed(before or {"pk": key.pk, "sk": key.sk}, change)
            self._bill("UpdateItem", before, after, is_written=answer.ok)
            return answer

    def delete(self, key: Key) -> None:
        """As the table's."""
        with LOCK:
            before = self._standing(key)
            super().delete(key)
            self._bill("DeleteItem", before, None, is_written=True)

    def _page(self, request: dict[str, Any]) -> tuple[list[Item], bool]:
        page, more = super()._page(request)
        units = read_units(sum(map(item_bytes, page)))
        self._requests.count("Query", 0, read_units=units if request.get("ConsistentRead") else units / 2)
        return page, more

    def _bill(self, operation: str, before: Item | None, after: Item | None, *, is_written: bool) -> None:
        size = max(item_bytes(before or {}), item_bytes(after or {}))
        on_index = index_units(indexed(before), indexed(after)) if is_written else 0
        self._requests.count(operation, 0, write_units=write_units(size) + on_index)
