"""The table in memory: its model, its bill, its pages, its limits, its lock."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepbridge.core.conditions import (
    Absent,
    Below,
    Change,
    Condition,
    Item,
    Key,
    Present,
    Updated,
    changed,
    either,
    equals,
    holds,
)
from stepbridge.memory.billing import INDEX_PROJECTION, item_bytes
from stepbridge.memory.requests import Requests
from stepbridge.memory.table import ItemTooLargeError, MemoryTable

KEY = Key("R#1", "#")
KB = 1024


@pytest.fixture
def requests() -> Requests:
    """Nothing counted yet."""
    return Requests()


@pytest.fixture
def table(requests: Requests) -> MemoryTable:
    """An empty table."""
    return MemoryTable(requests)


def sized(size: int, sk: str = "#", **attributes: str | int) -> Item:
    """An item of exactly `size` bytes."""
    item: Item = {"pk": KEY.pk, "sk": sk, **attributes, "v": ""}
    return {**item, "v": "x" * (size - item_bytes(item))}


# -- the model -------------------------------------------------------------------------------------
KEYS = st.builds(Key, st.sampled_from(["R#1", "R#2", "W#a"]), st.sampled_from(["#", "S#1", "S#é", "S#𐐷"]))
VALUES = st.one_of(st.integers(-3, 3), st.text(max_size=3), st.binary(max_size=3))
ATTRIBUTES = st.dictionaries(st.sampled_from(["a", "b", "fn"]), VALUES)
LISTED = st.fixed_dictionaries(
    {}, optional={"gp": st.sampled_from(["f#0", "f#1"]), "gs": st.sampled_from(["1", "2", "22"])}
)
CONDITIONS: st.SearchStrategy[Condition] = st.sampled_from(
    [
        Present(),
        Absent(),
        Absent("a"),
        Below("a", 1),
        equals("b", 1),
        either(Absent(), Present("b")),
    ]
)
ITEMS = st.builds(lambda some, listed: {**some, **listed}, ATTRIBUTES, LISTED)
PUTS = st.tuples(st.just("put"), KEYS, ITEMS, CONDITIONS)
SETS = st.dictionaries(st.sampled_from(["a", "b", "gp", "gs"]), st.sampled_from(["1", "2", "f#0"]))
CHANGES = st.builds(Change, set=SETS, add=st.just({"n": 1}), remove=st.sampled_from([(), ("fn",)]))
UPDATES = st.tuples(st.just("update"), KEYS, CHANGES, CONDITIONS)
DELETES = st.tuples(st.just("delete"), KEYS, st.none(), st.none())


def apply(model: dict[Key, Item], verb: str, key: Key, what: Item | Change | None) -> None:
    """What a write does, said plainly."""
    match what:
        case None:
            model.pop(key, None)
        case Change():
            model[key] = changed(model.get(key, {"pk": key.pk, "sk": key.sk}), what)
        case _:
            model[key] = {**what, "pk": key.pk, "sk": key.sk}


def write(table: MemoryTable, key: Key, what: Item | Change | None, when: Condition | None) -> bool:
    """The same write on the table; whether it took place."""
    match what:
        case None:
            table.delete(key)
            return True
        case Change():
            return table.update(key, what, when or Present()).ok
        case _:
            return table.put({**what, "pk": key.pk, "sk": key.sk}, when or Present()) is None


def listed(model: dict[Key, Item], partition: str) -> list[Item]:
    """The index, said plainly."""
    entries: list[Item] = [
        {name: item[name] for name in INDEX_PROJECTION if name in item}
        for item in model.values()
        if item.get("gp") == partition and "gs" in item
    ]
    return sorted(entries, key=lambda one: (one["gs"], one["pk"], one["sk"]))


@given(st.lists(PUTS | UPDATES | DELETES, max_size=30))
def test_the_table_is_a_dict_that_is_asked_first(
    writes: list[tuple[str, Key, Item | Change | None, Condition | None]],
) -> None:
    """Any writes leave what a plain dict would hold, in every reading of it."""
    table, model = MemoryTable(Requests()), dict[Key, Item]()
    for verb, key, what, when in writes:
        taken = what is None or holds(when or Present(), model.get(key))
        assert write(table, key, what, when) == taken
        if taken:
            apply(model, verb, key, what)
    for pk in ("R#1", "R#2", "W#a"):
        items = [model[key] for key in sorted(model, key=lambda key: key.sk.encode()) if key.pk == pk]
        assert list(table.query(pk)) == items
    for partition in ("f#0", "f#1", "1"):
        entries = listed(model, partition)
        assert table.query_index(partition, newest_first=False) == entries
        assert table.query_index(partition) == entries[::-1]
    assert all(table.get(key) == item for key, item in model.items())


# -- sizes -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"pk": "ab", "sk": "c"}, 7),
        ({"é": "ü€"}, 7),
        ({"b": b"\xff" * 10}, 11),
        ({"n": 0}, 2),
        ({"n": 7}, 3),
        ({"n": 1_000_000}, 3),
        ({"n": 123}, 4),
        ({"n": 1735689600123}, 9),
    ],
    ids=repr,
)
def test_an_item_weighs_what_dynamodb_says(item: Item, size: int) -> None:
    """UTF-8 of names and values; a number takes a byte for two digits, and one."""
    assert item_bytes(item) == size


# -- the bill --------------------------------------------------------------------------------------
@pytest.mark.parametrize(("size", "units"), [(20, 1), (KB, 1), (KB + 1, 2), (10 * KB, 10)])
def test_a_put_is_billed_by_the_kilobyte(table: MemoryTable, requests: Requests, size: int, units: int) -> None:
    """Rounded up."""
    table.put(sized(size))
    assert (requests["PutItem"], requests.write_units) == (1, units)


def test_a_smaller_item_is_billed_as_the_one_it_replaces(table: MemoryTable, requests: Requests) -> None:
    """The larger of before and after, for puts and updates."""
    table.put(sized(5 * KB))
    before = requests.snapshot()
    table.put(sized(100))
    assert requests.since(before).write_units == 5
    table.put(sized(5 * KB))
    before = requests.snapshot()
    table.update(KEY, Change(set={"v": ""}))
    assert requests.since(before).write_units == 5


def test_an_update_is_billed_on_the_whole_item(table: MemoryTable, requests: Requests) -> None:
    """However little of it changed."""
    table.put(sized(3 * KB))
    before = requests.snapshot()
    table.update(KEY, Change(add={"n": 1}))
    since = requests.since(before)
    assert (since["UpdateItem"], since.write_units) == (1, 4)


def test_a_refused_write_is_billed_as_if_it_were_done(table: MemoryTable, requests: Requests) -> None:
    """On the larger of the standing and the offered item; one unit where there is neither."""
    table.put(sized(2 * KB))
    before = requests.snapshot()
    table.put(sized(100), Absent())
    assert requests.since(before).write_units == 2
    table.put(sized(3 * KB), Absent())
    assert requests.since(before).write_units == 5
    table.update(KEY, Change(set={"a": 1}), Absent())
    assert requests.since(before).write_units == 8
    table.update(Key("R#none", "#"), Change(set={"a": 1}), Present())
    assert requests.since(before).write_units == 9


def test_a_delete_is_billed_on_what_it_deleted(table: MemoryTable, requests: Requests) -> None:
    """One unit where there was nothing."""
    table.put(sized(3 * KB))
    before = requests.snapshot()
    table.delete(KEY)
    assert requests.since(before).write_units == 3
    table.delete(KEY)
    since = requests.since(before)
    assert (since["DeleteItem"], since.write_units) == (2, 4)


@pytest.mark.parametrize(("size", "units"), [(20, 1), (4 * KB, 1), (4 * KB + 1, 2)])
def test_a_get_is_billed_by_four_kilobytes(table: MemoryTable, requests: Requests, size: int, units: int) -> None:
    """Strongly consistent, rounded up."""
    table.put(sized(size))
    table.get(KEY)
    assert (requests["GetItem"], requests.read_units) == (1, units)


def test_reading_nothing_costs_a_unit(table: MemoryTable, requests: Requests) -> None:
    """A `GetItem` and a `Query` alike."""
    table.get(KEY)
    list(table.query(KEY.pk))
    assert (requests["GetItem"], requests["Query"], requests.read_units) == (1, 1, 2)


def test_a_query_is_billed_on_the_sum_of_its_page(table: MemoryTable, requests: Requests) -> None:
    """Not on each item rounded up."""
    for number in range(40):
        table.put(sized(200, f"S#{number:02}"))
    list(table.query(KEY.pk))
    assert (requests["Query"], requests.read_units) == (1, 2)


# -- the index's bill ------------------------------------------------------------------------------
def test_an_entry_of_the_index_costs_a_unit_when_it_appears(table: MemoryTable, requests: Requests) -> None:
    """By its projected attributes alone, however large the item."""
    table.put(sized(3 * KB, gp="f#0", gs="1"))
    assert requests.write_units == 3 + 1


def test_an_item_with_half_a_list_key_is_not_in_the_index(table: MemoryTable, requests: Requests) -> None:
    """Both `gp` and `gs` make an entry."""
    table.put(sized(100, gp="f#0"))
    assert requests.write_units == 1
    assert table.query_index("f#0") == []


@pytest.mark.parametrize(
    ("change", "units"),
    [
        (Change(set={"v": "other"}), 1),
        (Change(set={"gs": "1"}), 1),
        (Change(set={"en": 1}), 2),
        (Change(set={"gs": "2"}), 3),
        (Change(set={"gp": "f#1"}), 3),
        (Change(remove=("gs",)), 2),
    ],
    ids=repr,
)
def test_an_entry_of_the_index_costs_by_what_changes(
    table: MemoryTable, requests: Requests, change: Change, units: int
) -> None:
    """Nothing, an attribute, the key (two: it moves), its end; on top of the item's one unit."""
    table.put(sized(100, gp="f#0", gs="1"))
    before = requests.snapshot()
    table.update(KEY, change)
    assert requests.since(before).write_units == units


def test_an_entry_of_the_index_costs_a_unit_when_its_item_goes(table: MemoryTable, requests: Requests) -> None:
    """On top of the delete."""
    table.put(sized(100, gp="f#0", gs="1"))
    before = requests.snapshot()
    table.delete(KEY)
    assert requests.since(before).write_units == 2


def test_the_index_is_read_at_half_price(table: MemoryTable, requests: Requests) -> None:
    """It is eventually consistent, and billed on the entries."""
    for number in range(10):
        table.put(sized(3 * KB, f"S#{number}", gp="f#0", gs=f"{number}"))
    table.query_index("f#0")
    assert (requests["Query"], requests.read_units) == (1, 0.5)


# -- pages -----------------------------------------------------------------------------------------
def test_a_page_is_asked_for_when_it_is_read(table: MemoryTable, requests: Requests) -> None:
    """Who stops after the first items pays for one page; 1 MB is 256 units."""
    for number in range(12):
        table.put(sized(256 * KB, f"S#{number:02}"))
    found = table.query(KEY.pk)
    assert requests["Query"] == 0
    for _ in range(4):
        next(found)
    assert (requests["Query"], requests.read_units) == (1, 256)
    next(found)
    assert (requests["Query"], requests.read_units) == (2, 512)
    assert len(list(found)) == 7
    assert (requests["Query"], requests.read_units) == (3, 768)


def test_a_later_page_sees_what_was_written_meanwhile(table: MemoryTable) -> None:
    """A query is no snapshot: each page reads what stands then."""
    for number in range(5):
        table.put(sized(300 * KB, f"S#{number}"))
    found = table.query(KEY.pk)
    first = next(found)
    table.delete(Key(KEY.pk, "S#3"))
    table.put(sized(50, "S#9"))
    assert [first["sk"], *(item["sk"] for item in found)] == ["S#0", "S#1", "S#2", "S#4", "S#9"]


# -- limits ----------------------------------------------------------------------------------------
def test_an_item_above_400_kb_is_refused(table: MemoryTable, requests: Requests) -> None:
    """Put or grown; what stood before stands, and nothing is billed."""
    table.put(sized(400 * KB))
    before = requests.snapshot()
    with pytest.raises(ItemTooLargeError, match="R#1/#"):
        table.put(sized(400 * KB + 1))
    with pytest.raises(ItemTooLargeError):
        table.update(KEY, Change(set={"a": 1}))
    assert not requests.since(before)
    assert table.get(KEY) == sized(400 * KB)


@pytest.mark.parametrize(
    "bad",
    [
        {"sk": "#"},
        {"pk": "R#1"},
        {"pk": "", "sk": "#"},
        {"pk": "R#1", "sk": ""},
        {"pk": "x" * 2049, "sk": "#"},
        {"pk": "R#1", "sk": "é" * 513},
        {"pk": "R#1", "sk": 7},
        {"pk": "R#1", "sk": "#", "gp": ""},
        {"pk": "R#1", "sk": "#", "gs": 7},
    ],
    ids=lambda bad: repr(bad)[:40],
)
def test_a_key_that_dynamodb_refuses_is_refused(table: MemoryTable, bad: Item) -> None:
    """1 to 2048 bytes of text for a partition, 1 to 1024 for a sort key; so for the index."""
    with pytest.raises(ValueError, match="bytes of text"):
        table.put(bad)


def test_the_longest_keys_are_taken(table: MemoryTable) -> None:
    """At the limit, in bytes."""
    key = Key("é" * 1024, "é" * 512)
    table.put({"pk": key.pk, "sk": key.sk})
    assert table.get(key) == {"pk": key.pk, "sk": key.sk}


@pytest.mark.parametrize(
    "change",
    [
        Change(set={"a": 1}, add={"a": 1}),
        Change(set={"a": 1}, remove=("a",)),
        Change(set={"pk": "R#2"}),
        Change(remove=("sk",)),
    ],
    ids=repr,
)
def test_a_change_that_dynamodb_refuses_is_refused(table: MemoryTable, change: Change) -> None:
    """An attribute is named once, and the key is not changed."""
    with pytest.raises(ValueError, match="change"):
        table.update(KEY, change)
    assert table.get(KEY) is None


def test_an_empty_change_answers_with_the_item(table: MemoryTable) -> None:
    """As it is, or as it is made."""
    bare: Item = {"pk": KEY.pk, "sk": KEY.sk}
    assert table.update(KEY, Change()) == Updated(ok=True, item=bare)
    assert table.get(KEY) == bare


# -- threads ---------------------------------------------------------------------------------------
def test_one_of_many_threads_wins_a_register(table: MemoryTable, requests: Requests) -> None:
    """A condition and its write are one; the losers are given the winner's item."""
    items: list[Item] = [{"pk": "R#1", "sk": "S#1", "v": number} for number in range(64)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda item: table.put(item, Absent()), items))
    (winner,) = [item for item, answer in zip(items, answers, strict=True) if answer is None]
    assert [answer for answer in answers if answer is not None] == [winner] * 63
    assert (requests["PutItem"], requests.write_units) == (64, 64)


def test_no_sum_of_many_threads_is_lost(table: MemoryTable) -> None:
    """Updates of one item are one after the other."""
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: table.update(KEY, Change(add={"n": 1})), range(200)))
    assert table.get(KEY) == {"pk": "R#1", "sk": "#", "n": 200}
