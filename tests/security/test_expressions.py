"""Expressions reach two variables and no more, and end within their bound whatever an event holds."""

from __future__ import annotations

from typing import Any

import pytest

from stepbridge import ConfigError
from stepbridge.core import cel_eval
from stepbridge.core.cel_eval import MAX_STEPS, Evaluator, ExhaustedError
from stepbridge.core.cel_library import EvaluationError
from stepbridge.core.expression import compile_expression
from stepbridge.core.regex_cost import size_of

BIG = "a" * 900_000
LIST = list(range(100_000))


@pytest.mark.parametrize(
    "text",
    [
        "env.PATH == 'x'",
        "os.system('x') == 0",
        "__import__('os') == null",
        "event.__class__.__mro__",
        "context.aws_request_id == 'x'",
        "ctx.logger != null",
        "google.protobuf.Any{} == null",
        "open('/etc/passwd') == ''",
        "eval('1')",
    ],
)
def test_nothing_else_is_reached(text: str) -> None:
    """A name that is no variable is refused at import; one below a variable is a field that is not there."""
    try:
        compiled = compile_expression(text, variables=("event", "async"))
    except ConfigError as error:
        assert "Mend" in str(error)  # noqa: PT017 - either way nothing is reached
    else:
        assert compiled.evaluate({"event": {"data": {}}, "async": {"data": {}}}) is False


HOSTILE: dict[str, tuple[str, Any]] = {
    "macros in macros": ("async.data.l.all(a, async.data.l.exists(b, a == b + 1))", {"l": LIST}),
    "equal lists in a macro": ("async.data.l.all(a, async.data.m == async.data.m)", {"l": LIST, "m": LIST}),
    "text that grows": ("async.data.l.map(a, async.data.s + async.data.s).size() > 0", {"l": LIST, "s": BIG}),
    "lists that grow": ("async.data.l.map(a, async.data.l + async.data.l).size() > 0", {"l": LIST}),
    "a text joined to itself": (" + ".join(["async.data.s"] * 25) + " == ''", {"s": BIG}),
    "a regex of nested repetitions": ("async.data.s.matches(async.data.p)", {"s": BIG, "p": "(a?){1000}a{1000}b"}),
    "repetitions three deep": ("async.data.s.matches(async.data.p)", {"s": BIG, "p": "(((a{1,10}){1,10}){1,10})c"}),
    "a regex that backtracks elsewhere": ("async.data.s.matches('(a+)+$b')", {"s": BIG}),
    "a pattern of 900 kB": ("'a'.matches(async.data.s)", {"s": BIG}),
    "many patterns": ("async.data.l.exists(p, 'aaa'.matches(p))", {"l": ["(a?){999}b"] * 100_000}),
    "conversions without end": ("async.data.l.all(a, string(a) != 'x' && int(string(a)) >= 0)", {"l": LIST}),
    "lists that differ in the end": (
        "async.data.l.all(a, async.data.m != async.data.n)",
        {"l": LIST, "m": LIST, "n": [*LIST[:-1], -1]},
    ),
    "maps that differ in the end": (
        "async.data.l.all(a, async.data.m != async.data.n)",
        {"l": LIST, "m": dict.fromkeys(map(str, LIST), 1), "n": dict.fromkeys([*map(str, LIST[:-1]), "x"], 1)},
    ),
    "a pattern of classes without end": ("'a'.matches(async.data.p)", {"p": "[" * 900_000}),
    "a pattern of names without end": ("'a'.matches(async.data.p)", {"p": "\\p{" * 300_000}),
    "a pattern that quotes a class": (
        "async.data.l.exists(p, async.data.s.matches(p))",
        {"s": BIG[:450_000], "l": [rf"\Q[\E*(a?){{1000}}a{{1000}}b]{n}" for n in range(10_000)]},
    ),
    "deep values": ("async.data.d == async.data.d", {"d": [[[[LIST]]]] * 50}),
}


@pytest.mark.parametrize(("text", "data"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_event_costs_no_more_than_the_bound(text: str, data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In steps, which stand for a microsecond each: a result, or no match, with nothing spent beyond."""
    made: list[Evaluator] = []
    spend = Evaluator._spend

    def watched(self: Evaluator, steps: int) -> None:
        made[:] = [self]
        assert steps >= 0
        spend(self, steps)

    monkeypatch.setattr(Evaluator, "_spend", watched)
    compiled = compile_expression(text, variables=("event", "async"))
    assert compiled.evaluate({"event": {"data": {}}, "async": {"data": data}}) in {True, False}
    assert made


@pytest.mark.parametrize("name", ["text that grows", "a text joined to itself"])
def test_what_an_evaluation_makes_fits_into_memory(name: str) -> None:
    """At most 20 MB of text; a sandbox has 256 MB at least."""
    text, data = HOSTILE[name]
    compiled = compile_expression(text, variables=("event", "async"))
    evaluator = Evaluator(candidate="async")
    with pytest.raises((ExhaustedError, EvaluationError)):
        evaluator.value(compiled.tree, {"event": {}, "async": {"data": data}})
    assert MAX_STEPS * cel_eval.BYTES_PER_NEW_STEP <= 20_000_000


@pytest.mark.parametrize(
    ("pattern", "least"),
    [
        ("abc", 3),
        ("a{1000}", 1000),
        ("(ab){10,20}", 40),
        ("((a{10}){10}){10}", 1000),
        ("(a{1,100}|b{5,}){50}", 5000),
        ("[^]a]{100}", 100),
        (r"\{1000\}", 2),
        (r"\p{L}{10}", 1000),
        (r"[\p{L}\P{L}]{10}", 8000),
        (r"\Q[\E(a?){1000}]", 1000),
        (r"\Qab\E{100}", 100),
        (r"\Q[", 1),
        ("é{1000}", 2000),
        ("[é-ü]{100}", 1000),
        ("[" * 100_000, 10),
        (")))", 3),
        ("{5}", 0),
        ("", 0),
    ],
)
def test_the_size_of_a_pattern_is_never_too_small(pattern: str, least: int) -> None:
    """Nested repetitions multiply; what is no pattern is measured all the same."""
    assert size_of(pattern) >= least


def test_an_ordinary_pattern_over_a_large_text_is_evaluated() -> None:
    """The bound is for hostile ones."""
    compiled = compile_expression("async.data.s.matches('^[a-z]+$')", variables=("event", "async"))
    assert compiled.evaluate({"event": {}, "async": {"data": {"s": BIG}}}) is True
