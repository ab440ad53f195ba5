"""`if_exp=` of a wait: CEL over the trigger, `event`, and the candidate, `async`."""

from __future__ import annotations

from typing import Any

import pytest

from stepbridge.testing import Simulation
from tests.acceptance.helpers import Colour, Script, error_of


def waiting(if_exp: str) -> Any:
    """A script that waits with this expression and returns the reply's number."""

    def script(ctx: Any) -> Script:
        reply = yield ctx.step.wait_for_event("reply", event="reply", if_exp=if_exp, timeout="1h")
        return None if reply is None else reply.data["n"]

    return script


TRUE = [
    ("event.data.id == async.data.id", {"id": 7}, {"id": 7}),
    ("async.data.id == event.data.id", {"id": 7}, {"id": 7.0}),
    ("async.data.id == 'o-1'", {}, {"id": "o-1"}),
    ("async.data.amount > 100", {}, {"amount": 100.5}),
    ("async.data.amount >= event.data.minimum && async.data.paid", {"minimum": 5}, {"amount": 5, "paid": True}),
    ("async.data.a == 1 || async.data.b == 2", {}, {"b": 2}),
    ("!(async.data.a == 1)", {}, {"a": 2}),
    ("async.data.a != 1", {}, {}),
    ("async.data.a == null", {}, {}),
    ("async.data.deep.er == null", {}, {}),
    ("async.data.state in ['paid', 'free']", {}, {"state": "free"}),
    ("async.data.tags.exists(t, t == 'x')", {}, {"tags": ["y", "x"]}),
    ("has(async.data.a)", {}, {"a": 0}),
    ("!has(async.data.a)", {}, {}),
    ("async.data.name.startsWith('A')", {}, {"name": "Ada"}),
    ("async.data['order id'] == 3", {}, {"order id": 3}),
    ("async.data.items[1] == 'b'", {}, {"items": ["a", "b"]}),
    ("size(async.data.items) == 2", {}, {"items": ["a", "b"]}),
    ("async.name == 'reply'", {}, {}),
    ("async.data.n == 1 ? true : false", {}, {}),
    ("async.data.price == 1.5", {}, {"price": 1.5}),
]

FALSE = [
    ("event.data.id == async.data.id", {"id": 7}, {"id": "7"}),
    ("event.data.id == async.data.id", {"id": 7}, {}),
    ("event.data.id == async.data.id", {}, {"id": 7}),
    ("event.data.id == async.data.id", {}, {}),
    ("async.data.a == async.data.b", {}, {}),
    ("async.data.amount > 100", {}, {"amount": 100}),
    ("async.data.amount > 100", {}, {}),
    ("async.data.amount < 100", {}, {}),
    ("async.data.amount <= 100", {}, {"amount": "5"}),
    ("async.data.a == 1", {}, {"a": True}),
    ("async.data.a == 1", {}, {"a": None}),
    ("async.data.name.startsWith('A')", {}, {}),
    ("async.data.name.startsWith('A')", {}, {"name": 5}),
    ("size(async.data.items) == 0", {}, {}),
    ("async.data.a in ['x']", {}, {}),
    ("async.data.items[5] == 'b'", {}, {"items": ["a"]}),
    ("false", {}, {}),
]


@pytest.mark.parametrize(("if_exp", "trigger", "candidate"), TRUE)
def test_a_candidate_for_which_it_is_true_resolves_the_wait(
    colour: Colour, if_exp: str, trigger: dict[str, Any], candidate: dict[str, Any]
) -> None:
    """A field that the candidate lacks: `!= x` is true, `== null` is true."""
    with Simulation(colour.app(waiting(if_exp))) as sim:
        sim.send("go", trigger)
        sim.send("reply", {**candidate, "n": 1})
        assert sim.run("f").output == 1


@pytest.mark.parametrize(("if_exp", "trigger", "candidate"), FALSE)
def test_a_candidate_for_which_it_is_not_true_is_passed_over(
    colour: Colour, if_exp: str, trigger: dict[str, Any], candidate: dict[str, Any]
) -> None:
    """Two missing fields never match; any other operation on a missing field is no match, nor an error."""
    with Simulation(colour.app(waiting(if_exp))) as sim:
        sim.send("go", trigger)
        sim.send("reply", {**candidate, "n": 1})
        assert sim.run("f").status == "SLEEPING"
        sim.run_until_idle()
        assert (sim.run("f").status, sim.run("f").output) == ("COMPLETED", None)


@pytest.mark.parametrize(
    "wrong", ["", "async.data.x ==", "other.data.x == 1", "async.data.x = 1", "nosuch(async.data.x)"], ids=repr
)
def test_a_malformed_expression_is_a_clear_error(colour: Colour, wrong: str) -> None:
    """It names the step and the expression."""

    def script(ctx: Any) -> Script:
        yield ctx.step.wait_for_event("my-wait", event="reply", if_exp=wrong, timeout="1h")

    error = error_of(colour.play(script, retries=0))
    assert error["name"] == "ConfigError"
    assert "my-wait" in error["message"]
    assert wrong in error["message"]


def test_one_run_that_cannot_match_does_not_stop_the_others(colour: Colour) -> None:
    """Each wait is judged for itself."""

    def script(ctx: Any) -> Script:
        reply = yield ctx.step.wait_for_event("reply", event="reply", if_exp=ctx.event.data["exp"], timeout="1h")
        return None if reply is None else reply.data["n"]

    with Simulation(colour.app(script, retries=0)) as sim:
        for expression in ("async.data.n.startsWith('x')", "async.data.nosuch[3] > 4", "async.data.n == 1"):
            sim.send("go", {"exp": expression})
        sim.send("reply", {"n": 1})
        assert [run.output for run in sim.runs("f")] == [None, None, 1]
        assert [run.status for run in sim.runs("f")] == ["SLEEPING", "SLEEPING", "COMPLETED"]


def test_equal_expressions_of_many_runs_find_their_own(colour: Colour) -> None:
    """The first that is true wins, run by run."""
    with Simulation(colour.app(waiting("event.data.id == async.data.id && async.data.n > 1"))) as sim:
        for number in range(5):
            sim.send("go", {"id": number})
        for number in range(5):
            sim.send("reply", {"id": number, "n": 1})
            sim.send("reply", {"id": number, "n": 10 + number})
        assert [run.output for run in sim.runs("f")] == [10, 11, 12, 13, 14]
