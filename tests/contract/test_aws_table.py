"""DynamoDB: rendered conditions and changes do what their laws say; reads are strong and paged."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepbridge.core.conditions import (
    ALWAYS,
    Absent,
    Among,
    Below,
    Both,
    Change,
    Condition,
    Either,
    Item,
    Key,
    Present,
    Updated,
    Value,
    changed,
    equals,
    holds,
)
from tests.contract.aws_backend import MotoBackend

KEY = Key("R#1", "#")
KEYS: Item = {"pk": KEY.pk, "sk": KEY.sk}

# Numbers and texts live under names of their own: moto cannot compare one with the other.
NUMBERS = st.sampled_from(["ep", "size", "#odd name"])
TEXTS = st.sampled_from(["st", "value", "a.b"])
AMOUNTS = st.integers(-2, 2)
WORDS = st.sampled_from(["", "ok", "retry"]) | st.sampled_from([b"", b"\0"])

LEAVES: st.SearchStrategy[Condition] = st.one_of(
    st.just(ALWAYS),
    st.builds(Absent, NUMBERS | TEXTS | st.just("pk")),
    st.builds(Present, NUMBERS | TEXTS | st.just("pk")),
    st.builds(Below, NUMBERS, AMOUNTS),
    st.builds(Among, NUMBERS | TEXTS, st.lists(AMOUNTS | WORDS, max_size=3).map(tuple)),
)
CONDITIONS: st.SearchStrategy[Condition] = st.recursive(
    LEAVES,
    lambda parts: (
        st.builds(Both, st.lists(parts, max_size=3).map(tuple))
        | st.builds(Either, st.lists(parts, max_size=3).map(tuple))
    ),
    max_leaves=6,
)
VALUES: st.SearchStrategy[dict[str, Value]] = st.builds(
    lambda numbers, texts: {**numbers, **texts},
    st.dictionaries(NUMBERS, AMOUNTS, max_size=3),
    st.dictionaries(TEXTS, WORDS, max_size=3),
)
STANDING = st.none() | VALUES.map(lambda values: {**KEYS, **values})
CHANGES = st.builds(
    Change,
    set=VALUES.map(lambda values: {**values, "set": 1}),
    default=VALUES,
    add=st.dictionaries(NUMBERS, AMOUNTS, max_size=2),
    remove=st.lists(NUMBERS | TEXTS, max_size=2).map(tuple),
)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(standing=STANDING, when=CONDITIONS, change=CHANGES)
def test_an_update_follows_the_laws_of_conditions(
    moto: MotoBackend, standing: Item | None, when: Condition, change: Change
) -> None:
    """Whatever stands, is asked for and is changed: `holds` and `changed` say what comes of it."""
    table = moto.ports.table
    table.delete(KEY)
    _ = standing is None or table.put(standing)
    ok = holds(when, standing)
    after = changed(standing or KEYS, change) if ok else standing
    assert table.update(KEY, change, when) == Updated(ok=ok, item=after)
    assert table.get(KEY) == after


@QUICK
@given(standing=STANDING, when=CONDITIONS, values=VALUES)
def test_a_put_follows_the_laws_of_conditions(
    moto: MotoBackend, standing: Item | None, when: Condition, values: Item
) -> None:
    """Written where `holds` says so; else what stands is answered and stays."""
    table = moto.ports.table
    table.delete(KEY)
    _ = standing is None or table.put(standing)
    new = {**KEYS, **values}
    ok = holds(when, standing)
    assert table.put(new, when) == (None if ok else standing or {})
    assert table.get(KEY) == (new if ok else standing)


def test_every_call_is_one_request(moto: MotoBackend) -> None:
    """Refused writes too: what stands comes with the refusal."""
    table = moto.ports.table
    table.put(KEYS)
    table.put(KEYS, Absent())
    table.update(KEY, Change(set={"a": 1}), equals("a", 2))
    table.get(KEY)
    assert list(table.query(KEY.pk)) == [KEYS]
    table.query_index("none")
    table.delete(KEY)
    assert moto.requests == [
        "PutItem",
        "PutItem",
        "UpdateItem",
        "GetItem",
        "Query",
        "Query",
        "DeleteItem",
    ]


def test_a_page_is_asked_for_once_the_one_before_is_read(moto: MotoBackend) -> None:
    """Three pages of 1 MB are three requests, and the first item costs one."""
    for number in range(8):
        moto.ports.table.put({"pk": "R#1", "sk": f"{number}", "v": b"x" * 300_000})
    moto.requests.clear()
    items = moto.ports.table.query("R#1")
    assert moto.requests == []
    next(items)
    assert moto.requests == ["Query"]
    assert [item["sk"] for item in items] == [f"{number}" for number in range(1, 8)]
    assert moto.requests == ["Query"] * 3


def test_all_reads_of_items_are_strong(moto: MotoBackend) -> None:
    """Only the index, which cannot be, is read otherwise, and no further than asked for."""
    sent: list[Any] = []
    events = moto.clients.dynamodb().meta.events
    events.register("before-send.dynamodb", lambda request, **_: sent.append(json.loads(request.body)), unique_id="t")
    moto.ports.table.get(KEY)
    list(moto.ports.table.query("R#1"))
    moto.ports.table.query_index("f#1", limit=7)
    events.unregister("before-send.dynamodb", unique_id="t")
    assert [one.get("ConsistentRead", False) for one in sent] == [True, True, False]
    assert sent[-1]["Limit"] == 7
