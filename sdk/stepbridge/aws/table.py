"""The table on DynamoDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from stepbridge.aws import schema
from stepbridge.aws.attributes import attributes, item_of
from stepbridge.aws.expressions import Placeholders, condition_parameters, update_parameters
from stepbridge.aws.failures import Resource, code_of
from stepbridge.aws.settings import variable
from stepbridge.core.conditions import ALWAYS, Change, Condition, Item, Key, Updated

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient


class DynamoTable:
    """`ports.Table` on DynamoDB: one request a call, one a page of a query.

    Every method raises `Unavailable` or `Misconfigured`. A write whose answer is lost is sent again
    by botocore and may then be refused because of itself; `engine/store.py` knows its own writes.

    Args:
        client: Gives the client, which may be made only then.
        name: Of the table.
    """

    def __init__(self, client: Callable[[], DynamoDBClient], name: str) -> None:
        self._client = client
        self._name = name
        self._resource = Resource(f"The DynamoDB table {name}", variable("table"))

    def get(self, key: Key) -> Item | None:
        """The item, or None; strongly consistent."""
        with self._resource.calling("dynamodb:GetItem"):
            answer = self._client().get_item(TableName=self._name, Key=_key(key), ConsistentRead=True)
        return item_of(answer["Item"]) if "Item" in answer else None

    def put(self, item: Item, when: Condition = ALWAYS) -> Item | None:
        """Writes the item where `when` holds.

        Returns:
            None once written; else the item that stands there, empty where `when` asked for one and
            there is none. A refused write is billed as a write; the standing item comes with it.
        """
        placeholders = Placeholders()
        request: dict[str, Any] = {
            "TableName": self._name,
            "Item": attributes(item),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **condition_parameters(when, placeholders),
        }
        with self._resource.calling("dynamodb:PutItem"):
            try:
                self._client().put_item(**request, **placeholders.parameters())
            except ClientError as error:
                return _standing(error) or {}
        return None

    def update(self, key: Key, change: Change, when: Condition = ALWAYS) -> Updated:
        """Changes the item where `when` holds, making it if there is none.

        A change that only removes makes none. Source: scylladb issue 5862 on DynamoDB, 2020.

        Returns:
            The item as it is then, or as it stood where `when` refused.
        """
        placeholders = Placeholders()
        request: dict[str, Any] = {
            "TableName": self._name,
            "Key": _key(key),
            "ReturnValues": "ALL_NEW",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            **update_parameters(change, placeholders),
            **condition_parameters(when, placeholders),
        }
        with self._resource.calling("dynamodb:UpdateItem"):
            try:
                answer = self._client().update_item(**request, **placeholders.parameters())
            except ClientError as error:
                return Updated(ok=False, item=_standing(error))
        return Updated(ok=True, item=item_of(answer.get("Attributes", {})) or None)

    def delete(self, key: Key) -> None:
        """Deletes the item; nothing happens where there is none."""
        with self._resource.calling("dynamodb:DeleteItem"):
            self._client().delete_item(TableName=self._name, Key=_key(key))

    def query(self, pk: str, *, after: str = "") -> Iterator[Item]:
        """The partition's items with a sort key above `after`, in order; strongly consistent.

        Pages of at most 1 MB, each asked for when the one before it has been read.
        """
        placeholders = Placeholders()
        where = f"{placeholders.name(schema.PARTITION_KEY)} = {placeholders.value(pk)}"
        if after:  # a key is never empty, and DynamoDB refuses to compare one with an empty text
            where += f" AND {placeholders.name(schema.SORT_KEY)} > {placeholders.value(after)}"
        return self._pages({"KeyConditionExpression": where, "ConsistentRead": True, **placeholders.parameters()})

    def query_index(
        self,
        partition: str,
        *,
        newest_first: bool = True,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Item]:
        """Items by the index `runs`, beyond the `gs` given as `after`; eventually consistent."""
        placeholders = Placeholders()
        where = f"{placeholders.name(schema.INDEX_PARTITION_KEY)} = {placeholders.value(partition)}"
        if after:
            beyond = "<" if newest_first else ">"
            sort_key = placeholders.name(schema.INDEX_SORT_KEY)
            where += f" AND {sort_key} {beyond} {placeholders.value(after)}"
        pages = self._pages(
            {
                "IndexName": schema.INDEX,
                "KeyConditionExpression": where,
                "ScanIndexForward": not newest_first,
                "Limit": limit,
                **placeholders.parameters(),
            }
        )
        return list(islice(pages, limit))

    def _pages(self, request: dict[str, Any]) -> Iterator[Item]:
        request["TableName"] = self._name
        more = True
        while more:
            page, more = self._page(request)
            yield from page

    def _page(self, request: dict[str, Any]) -> tuple[list[Item], bool]:
        """The next page, and whether there are more, which `request` then asks for."""
        with self._resource.calling("dynamodb:Query"):
            answer = self._client().query(**request)
        request["ExclusiveStartKey"] = answer.get("LastEvaluatedKey")
        return [item_of(item) for item in answer["Items"]], "LastEvaluatedKey" in answer


def _key(key: Key) -> dict[str, Any]:
    return attributes({schema.PARTITION_KEY: key.pk, schema.SORT_KEY: key.sk})


def _standing(error: ClientError) -> Item | None:
    """The item that a condition refused, None where there is none; raises other errors again."""
    if code_of(error) != "ConditionalCheckFailedException":
        raise error
    held: Any = error.response.get("Item")  # the stubs know the common part of a response only
    return item_of(held) if held else None
