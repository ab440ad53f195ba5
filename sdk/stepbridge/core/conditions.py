"""Conditional writes as data: memory evaluates them, the AWS adapter renders them as expressions.

Every condition of the protocol is built from these in `engine/store.py`, so both backends keep the same
laws by construction. A condition speaks about the item that stands at the key, before the write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, assert_never

Value = str | int | bytes
"""What an attribute holds: DynamoDB's S, N (whole numbers only) and B."""
Item = dict[str, Value]
"""One item; `pk` and `sk` are its key."""


@dataclass(frozen=True, slots=True)
class Key:
    """The address of an item."""

    pk: str
    sk: str


@dataclass(frozen=True, slots=True)
class Always:
    """Holds for any item and for none."""


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no item, or it lacks the attribute."""

    name: str = "pk"


@dataclass(frozen=True, slots=True)
class Present:
    """There is an item that has the attribute."""

    name: str = "pk"


@dataclass(frozen=True, slots=True)
class Among:
    """The attribute equals one of the values."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Below:
    """The attribute is less than the value."""

    name: str
    value: int


@dataclass(frozen=True, slots=True)
class Both:
    """All of the conditions hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """At least one of the conditions holds."""

    parts: tuple[Condition, ...]


Condition = Always | Absent | Present | Among | Below | Both | Either
ALWAYS: Final = Always()


def both(*parts: Condition) -> Both:
    """All of `parts`."""
    return Both(parts)


def either(*parts: Condition) -> Either:
    """Any of `parts`."""
    return Either(parts)


def equals(name: str, value: Value) -> Among:
    """The attribute is `value`."""
    return Among(name, (value,))


@dataclass(frozen=True, slots=True)
class Change:
    """What an update does: attributes set, set only where they are missing, added to (from 0), removed."""

    set: Mapping[str, Value] = field(default_factory=dict)
    default: Mapping[str, Value] = field(default_factory=dict)
    add: Mapping[str, int] = field(default_factory=dict)
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Updated:
    """The answer to an update: the item as it now is, or as it stood when the condition refused."""

    ok: bool
    item: Item | None


def holds(condition: Condition, item: Item | None) -> bool:
    """Whether `condition` holds for the item that stands at the key (None: there is none)."""
    match condition:
        case Always():
            return True
        case Absent(name):
            return item is None or name not in item
        case Present(name):
            return item is not None and name in item
        case Among(name, values):
            return item is not None and item.get(name) in values
        case Below(name, value):
            held = None if item is None else item.get(name)
            return isinstance(held, int) and held < value
        case Both(parts):
            return all(holds(part, item) for part in parts)
        case Either(parts):
            return any(holds(part, item) for part in parts)
        case _:
            assert_never(condition)


def changed(item: Item, change: Change) -> Item:
    """The item after `change`."""
    after = {**change.default, **item, **change.set}
    for name, amount in change.add.items():
        held = after.get(name, 0)
        after[name] = (held if isinstance(held, int) else 0) + amount
    for name in change.remove:
        after.pop(name, None)
    return after
