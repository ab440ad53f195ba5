"""The table: writes that are one with their condition, ordered strong reads, an index."""

from __future__ import annotations

import pytest

from stepbridge.core.conditions import (
    ALWAYS,
    Absent,
    Among,
    Below,
    Change,
    Condition,
    Item,
    Key,
    Present,
    Updated,
    both,
    either,
    equals,
    holds,
)
from stepbridge.ports import Ports

KEY = Key("R#1", "#")


def item(**attributes: str | int | bytes) -> Item:
    """An item at `KEY`."""
    return {"pk": KEY.pk, "sk": KEY.sk, **attributes}


# -- reading back ----------------------------------------------------------------------------------
def test_an_item_that_was_never_put_is_none(ports: Ports) -> None:
    """`get` of an absent key is None, not an error."""
    assert ports.table.get(KEY) is None


@pytest.mark.parametrize(
    "value",
    ["text", "", "gr\u00fc\u00df \U0001f680\0", 0, -1, 1735689600123, 10**37, b"", b"\0\xff" * 100],
    ids=repr,
)
def test_a_value_comes_back_as_it_was_put(ports: Ports, value: str | int | bytes) -> None:
    """Text, whole numbers and bytes keep value and type, empty and large ones too."""
    ports.table.put(item(v=value))
    found = ports.table.get(KEY)
    assert found == item(v=value)
    assert type(found["v"]) is type(value)


def test_a_put_replaces_the_whole_item(ports: Ports) -> None:
    """Attributes of the item before that the new one lacks are gone."""
    ports.table.put(item(a=1, b=2))
    assert ports.table.put(item(b=3)) is None
    assert ports.table.get(KEY) == item(b=3)


def test_items_are_the_callers_own(ports: Ports) -> None:
    """Changing an item that was put or read changes nothing in the table."""
    mine = item(a=1)
    ports.table.put(mine)
    mine["a"] = 2
    found = ports.table.get(KEY)
    assert found is not None
    found["a"] = 3
    next(iter(ports.table.query(KEY.pk)))["a"] = 4
    updated = ports.table.update(KEY, Change(), Present("no")).item
    assert updated is not None
    updated["a"] = 5
    assert ports.table.get(KEY) == item(a=1)


# -- conditions ------------------------------------------------------------------------------------
CONDITIONS: list[Condition] = [
    ALWAYS,
    Absent(),
    Absent("st"),
    Present(),
    Present("st"),
    equals("st", "ok"),
    equals("ep", 1),
    equals("st", 1),
    Among("st", ("ok", "retry")),
    Among("st", ("error",)),
    Below("ep", 1),
    Below("ep", 2),
    both(Present("st"), Below("ep", 2)),
    both(Present("st"), Below("ep", 1)),
    either(Absent(), equals("st", "retry")),
    either(Absent("st"), both(equals("st", "ok"), either(Below("ep", 0), equals("ep", 1)))),
]
STANDING: list[Item | None] = [
    None,
    item(),
    item(st="ok", ep=1),
    item(st="retry", ep=0),
    item(ep=-5),
]


@pytest.mark.parametrize("standing", STANDING, ids=str)
@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_a_put_writes_exactly_if_its_condition_holds(ports: Ports, condition: Condition, standing: Item | None) -> None:
    """None where it was written; else what stands, never None, and nothing has changed."""
    _stand(ports, standing)
    new = item(new=1)
    refused = ports.table.put(new, condition)
    held = holds(condition, standing)
    assert refused == (None if held else standing or {})
    assert ports.table.get(KEY) == (new if held else standing)


@pytest.mark.parametrize("standing", STANDING, ids=str)
@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_an_update_changes_exactly_if_its_condition_holds(
    ports: Ports, condition: Condition, standing: Item | None
) -> None:
    """The item after it, or the one that refused; and so it stands."""
    _stand(ports, standing)
    held = holds(condition, standing)
    after = {**(standing or item()), "new": 1} if held else standing
    answer = ports.table.update(KEY, Change(set={"new": 1}), condition)
    assert answer == Updated(ok=held, item=after)
    assert ports.table.get(KEY) == after


def _stand(ports: Ports, standing: Item | None) -> None:
    if standing is not None:
        ports.table.put(standing)


# -- updates ---------------------------------------------------------------------------------------
def test_an_update_makes_the_item_where_there_is_none(ports: Ports) -> None:
    """The key's attributes come with it; sums begin at 0."""
    answer = ports.table.update(KEY, Change(set={"st": "new"}, add={"ep": 3}, remove=("no",)))
    assert answer == Updated(ok=True, item=item(st="new", ep=3))
    assert ports.table.get(KEY) == item(st="new", ep=3)


def test_an_update_sets_adds_and_removes_and_leaves_the_rest(ports: Ports) -> None:
    """All three in one, also below zero; what is not named stays."""
    ports.table.put(item(st="old", ep=2, lx=9, keep=b"x"))
    change = Change(set={"st": "new", "more": ""}, add={"ep": -5, "n": 1}, remove=("lx", "no"))
    after = item(st="new", more="", ep=-3, n=1, keep=b"x")
    assert ports.table.update(KEY, change) == Updated(ok=True, item=after)
    assert ports.table.get(KEY) == after


# -- deletes ---------------------------------------------------------------------------------------
def test_a_deleted_item_is_gone(ports: Ports) -> None:
    """Neither `get` nor `query` finds it, its neighbour stays, a new one can be put."""
    ports.table.put(item(a=1))
    ports.table.put(item(sk="S#1"))
    ports.table.delete(KEY)
    assert ports.table.get(KEY) is None
    assert list(ports.table.query(KEY.pk)) == [item(sk="S#1")]
    assert ports.table.put(item(a=2), Absent()) is None


def test_deleting_what_is_not_there_is_success(ports: Ports) -> None:
    """A repeated delete does nothing."""
    ports.table.delete(KEY)
    ports.table.delete(KEY)
    assert ports.table.get(KEY) is None


# -- queries ---------------------------------------------------------------------------------------
SORTED_KEYS = [
    "#",
    "#armed#000000",
    "#armed#000001",
    "#in",
    "S#0",
    "S#a",
    "S#\u00e9",
    "S#\uffff",
    "S#\U0001f680",
]


def test_a_query_gives_one_partition_in_the_order_of_bytes(ports: Ports) -> None:
    """Sort keys order as their UTF-8, in whatever order they came; other partitions stay out."""
    for sk in [*SORTED_KEYS[1::2], *SORTED_KEYS[::2]]:
        ports.table.put(item(sk=sk))
        ports.table.put(item(pk="R#10", sk=sk))
    assert [one["sk"] for one in ports.table.query("R#1")] == SORTED_KEYS


@pytest.mark.parametrize("after", ["", "#", "#armed", "#armed#000001", "S#", "S#\U0001f680", "T"])
def test_a_query_begins_above_a_sort_key(ports: Ports, after: str) -> None:
    """`after` is exclusive, and need not be the key of an item."""
    for sk in SORTED_KEYS:
        ports.table.put(item(sk=sk))
    expected = [sk for sk in SORTED_KEYS if sk > after]
    assert [one["sk"] for one in ports.table.query("R#1", after=after)] == expected


def test_a_query_of_an_empty_partition_is_empty(ports: Ports) -> None:
    """No items, no error."""
    assert list(ports.table.query("R#none")) == []


def test_a_query_reads_on_beyond_the_first_page(ports: Ports) -> None:
    """More than 1 MB comes whole and in order."""
    large = "x" * (300 * 1024)
    for number in range(8):
        ports.table.put(item(sk=f"S#{number}", v=large))
    assert [one["sk"] for one in ports.table.query("R#1")] == [f"S#{n}" for n in range(8)]


# -- the index -------------------------------------------------------------------------------------
def _list_runs(ports: Ports) -> None:
    for number in range(5):
        ports.table.put(item(pk=f"R#{number}", gp="f#1", gs=f"{number}", fn="f", t0=number, d="data"))
    ports.table.put(item(pk="R#other", gp="f#2", gs="9", fn="g"))
    ports.table.put(item(pk="R#none", fn="f"))


def test_the_index_lists_the_newest_first(ports: Ports) -> None:
    """Descending `gs` of one `gp`; items without `gp` and `gs` are not in it."""
    _list_runs(ports)
    assert [one["gs"] for one in ports.table.query_index("f#1")] == ["4", "3", "2", "1", "0"]
    assert ports.table.query_index("f#none") == []


def test_the_index_lists_the_oldest_first_where_asked(ports: Ports) -> None:
    """Ascending `gs`."""
    _list_runs(ports)
    found = ports.table.query_index("f#1", newest_first=False)
    assert [one["gs"] for one in found] == ["0", "1", "2", "3", "4"]


def test_the_index_is_read_in_parts(ports: Ports) -> None:
    """`limit` cuts, and `after` goes on beyond, in either direction."""
    _list_runs(ports)
    table = ports.table
    assert [one["gs"] for one in table.query_index("f#1", limit=2)] == ["4", "3"]
    assert [one["gs"] for one in table.query_index("f#1", after="3", limit=2)] == ["2", "1"]
    assert [one["gs"] for one in table.query_index("f#1", after="0")] == []
    rising = table.query_index("f#1", newest_first=False, after="1", limit=2)
    assert [one["gs"] for one in rising] == ["2", "3"]


def test_the_index_keeps_the_fields_of_the_list_only(ports: Ports) -> None:
    """What is not projected must be read from the item."""
    _list_runs(ports)
    assert ports.table.query_index("f#2") == [item(pk="R#other", gp="f#2", gs="9", fn="g")]
    assert "d" not in ports.table.query_index("f#1")[0]


def test_the_index_follows_the_items(ports: Ports) -> None:
    """Entries change, move and go with the writes to their items."""
    _list_runs(ports)
    ports.table.update(Key("R#0", "#"), Change(set={"en": 7}))
    ports.table.update(Key("R#1", "#"), Change(set={"gs": "8"}))
    ports.table.update(Key("R#2", "#"), Change(remove=("gp", "gs")))
    ports.table.delete(Key("R#3", "#"))
    ports.table.put(item(pk="R#4", gp="f#2", gs="1"))
    found = [(one["pk"], one["gs"], one.get("en")) for one in ports.table.query_index("f#1")]
    assert found == [("R#1", "8", None), ("R#0", "0", 7)]
    assert [one["pk"] for one in ports.table.query_index("f#2")] == ["R#other", "R#4"]


def test_the_index_may_hold_equal_sort_keys(ports: Ports) -> None:
    """Two items of one instant are both listed."""
    ports.table.put(item(pk="R#a", gp="f#1", gs="1"))
    ports.table.put(item(pk="R#b", gp="f#1", gs="1"))
    assert {one["pk"] for one in ports.table.query_index("f#1")} == {"R#a", "R#b"}
