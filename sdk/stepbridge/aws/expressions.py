"""Conditions and changes as DynamoDB expressions, by the laws of `core.conditions`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, assert_never

from stepbridge.aws.attributes import attribute
from stepbridge.aws.schema import PARTITION_KEY
from stepbridge.core.conditions import (
    Absent,
    Always,
    Among,
    Below,
    Both,
    Change,
    Condition,
    Either,
    Present,
    Value,
)


@dataclass(frozen=True, slots=True)
class Placeholders:
    """The names and values of one request's expressions. DynamoDB refuses any that none uses."""

    _names: dict[str, str] = field(default_factory=dict)
    _values: list[Value] = field(default_factory=list)

    def name(self, attribute_name: str) -> str:
        """The placeholder of an attribute; never the name itself, since many are reserved words."""
        return self._names.setdefault(attribute_name, f"#{len(self._names)}")

    def value(self, value: Value) -> str:
        """A new placeholder of a value."""
        self._values.append(value)
        return f":{len(self._values) - 1}"

    def parameters(self) -> dict[str, Any]:
        """What the request says of them, once all its expressions are rendered."""
        parameters: dict[str, Any] = {}
        if self._names:
            parameters["ExpressionAttributeNames"] = {short: name for name, short in self._names.items()}
        if self._values:
            parameters["ExpressionAttributeValues"] = {
                f":{index}": attribute(value) for index, value in enumerate(self._values)
            }
        return parameters


def condition_parameters(when: Condition, placeholders: Placeholders) -> dict[str, str]:
    """The `ConditionExpression` of a write; none where `when` is `ALWAYS`."""
    if isinstance(when, Always):
        return {}
    return {"ConditionExpression": _condition(when, placeholders)}


def _condition(condition: Condition, placeholders: Placeholders) -> str:
    match condition:
        case Always() | Both(()):
            key = placeholders.name(PARTITION_KEY)
            return f"attribute_exists({key}) OR attribute_not_exists({key})"
        case Either(()) | Among(_, ()):
            key = placeholders.name(PARTITION_KEY)
            return f"attribute_exists({key}) AND attribute_not_exists({key})"
        case Absent(name):
            return f"attribute_not_exists({placeholders.name(name)})"
        case Present(name):
            return f"attribute_exists({placeholders.name(name)})"
        case Among(name, (value,)):
            return f"{placeholders.name(name)} = {placeholders.value(value)}"
        case Among(name, values):
            options = ", ".join(map(placeholders.value, values))
            return f"{placeholders.name(name)} IN ({options})"
        case Below(name, value):
            return f"{placeholders.name(name)} < {placeholders.value(value)}"
        case Both((part,)) | Either((part,)):
            return _condition(part, placeholders)
        case Both(parts) | Either(parts):
            texts = [_condition(part, placeholders) for part in parts]
            return (" AND " if isinstance(condition, Both) else " OR ").join(map(_nested, texts))
        case _:
            assert_never(condition)


def _nested(text: str) -> str:
    """Parentheses stand where they are needed, and nowhere else: DynamoDB refuses doubled ones."""
    return f"({text})" if " AND " in text or " OR " in text else text


def update_parameters(change: Change, placeholders: Placeholders) -> dict[str, str]:
    """The `UpdateExpression` of a change; none where it changes nothing.

    An expression may touch an attribute once only. What meets on one attribute is merged, in the
    order that `conditions.changed` keeps: default, set, add, remove.
    """
    removed = dict.fromkeys(change.remove)
    assigned = {name: None for name in (*change.set, *change.default) if name not in removed}
    added = [name for name in change.add if name not in removed and name not in assigned]
    clauses = {
        "SET": [_assignment(name, change, placeholders) for name in assigned],
        "ADD": [f"{placeholders.name(name)} {placeholders.value(change.add[name])}" for name in added],
        "REMOVE": [placeholders.name(name) for name in removed],
    }
    text = " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses.items() if parts)
    return {"UpdateExpression": text} if text else {}


def _assignment(name: str, change: Change, placeholders: Placeholders) -> str:
    short = placeholders.name(name)
    if name in change.set:
        operand = placeholders.value(change.set[name])
    else:
        operand = f"if_not_exists({short}, {placeholders.value(change.default[name])})"
    if name in change.add:
        operand += f" + {placeholders.value(change.add[name])}"
    return f"{short} = {operand}"
