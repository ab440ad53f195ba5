"""Expressions as text. That they mean what the laws say is claimed in tests/contract/test_aws_table.py."""

from __future__ import annotations

from typing import Any

import pytest

from stepbridge.aws.attributes import attributes, item_of
from stepbridge.aws.expressions import Placeholders, condition_parameters, update_parameters
from stepbridge.core.conditions import (
    ALWAYS,
    Absent,
    Among,
    Below,
    Change,
    Condition,
    Item,
    Present,
    both,
    either,
    equals,
)


def rendered(when: Condition) -> tuple[str | None, dict[str, Any]]:
    """The expression and what else the request says."""
    placeholders = Placeholders()
    text = condition_parameters(when, placeholders).get("ConditionExpression")
    return text, placeholders.parameters()


@pytest.mark.parametrize(
    ("when", "text"),
    [
        (ALWAYS, None),
        (Absent(), "attribute_not_exists(#0)"),
        (Present("st"), "attribute_exists(#0)"),
        (equals("st", "ok"), "#0 = :0"),
        (Among("st", ("ok", "retry")), "#0 IN (:0, :1)"),
        (Among("st", ("ok", "retry", "due")), "#0 IN (:0, :1, :2)"),
        (Below("lx", 5), "#0 < :0"),
        (both(Present("st"), Below("st", 5)), "attribute_exists(#0) AND #0 < :0"),
        (either(Absent(), both(equals("a", 1), Below("b", 2))), "attribute_not_exists(#0) OR (#1 = :0 AND #2 < :1)"),
        (both(either(Absent(), equals("a", 1)), Below("b", 2)), "(attribute_not_exists(#0) OR #1 = :0) AND #2 < :1"),
        (both(either(both(equals("a", 1)))), "#0 = :0"),
        (both(), "attribute_exists(#0) OR attribute_not_exists(#0)"),
        (either(), "attribute_exists(#0) AND attribute_not_exists(#0)"),
        (Among("st", ()), "attribute_exists(#0) AND attribute_not_exists(#0)"),
    ],
)
def test_a_condition_is_rendered_without_a_needless_parenthesis(when: Condition, text: str | None) -> None:
    """DynamoDB refuses doubled ones."""
    assert rendered(when)[0] == text


def test_names_and_values_travel_beside_the_expression() -> None:
    """A name once, however often it is used; nothing that is not used."""
    assert rendered(both(Below("size", 5), equals("size", b"x")))[1] == {
        "ExpressionAttributeNames": {"#0": "size"},
        "ExpressionAttributeValues": {":0": {"N": "5"}, ":1": {"B": b"x"}},
    }
    assert rendered(ALWAYS)[1] == {}
    assert rendered(Absent())[1] == {"ExpressionAttributeNames": {"#0": "pk"}}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (Change(), None),
        (Change(set={"a": 1, "b": "x"}), "SET #0 = :0, #1 = :1"),
        (Change(default={"a": 1}), "SET #0 = if_not_exists(#0, :0)"),
        (Change(set={"a": 1}, default={"a": 2}), "SET #0 = :0"),
        (Change(add={"ep": 1}), "ADD #0 :0"),
        (Change(default={"ep": 5}, add={"ep": 1}), "SET #0 = if_not_exists(#0, :0) + :1"),
        (Change(remove=("wk", "er", "wk")), "REMOVE #0, #1"),
        (Change(set={"a": 1}, add={"a": 1}, remove=("a",)), "REMOVE #0"),
        (Change(set={"a": 1}, add={"b": 1}, remove=("c",)), "SET #0 = :0 ADD #1 :1 REMOVE #2"),
    ],
)
def test_a_change_touches_every_attribute_once(change: Change, text: str | None) -> None:
    """As DynamoDB demands."""
    assert update_parameters(change, Placeholders()).get("UpdateExpression") == text


def test_values_keep_their_types() -> None:
    """Text, whole numbers and bytes; True counts as 1."""
    item: Item = {"s": "", "n": -(10**37), "b": b"\0", "t": True}
    held = attributes(item)
    assert held == {"s": {"S": ""}, "n": {"N": "-1" + "0" * 37}, "b": {"B": b"\0"}, "t": {"N": "1"}}
    assert item_of(held) == {**item, "t": 1}


def test_a_foreign_attribute_is_named() -> None:
    """Something else writes to the table."""
    with pytest.raises(ValueError, match=r"'x' is of type BOOL, .*Mend"):
        item_of({"x": {"BOOL": True}})
