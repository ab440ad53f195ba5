import sys
from collections.abc import Mapping
from typing import Any

import pytest
from cel_expr_python import cel
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stepbridge.core import cel_library
from stepbridge.core.cel_ast import decode
from stepbridge.core.expression import (
    MAX_CHARACTERS,
    MISSING,
    Arm,
    Expression,
    canonical,
    compile_expression,
    prune,
    value_at,
)
from stepbridge.errors import ConfigError

Event = dict[str, Any]

TRIGGER: Event = {
    "name": "order/created",
    "id": "e-1",
    "ts": 1_700_000_000_000,
    "source": "shop",
    "data": {
        "orderId": "o-1",
        "n": 7,
        "half": 0.5,
        "nil": None,
        "yes": True,
        "big": 10**30,
        "tags": ["a", "b"],
        "items": [{"sku": "x", "count": 2}, {"sku": "y"}],
        "nested": {"a": {"b": 1}},
    },
}
CANDIDATE: Event = {
    "name": "payment/completed",
    "id": "e-2",
    "ts": 1_700_000_000_001,
    "source": "bank",
    "data": {
        "orderId": "o-1",
        "n": 7.0,
        "text": "7",
        "nil": None,
        "yes": True,
        "big": 1e30,
        "huge": 10**30,
        "hi": "héllo",
        "nul": "a\0b",
        "items": [1, 2, 3],
        "at": "2026-06-01T00:00:00Z",
        "a.b": 1,
    },
}


def both(text: str) -> Expression:
    """The expression of a wait."""
    return compile_expression(text, variables=("event", "async"))


def matches(text: str, event: Event = TRIGGER, candidate: Event = CANDIDATE) -> bool:
    """Whether the candidate satisfies the expression."""
    return both(text).evaluate({"event": event, "async": candidate})


# -- meaning ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "text",
    [
        "async.data.orderId == event.data.orderId",
        "async.data.n == event.data.n",
        "async.data.n == 7 && async.data.n == 7.0 && async.data.n == 7u",
        "async.data.n in [1, 7]",
        "event.data.n in [7.0]",
        "event.data.n > 6.5 && 6.5 < event.data.n && event.data.n <= 7.0 && event.data.n >= async.data.n",
        "async.data.huge == event.data.big && async.data.huge > async.data.n",
        "async['data']['n'] == 7 && async.data['n'] == 7 && async['data'].n == 7",
        "async.data.items[0] == 1 && async.data.items[1.0] == 2",
        "async.data.yes",
        "async.data.yes ? async.data.n == 7 : async.data.gone",
        "async.ts > event.ts && event.name != async.name && async.source == 'bank'",
        "async.data == async.data && event != async",
        "event.data.nested == {'a': {'b': 1.0}}",
        "[1, 'a', null] == [1.0, 'a', null]",
        "async.data.`a.b` == 1",
        "{'k': async.data.n}.k == 7 && {1: 'one'}[event.data.n - 6] == 'one'",
        "'orderId' in async.data && !('gone' in async.data)",
        "size(async.data.items) == 3 && async.data.hi.size() == 5 && size(event.data) == 9",
        "size(b'abc') == 3 && dyn(async.data.n) == 7",
    ],
)
def test_fields_are_read_and_compared_by_value(text: str) -> None:
    """Dots and brackets read alike; a number is its value, whatever its type or size."""
    assert matches(text)


@pytest.mark.parametrize(
    "text",
    [
        "async.data.text == 7",
        "async.data.text == async.data.n",
        "async.data.yes == 1",
        "async.data.nil == 0",
        "async.data.nil == ''",
        "async.data.big == async.data.huge",
        "async.data.text > 6",
        "async.data.yes > false && async.data.yes > 0",
        "async.data.items == 1",
        "async.data.items == [1, 2]",
        "async.data.items == [1, 2, 4]",
        "event.data.nested == {'a': {'c': 1}}",
        "async.data.text in [7]",
        "7 in async.data",
    ],
)
def test_nothing_is_coerced(text: str) -> None:
    """Text is no number, true is not 1, null is neither zero nor empty."""
    assert not matches(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("async.data.gone == 1", False),
        ("async.data.gone != 1", True),
        ("async.data.gone == null", True),
        ("null == async.data.gone", True),
        ("async.data.gone != null", False),
        ("async.data.gone == event.data.nil", True),
        ("event.data.nil == async.data.gone", True),
        ("async.data.gone == event.data.gone", False),
        ("async.data.gone != event.data.gone", True),
        ("async.data.gone == async.data.lost", False),
        ("event.data.gone == null", True),
        ("async.data.nil == event.data.gone", False),
        ("async.data.orderId == event.data.gone", False),
        ("async.data.nil == null && async.data.nil == event.data.nil", True),
        ("async.gone.deeper.still == null", True),
        ("async.data.text.below == null", True),
        ("async.data.items[9] == null", True),
        ("async.data.items[-1] == null", True),
        ("async.data.items['n'] == null", True),
        ("async.data['gone']['too'] == 1", False),
        ("async.data[event.data.orderId] == null", True),
        ("async.data.gone > 1", False),
        ("!(async.data.gone > 1)", False),
        ("async.data.gone in [null]", False),
        ("size(async.data.gone) == 0", False),
        ("[async.data.gone] == [null]", False),
        ("async.data[event.data.gone] == null", False),
        ("async.data.gone", False),
        ("!async.data.gone", False),
        ("async.data.gone ? true : true", False),
        ("event.data.items.exists(i, i.count == 2)", True),
        ("event.data.items.exists(i, i.count == null)", True),
        ("event.data.items.all(i, i.count != 3)", True),
    ],
)
def test_an_absent_field_equals_nothing_but_null(text: str, *, expected: bool) -> None:
    """`==` false, `!=` true, `== null` true, all else no match; two absent fields never match."""
    assert matches(text) is expected


def test_in_a_trigger_the_event_is_the_candidate() -> None:
    """With `event` alone its absent fields equal any null."""
    trigger = compile_expression("event.data.gone == event.data.nil", variables=("event",))
    assert trigger.evaluate({"event": TRIGGER})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("false && async.data.gone > 1", False),
        ("true || async.data.gone > 1", True),
        ("async.data.gone > 1 || true", True),
        ("!(async.data.gone > 1 && false)", True),
        ("!(async.data.gone > 1 || false)", False),
        ("async.data.n || true", True),
        ("async.data.n && true", False),
        ("[0, 1].exists(i, 1 / i == 1)", True),
        ("[0, 1].exists(i, 1 / i == 2)", False),
        ("![0, 1].all(i, 1 / i == 2)", True),
        ("[0, 1].all(i, 1 / i == 1)", False),
        ("[0].map(i, 1 / i) == []", False),
    ],
)
def test_errors_are_absorbed_as_in_cel(text: str, *, expected: bool) -> None:
    """A deciding operand wins over an error on either side; an error that is left is no match."""
    assert matches(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("has(async.data.n) && has(async.data.nil)", True),
        ("has(async.data.gone)", False),
        ("!has(async.data.gone)", True),
        ("!has(async.gone.deeper)", False),
        ("!has(async.data.text.below)", False),
    ],
)
def test_has_tells_whether_a_field_is_there(text: str, *, expected: bool) -> None:
    """A null is there; of something that is not an object it is an error, as in CEL."""
    assert matches(text) is expected


@pytest.mark.parametrize(
    "text",
    [
        "event.data.items.exists(i, i.sku == 'y')",
        "event.data.items.exists_one(i, i.sku == 'x')",
        "event.data.items.map(i, i.sku) == ['x', 'y']",
        "event.data.items.map(i, has(i.count), i.sku) == ['x']",
        "event.data.items.filter(i, has(i.count)).size() == 1",
        "event.data.nested.all(key, key == 'a')",
        "event.data.tags.map(a, async.data.items.map(b, a + string(int(b))))[1] == ['b1', 'b2', 'b3']",
        "event.data.tags.map(event, event) == event.data.tags",
        "async.data.items.filter(i, i > 1).map(i, i * 2).exists(i, i == 6)",
        "event.data.tags + ['c'] == ['a', 'b', 'c']",
        "async.data.hi.startsWith('h') && async.data.hi.endsWith('o') && async.data.hi.contains('él')",
        "async.data.hi.matches('^h.l+o$')",
        "async.data.hi + '!' == 'héllo!'",
        "event.data.n * 2 - 1 == 13 && event.data.n % 4 == 3 && -event.data.n == -7",
        "event.data.n / 2 == 3 && event.data.half / 2.0 == 0.25",
        "int(async.data.text) == 7 && double('1.5') == 1.5 && string(event.data.n) == '7'",
        "timestamp(async.data.at) + duration('36h') == timestamp('2026-06-02T12:00:00Z')",
        "timestamp(async.data.at) - timestamp('2026-05-31T00:00:00Z') > duration('23h')",
        "timestamp(async.data.at).getMonth() == 5 && timestamp(async.data.at).getHours('Asia/Tokyo') == 9",
        "type(async.data.n) == double && type(async.data) == map && type(async.data.items) == list",
        "type(timestamp(async.data.at)) == google.protobuf.Timestamp",
        "b'a' + b'b' == b'ab' && b'a' < b'b' && 'a' < 'b' && false < true",
        "async.data.nul.endsWith('b') && async.data.nul.size() == 3",
    ],
)
def test_the_functions_and_macros_of_cel_are_there(text: str) -> None:
    """Macros, text, arithmetic, conversions, time and types are CEL's own."""
    assert matches(text)


@pytest.mark.parametrize(
    "text",
    [
        "event.data.big + 1 > 0",
        "event.data.n + 9223372036854775807 > 0",
        "event.data.n / 0 == 0",
        "async.data.hi.matches('(')",
        "async.data.nul.matches('a')",
        "async.data.hi + async.data.n == 'héllo7'",
        "async.data.text.exists(i, true)",
        "{async.data.half: 1} == {}",
        "type(type(async.data.n)) == type",
        "int('x') == 1",
        "'text'",
        "1 + 1",
        "async.data.orderId",
        "null",
    ],
)
def test_what_has_no_boolean_value_is_no_match(text: str) -> None:
    """Overflow, a wrong type, a bad pattern, a result other than true: false, never an exception."""
    assert not matches(text)


def test_text_that_utf8_cannot_carry_is_compared_all_the_same() -> None:
    """A lone surrogate is equal to itself; what only the library can do with it is no match."""
    event = {"data": {"s": "\ud800"}}
    assert matches("event.data.s == async.data.s", event, event)
    assert not matches("event.data.s.matches('.')", event, event)


def test_what_is_not_given_is_no_match() -> None:
    """A variable without a value is an error, hence false."""
    assert not both("async.data.n == 1").evaluate({"event": TRIGGER})


# -- bounds ----------------------------------------------------------------------------------------
def test_values_of_any_depth_are_compared() -> None:
    """Nesting far beyond Python's recursion limit neither crashes nor misleads."""
    deep: Any = []
    deeper: Any = [1]
    for _ in range(5000):
        deep, deeper = [deep], [deeper]
    left, right = {"data": {"v": deep}}, {"data": {"v": deeper}}
    assert matches("async.data.v == event.data.v", left, left)
    assert not matches("async.data.v == event.data.v", left, right)
    assert canonical(deep) != canonical(deeper)


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "async.data.v.exists(i, async.data.v.exists(j, i == -j - 1))",
        "async.data.v.map(i, async.data.v + async.data.v) == []",
        "async.data.v.all(i, !(-1 in async.data.v))",
        "async.data.v.all(i, async.data.v == async.data.v)",
        "async.data.v.all(i, async.data.s.contains('b') || async.data.s.matches('b') || true)",
    ],
)
def test_work_that_grows_beyond_bounds_ends_as_no_match(text: str) -> None:
    """What a large event multiplies stops after a fixed number of steps."""
    large = {"data": {"v": list(range(100_000)), "s": "a" * 100_000}}
    assert not matches(text, candidate=large)
    assert both(f"event.data.n == 7 && {text}").arms(TRIGGER) is None


@pytest.mark.slow
def test_a_macro_over_a_whole_event_stays_within_bounds() -> None:
    """An event of the largest size is searched to its last item."""
    large = {"data": {"v": [*range(130_000), "last"]}}
    assert matches("async.data.v.exists(i, i == 'last')", candidate=large)
    assert matches("async.data.v.filter(i, i != 'last').size() == 130000", candidate=large)


@pytest.mark.slow
def test_arms_are_unknown_when_the_event_side_is_beyond_bounds() -> None:
    """A term that cannot be computed in time restricts nothing."""
    large = {"data": {"v": list(range(100_000))}}
    text = "async.data.n == size(event.data.v.filter(i, event.data.v.exists(j, j == -1)))"
    assert both(text).arms(large) is None


# -- declaring -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "if_exp is ''"),
        ("   ", "if_exp is '   '"),
        (None, "if_exp is None"),
        ("event.data.", "at line 1, column 12: Syntax error"),
        ("event.ts > 1 &&\n  event.ts <", "at line 2, column 13: Syntax error"),
        ("foo.bar == 1", r"'foo.bar' is neither a variable \(event and async\) nor a function"),
        ("event.ts > now()", "'now' is neither a variable"),
        ("1 == 'a'", "at line 1, column 3: found no matching overload"),
        ("event.ts == 99999999999999999999", "invalid int literal"),
        ("event.?data == 1", "unsupported syntax"),
        ("event.data.s == '\ud800'", "surrogates not allowed"),
        ("event.ts == 1\0", "column 14"),
        ("google.protobuf.Int64Value{value: 1} == 1", "messages such as google.protobuf.Int64Value"),
        ("x" * (MAX_CHARACTERS + 1), f"has {MAX_CHARACTERS + 1} characters, {MAX_CHARACTERS} are"),
        ("(" * 500 + "true" + ")" * 500, "is not valid: Expression recursion limit exceeded"),
        ("+".join(["1"] * 500) + " == 500", "is not valid: Exceeded max recursion depth of 32"),
        ("[1].all(a, [1].all(b, [1].all(c, a == b)))", "macros are nested deeper than 2 levels"),
    ],
)
def test_a_wrong_expression_is_refused_with_position_and_reason(text: str, why: str) -> None:
    """A ConfigError when it is declared, not a run that never matches."""
    with pytest.raises(ConfigError, match=f"{why}(.|\n)* Mend: "):
        both(text)


def test_a_trigger_cannot_read_the_candidate() -> None:
    """Only the variables that there are can be named."""
    with pytest.raises(ConfigError, match=r"neither a variable \(event\)"):
        compile_expression("async.data.n == 1", variables=("event",))


@pytest.mark.parametrize("text", ["&&".join(f"event.ts!={n}" for n in range(280)), "!" * 4000 + "true"])
def test_a_long_expression_is_not_a_deep_one(text: str) -> None:
    """Chains of `&&` are balanced by the parser and doubled negations dropped: both are fine."""
    assert matches(text)


def test_expressions_are_compiled_once() -> None:
    """The same text gives the same object."""
    assert both("event.ts > 0") is both("event.ts > 0")


def test_without_the_library_the_mend_is_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named in the error."""
    cel_library.library.cache_clear()
    cel_library.environment.cache_clear()
    monkeypatch.setitem(sys.modules, "cel_expr_python.cel", None)
    with pytest.raises(ConfigError, match=r'pip install "stepbridge\[cel\]"'):
        both("event.ts > 12345")


@pytest.mark.parametrize(
    ("wire", "why"),
    [
        ("", "serialised form is not the one known"),
        ("1204 2202 0801", "a form that is not supported"),
        ("120b 2209 1a07 4205 0000000000", "a literal that is not supported"),
        ("1209 2207 0d00000000 1001", "a form that is not supported"),
    ],
)
def test_an_unknown_tree_is_refused(wire: str, why: str) -> None:
    """A form that a later library may write is an error at import, not a wrong match."""
    with pytest.raises(ValueError, match=why):
        decode(bytes.fromhex(wire))


def field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    size = len(data)
    return bytes([number << 3 | 2, size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + data


def test_a_tree_deeper_than_any_parsed_one_is_refused() -> None:
    """Should a later parser allow more, our recursion stays bounded."""
    tree = field(4, field(1, b"event"))
    for _ in range(101):
        tree = field(5, field(1, tree) + field(2, b"a"))
    with pytest.raises(ValueError, match="nested deeper than 100 levels"):
        decode(field(2, field(4, tree)))


# -- the index -------------------------------------------------------------------------------------
def arm(**terms: object) -> Arm:
    """An arm over fields of `data`."""
    pairs = sorted((f"data.{name}", value) for name, value in terms.items())
    return Arm(tuple(path for path, _ in pairs), tuple(value for _, value in pairs))  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "arms"),
    [
        ("async.data.id == event.data.orderId", (arm(id="o-1"),)),
        ("event.data.orderId == async.data['id']", (arm(id="o-1"),)),
        ("async.data.id == 7", (arm(id=7),)),
        ("async.data.id == event.data.n + 1", (arm(id=8),)),
        ("async.data.b == true && async.data.a == 'x' && async.data.c > 1", (arm(a="x", b=True),)),
        ("async.data.a == null", (arm(a=None),)),
        ("async.data.a == 1 || async.data.b == 2", (arm(a=1), arm(b=2))),
        ("async.data.a in [1, 'x', 1.0]", (arm(a=1), arm(a="x"))),
        ("async.data.a in event.data.tags", (arm(a="a"), arm(a="b"))),
        ("async.data.a in {'k': 1}", (arm(a="k"),)),
        (
            "async.data.a in [1, 2] && (async.data.b == 3 || async.data.c == 4)",
            (arm(a=1, b=3), arm(a=1, c=4), arm(a=2, b=3), arm(a=2, c=4)),
        ),
        ("async.data.a == 1 && async.data.a == 1.0", (arm(a=1),)),
        ("async.data.a == 1 && async.data.a == 2", ()),
        ("async.data.a == event.data.gone", ()),
        ("async.data.a == 1 / 0", ()),
        ("async.data.a == 1 && event.data.n == 8", ()),
        ("async.data.a == 1 && event.data.n == 7", (arm(a=1),)),
        ("async.data.a == 1 && (event.data.n == 8 || async.data.b == 2)", (arm(a=1, b=2),)),
        ("async.data.a == 1 || event.data.gone > 1", (arm(a=1),)),
        ("async.data.a in []", ()),
        ("async.data.a in event.data.gone", ()),
        ("async.data.a in event.data.n", ()),
        ("false", ()),
        ("async.data.a[0] == 1", (Arm(("data.a.0",), (1,)),)),
        ("async.data.a in [1] && async.data.b in [" + "1, " * 20 + "2]", (arm(a=1, b=1), arm(a=1, b=2))),
    ],
)
def test_equalities_become_arms(text: str, arms: tuple[Arm, ...]) -> None:
    """Each way to be true gives the values that a candidate must have; no way gives no arm."""
    assert both(text).arms(TRIGGER) == arms


@pytest.mark.parametrize(
    "text",
    [
        "true",
        "async.data.a > 1",
        "async.data.a != 1",
        "!(async.data.a == 1)",
        "async.data.a == 1 || async.data.b > 1",
        "async.data.a == 1 || event.data.n == 7",
        "async.data.a == async.data.b",
        "async.data.a == [1]",
        "async.data.a == event.data.nested",
        "async.data.a in [[1]]",
        "async.data.a in async.data.b",
        "async.data.a == b'x'",
        "async == {'a': 1}",
        "async.data.`a.b` == 1",
        "async.data[''] == 1",
        "async.data[event.data.orderId] == 1",
        "async.data.a[0] == null",
        "async.data.a['0'] == null",
        "async.data.a.size() == 1",
        "async.data.a ? async.data.b == 1 : async.data.b == 1",
        "async.data.a in [" + ", ".join(map(str, range(33))) + "]",
        " || ".join(f"async.data.a == {n}" for n in range(33)),
    ],
)
def test_without_a_required_equality_every_candidate_is_looked_at(text: str) -> None:
    """None where the index cannot help: no equality, not a scalar, not a plain path, too many arms."""
    assert both(text).arms(TRIGGER) is None


def test_terms_beyond_the_cap_are_left_out() -> None:
    """What would make more than 32 arms restricts less: the smaller terms stay."""
    many = ", ".join(map(str, range(20)))
    expression = both(f"async.data.a in [{many}] && async.data.b in [{many}] && async.data.c == 1")
    arms = expression.arms(TRIGGER)
    assert arms == tuple(arm(a=n, c=1) for n in range(20))


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("async.data.a == event.data.orderId", ("data.orderId",)),
        ("event.data.b == event.data.a.c && event.ts > 1", ("data.a.c", "data.b", "ts")),
        ("event.data.a == event.data.a.b", ("data.a",)),
        ("has(event.data.a)", ("data.a",)),
        ("event.data.items[0].sku == 'x'", ("data.items",)),
        ("event.data[async.data.key].x == 1", ("data",)),
        ("event.data.`a.b`.c == 1", ("data",)),
        ("event == async", ("",)),
        ("event.data.a == 1 && size(event) == 5", ("",)),
        ("event.data.a.exists(i, i == event.data.b)", ("data.a", "data.b")),
        ("async.data.a == 1", ()),
    ],
)
def test_the_paths_read_of_the_event_are_known(text: str, paths: tuple[str, ...]) -> None:
    """A stored wait keeps these of its trigger and no more."""
    assert both(text).event_paths == paths


def test_pruning_keeps_what_stands_around_the_paths() -> None:
    """Objects on the way stay, even empty; what is not an object stays whole."""
    event = {"name": "n", "data": {"a": {"b": 1, "c": 2}, "l": [{"x": 1}], "s": "text"}}
    assert prune(event, ("data.a.b",)) == {"data": {"a": {"b": 1}}}
    assert prune(event, ("data.a.gone", "gone.too")) == {"data": {"a": {}}}
    assert prune(event, ("data.l.x", "data.s.x")) == {"data": {"l": [{"x": 1}], "s": "text"}}
    assert prune(event, ("data", "data.a.b", "name")) == event
    assert prune(event, ("",)) == event
    assert prune(event, ()) == {}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "order/created"),
        ("data.n", 7),
        ("data.nil", None),
        ("data.items.1.sku", "y"),
        ("data.gone", MISSING),
        ("data.items.9", MISSING),
        ("data.items.x", MISSING),
        ("data.items." + "9" * 5000, MISSING),
        ("data.n.x", MISSING),
        ("gone.too", MISSING),
        ("", MISSING),
    ],
)
def test_a_value_is_found_by_its_path(path: str, value: object) -> None:
    """Dotted keys, digits as the index of a list; what is not there is told apart from null."""
    assert value_at(TRIGGER, path) == value


# -- laws ------------------------------------------------------------------------------------------
KEYS = ("a", "b", "l", "0", "a.b")
SIMPLE = st.sampled_from([None, True, 1, 1.0, 2, "a", "1"])
NUMBERS = st.sampled_from([0, -1, -0.0, 0.5, 1e30, 10**30, 2**53, 2**53 + 1, float(2**53)])
JSON = st.recursive(
    SIMPLE | SIMPLE | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.fixed_dictionaries({"a": SIMPLE, "b": SIMPLE | JSON, "l": st.lists(SIMPLE, max_size=3)})
DATA = OBJECTS | OBJECTS | st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4) | st.none()
EVENTS = st.fixed_dictionaries({"name": st.just("n"), "ts": st.integers(0, 2), "data": DATA})
LITERALS = st.sampled_from(["null", "true", "1", "1.0", "2u", "'a'", "'1'", "''"])
SELECTORS = st.sampled_from([".a", ".b", ".l", "['a']", "['0']", "[0]", "['a.b']", ".l[0]"])
ROOTS = st.sampled_from(["async.data", "async", "event.data", "event"])
COMMON = st.sampled_from(["async.data.a", "async.data.b", "async.data.l[0]", "event.data.a", "event.data.b"])
RARE = st.builds(lambda root, keys: root + "".join(keys), ROOTS, st.lists(SELECTORS, max_size=2))
FIELDS = COMMON | COMMON | COMMON | RARE
OPERANDS = st.one_of(
    FIELDS,
    FIELDS,
    LITERALS.map("dyn({})".format),
    st.builds("async.data[{}]".format, FIELDS),
    st.builds("size({})".format, FIELDS),
    st.builds("({} + {})".format, FIELDS, LITERALS),
)
LISTS = st.lists(LITERALS, max_size=3).map(lambda items: f"[{', '.join(items)}]")
COMPARISONS = st.one_of(
    st.builds("{} == {}".format, FIELDS, LITERALS),
    st.builds("{1} {2} {0}".format, OPERANDS, OPERANDS, st.sampled_from(["==", "==", "!=", "<", ">="])),
    st.builds("{} in {}".format, FIELDS, LISTS | FIELDS),
    st.builds("has({}.a)".format, FIELDS),
    st.builds("{}.exists(i, i == {})".format, FIELDS, OPERANDS),
    st.builds("{}.all(i, i.a != {})".format, FIELDS, OPERANDS),
    st.builds("{}.exists_one(i, i > {})".format, FIELDS, LITERALS),
    st.builds("{}.filter(i, i != null).map(i, i) == {}".format, FIELDS, FIELDS),
    FIELDS,
)
TERMS = st.one_of(
    st.builds("{} == {}".format, COMMON, COMMON | LITERALS.map("dyn({})".format)),
    st.builds("{1} == {0}".format, COMMON, FIELDS),
    st.builds("{} in {}".format, COMMON, LISTS),
)
JOINTS = st.sampled_from(["({} && {})", "({} && {})", "({} || {})"])


def joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Two expressions joined by `&&` or `||`."""
    return st.builds(str.format, JOINTS, parts, parts)


EXPRESSIONS = st.recursive(
    COMPARISONS | TERMS,
    lambda inner: st.one_of(
        joined(inner),
        joined(inner),
        st.builds("!({})".format, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
    ),
    max_leaves=5,
)
INDEXED = st.recursive(TERMS | TERMS | COMPARISONS, joined, max_leaves=4)


def compiled(text: str) -> Expression:
    """The expression; a draw that CEL's types refuse is thrown away."""
    try:
        return both(text)
    except ConfigError:
        assume(False)  # noqa: FBT003
        raise


def is_error(value: cel.Value) -> bool:
    """Whether the library has no answer: it rejects absent fields and large numbers."""
    return bool(value.type() == cel.Type.ERROR)


def is_found(arms: tuple[Arm, ...] | None, candidate: Mapping[str, object]) -> bool:
    """Whether the index leads from the candidate to the wait."""
    return arms is None or any(
        all(
            canonical(value_at(candidate, path)) == canonical(value)
            for path, value in zip(arm.paths, arm.values, strict=True)
        )
        for arm in arms
    )


@settings(max_examples=5 * settings().max_examples)
@given(text=INDEXED | EXPRESSIONS, event=EVENTS, candidate=EVENTS)
def test_the_index_never_misses_a_match(text: str, event: Event, candidate: Event) -> None:
    """Whatever is true of a candidate, some arm has the candidate's values."""
    expression = compiled(text)
    matched = expression.evaluate({"event": event, "async": candidate})
    assert is_found(expression.arms(event), candidate) >= matched


@settings(max_examples=2 * settings().max_examples)
@given(text=EXPRESSIONS, event=EVENTS, candidate=EVENTS)
def test_pruning_the_trigger_changes_nothing(text: str, event: Event, candidate: Event) -> None:
    """A wait stored with what it reads of its trigger matches as it would with all of it."""
    expression = compiled(text)
    kept = prune(event, expression.event_paths)
    assert expression.evaluate({"event": kept, "async": candidate}) == expression.evaluate(
        {"event": event, "async": candidate}
    )
    assert expression.arms(kept) == expression.arms(event)


@settings(max_examples=5 * settings().max_examples)
@given(text=EXPRESSIONS, event=EVENTS, candidate=EVENTS)
def test_where_cel_has_an_answer_ours_is_the_same(text: str, event: Event, candidate: Event) -> None:
    """The library's own evaluation agrees wherever it is not an error."""
    expression = compiled(text)
    values = {"event": event, "async": candidate}
    env = cel.NewEnv(variables={"event": cel.Type.DYN, "async": cel.Type.DYN})
    theirs = env.compile(text).eval(data=values)
    assert is_error(theirs) or expression.evaluate(values) == (theirs.plain_value() is True)


@settings(max_examples=2 * settings().max_examples)
@given(a=SIMPLE | NUMBERS | JSON, b=SIMPLE | NUMBERS | JSON)
def test_canonical_text_is_shared_by_equals_only(a: object, b: object) -> None:
    """Two values have one text exactly where `==` holds between them."""
    values = {"event": {"v": a}, "async": {"v": b}}
    assert (canonical(a) == canonical(b)) == both("async.v == event.v").evaluate(values)


def test_canonical_text_tells_types_apart_and_numbers_by_value() -> None:
    """1 is 1.0 and -0.0 is 0, but true, "1" and null are themselves; no number is too large."""
    assert canonical(1) == canonical(1.0)
    assert canonical(-0.0) == canonical(0)
    assert canonical(1e30) == canonical(int(1e30)) != canonical(10**30)
    assert canonical({"b": [1, {}], "a": None}) == canonical({"a": None, "b": [1.0, {}]})
    assert canonical(MISSING) == canonical(None)
    assert canonical((1, 2)) == canonical([1, 2])
    assert canonical(float("nan")) != canonical(float("inf")) != canonical(-float("inf"))
    assert canonical(10**5000) != canonical(10**5000 + 1)
    different = [1, "1", True, None, "", [], {}, [1], ["1"], {"1": 1}, 0.5, "null", "n1", [[], []], [[[]]]]
    assert len({canonical(value) for value in different}) == len(different)


def test_canonical_text_is_of_json_only() -> None:
    """What JSON does not have is a TypeError."""
    with pytest.raises(TypeError, match="bytes is not a JSON value"):
        canonical({"a": [b"x"]})
