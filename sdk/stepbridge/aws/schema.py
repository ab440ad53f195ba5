"""The shapes of table and rule, named once: adapter, stack and local backends take them from here."""

from __future__ import annotations

from typing import Any, Final

from stepbridge.app import App
from stepbridge.engine.across import names_for
from stepbridge.engine.rule import system_triggers
from stepbridge.events import RESERVED_PREFIX

PARTITION_KEY: Final = "pk"
SORT_KEY: Final = "sk"
INDEX: Final = "runs"
"""The sparse list of runs; only heads bear its keys."""
INDEX_PARTITION_KEY: Final = "gp"
INDEX_SORT_KEY: Final = "gs"
INDEX_ATTRIBUTES: Final = ("fn", "ls", "t0", "en")
"""What it keeps beside the keys: what a head is born with and what its end adds, nothing between."""
TTL: Final = "ttl"
"""Seconds since the epoch; set when a run ends. DynamoDB deletes days later, so never a timer."""


def definition(table: str) -> dict[str, Any]:
    """The arguments of `CreateTable` for such a table; time to live is set by another call."""
    names = (PARTITION_KEY, SORT_KEY, INDEX_PARTITION_KEY, INDEX_SORT_KEY)
    return {
        "TableName": table,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": name, "AttributeType": "S"} for name in names],
        "KeySchema": _keys(PARTITION_KEY, SORT_KEY),
        "GlobalSecondaryIndexes": [
            {
                "IndexName": INDEX,
                "KeySchema": _keys(INDEX_PARTITION_KEY, INDEX_SORT_KEY),
                "Projection": {
                    "ProjectionType": "INCLUDE",
                    "NonKeyAttributes": list(INDEX_ATTRIBUTES),
                },
            }
        ],
    }


def _keys(partition: str, sort: str) -> list[dict[str, str]]:
    return [
        {"AttributeName": partition, "KeyType": "HASH"},
        {"AttributeName": sort, "KeyType": "RANGE"},
    ]


def event_pattern(app: App) -> dict[str, Any]:
    """The app's EventBridge rule, which lets through what `engine.rule.wants` does.

    That is every event but system events, and of those what a function is triggered by, and what other
    apps ask of this one.
    """
    wanted = sorted({trigger.name for trigger in system_triggers(app)} | set(names_for(app.id)))
    return {"detail-type": [{"anything-but": {"prefix": RESERVED_PREFIX}}, *map(_matcher, wanted)]}


def _matcher(name: str) -> str | dict[str, str]:
    return {"prefix": name[:-1]} if name.endswith("*") else name
