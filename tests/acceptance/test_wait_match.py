"""`match=` of a wait: paths, dicts of values, and how values compare."""

from __future__ import annotations

from typing import Any

import pytest

from stepbridge import StepError
from stepbridge.testing import Simulation
from tests.acceptance.helpers import Colour, Script, error_of


def waiting(match: object) -> Any:
    """A script that waits with this match and returns the reply's number."""

    def script(ctx: Any) -> Script:
        reply = yield ctx.step.wait_for_event("reply", event="reply", match=match, timeout="1h")
        return None if reply is None else reply.data["n"]

    return script


def test_a_path_compares_the_trigger_with_the_candidate(colour: Colour) -> None:
    """`match="data.orderId"` is `event.data.orderId == async.data.orderId`."""
    with Simulation(colour.app(waiting("data.orderId"))) as sim:
        sim.send("go", {"orderId": "o-1"})
        sim.send("reply", {"orderId": "o-2", "n": 1})
        sim.send("reply", {"n": 2})
        assert sim.run("f").status == "SLEEPING"
        sim.send("reply", {"orderId": "o-1", "n": 3})
        assert sim.run("f").output == 3


def test_each_run_waits_for_its_own(colour: Colour) -> None:
    """Two runs of one function, each with its order."""
    with Simulation(colour.app(waiting("data.orderId"))) as sim:
        sim.send("go", {"orderId": "o-1"})
        sim.send("go", {"orderId": "o-2"})
        sim.send("reply", {"orderId": "o-2", "n": 2})
        first, second = sim.runs("f")
        assert (first.status, second.output) == ("SLEEPING", 2)
        sim.send("reply", {"orderId": "o-1", "n": 1})
        assert sim.runs("f")[0].output == 1


def test_a_path_may_be_deep(colour: Colour) -> None:
    """A dotted path goes through objects."""
    with Simulation(colour.app(waiting("data.order.customer.id"))) as sim:
        sim.send("go", {"order": {"customer": {"id": 7}}})
        sim.send("reply", {"order": {"customer": 7}, "n": 1})
        sim.send("reply", {"order": {"id": 7}, "n": 2})
        assert sim.run("f").status == "SLEEPING"
        sim.send("reply", {"order": {"customer": {"id": 7}}, "n": 3})
        assert sim.run("f").output == 3


@pytest.mark.parametrize(
    ("trigger", "candidate"),
    [
        (1, 1.0),
        (1.0, 1),
        (0, -0.0),
        (10**15, 1e15),
        ("", ""),
        ("ümlaut 🚀", "ümlaut 🚀"),
        (True, True),
        (0.1, 0.1),
        ("x" * 5000, "x" * 5000),
        (2**53 + 1, 2**53 + 1),
        ([1, {"a": 2}], [1.0, {"a": 2}]),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
        ([], []),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_equal_values_match(colour: Colour, trigger: object, candidate: object) -> None:
    """Numbers compare by value."""
    with Simulation(colour.app(waiting("data.v"))) as sim:
        sim.send("go", {"v": trigger})
        sim.send("reply", {"v": candidate, "n": 1})
        assert sim.run("f").output == 1


@pytest.mark.parametrize(
    ("trigger", "candidate"),
    [
        (7, "7"),
        ("7", 7),
        (True, 1),
        (1, True),
        (False, 0),
        ("true", True),
        ("", 0),
        ("a", "A"),
        ("a", "a "),
        (1, 1.0000001),
        ("x" * 5000 + "a", "x" * 5000 + "b"),
        (2**53, 2**53 + 1),
        ([1, 2], [2, 1]),
        ([1], 1),
        ({"a": 1}, {"a": 1, "b": 2}),
        ([7], ["7"]),
    ],
    ids=lambda value: repr(value)[-20:],
)
def test_different_values_do_not_match(colour: Colour, trigger: object, candidate: object) -> None:
    """Nothing is coerced."""
    with Simulation(colour.app(waiting("data.v"))) as sim:
        sim.send("go", {"v": trigger})
        sim.send("reply", {"v": candidate, "n": 1})
        assert sim.run("f").status == "SLEEPING"


def test_a_candidate_without_the_field_does_not_match(colour: Colour) -> None:
    """Missing, null or no object on the way: no match, no error."""
    with Simulation(colour.app(waiting("data.order.id"))) as sim:
        sim.send("go", {"order": {"id": 7}})
        sim.send("reply", {"n": 1})
        for order in (None, {}, {"id": None}, [7], "id", 7):
            sim.send("reply", {"order": order, "n": 1})
        assert sim.run("f").status == "SLEEPING"


def test_a_trigger_without_the_field_is_a_clear_step_error(colour: Colour) -> None:
    """At once, by name of step and path; it can be caught."""
    with Simulation(colour.app(waiting("data.orderId"), retries=0)) as sim:
        sim.send("go", {})
        run = sim.run("f")
    assert run.status == "FAILED"
    assert "data.orderId" in error_of(run)["message"]


def test_the_step_error_of_a_lacking_path_can_be_caught(colour: Colour) -> None:
    """It is a `StepError` of this step like any other, and stays the same over replays."""
    seen: list[tuple[str, str]] = []

    def script(ctx: Any) -> Script:
        try:
            yield ctx.step.wait_for_event("reply", event="reply", match="data.orderId", timeout="1h")
        except StepError as error:
            seen.append((error.step_id, error.message))
        yield ctx.step.sleep("more", "1h")
        return "caught"

    assert colour.play(script, {}).output == "caught"
    assert len(set(seen)) == 1
    assert seen[0][0] == "reply"


@pytest.mark.parametrize("path", ["", "orderId", "event.data.x", "data..x", "data.", ".data"], ids=repr)
@pytest.mark.parametrize("form", [lambda path: path, lambda path: {path: 1}], ids=["path", "dict"])
def test_a_malformed_path_is_a_clear_error(colour: Colour, form: Any, path: str) -> None:
    """A path that no event can have names the step and itself, rather than waiting in vain."""

    def script(ctx: Any) -> Script:
        yield ctx.step.wait_for_event("my-wait", event="reply", match=form(path), timeout="1h")

    error = error_of(colour.play(script, {"orderId": 1, "x": 1}, retries=0))
    assert error["name"] == "ConfigError"
    assert "my-wait" in error["message"]
    assert repr(path) in error["message"]


@pytest.mark.parametrize("path", ["id", "name", "source", "ts"])
def test_a_path_may_name_the_events_own_fields(colour: Colour, path: str) -> None:
    """Dict matches reach beside `data`, too."""
    values = {"id": "r-1", "name": "reply", "source": "billing", "ts": 1_735_689_600_000}
    with Simulation(colour.app(waiting({path: values[path]}))) as sim:
        sim.send("go")
        sim.send({"name": "reply", "data": {"n": 1}, "id": "r-1", "source": "billing"})
        assert sim.run("f").output == 1


def test_a_dict_compares_with_values(colour: Colour) -> None:
    """Of the trigger, of an earlier step, or fixed: whatever the handler knows."""

    def script(ctx: Any) -> Script:
        number = yield ctx.step.run("number", lambda: 41)
        reply = yield ctx.step.wait_for_event(
            "reply", event="reply", match={"data.invoice": number + 1, "data.state": "paid"}, timeout="1h"
        )
        return reply.data["n"]

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        sim.send("reply", {"invoice": 42, "n": 1})
        sim.send("reply", {"state": "paid", "n": 2})
        sim.send("reply", {"invoice": "42", "state": "paid", "n": 3})
        sim.send("reply", {"invoice": 42, "state": "open", "n": 4})
        assert sim.run("f").status == "SLEEPING"
        sim.send("reply", {"invoice": 42.0, "state": "paid", "n": 5})
        assert sim.run("f").output == 5


def test_a_dict_does_not_need_the_trigger_to_have_the_field(colour: Colour) -> None:
    """The value is given."""
    with Simulation(colour.app(waiting({"data.orderId": "o-1"}))) as sim:
        sim.send("go", {})
        sim.send("reply", {"orderId": "o-1", "n": 1})
        assert sim.run("f").output == 1


def test_a_dict_with_null_matches_a_missing_field(colour: Colour) -> None:
    """`== null` is true of a field that the candidate lacks."""
    with Simulation(colour.app(waiting({"data.error": None}))) as sim:
        sim.send("go", {})
        sim.send("reply", {"error": "no", "n": 1})
        assert sim.run("f").status == "SLEEPING"
        sim.send("reply", {"n": 2})
        assert sim.run("f").output == 2


def test_a_path_whose_trigger_value_is_null_matches_null(colour: Colour) -> None:
    """Null is a value that the trigger has: `null == null`."""
    with Simulation(colour.app(waiting("data.parent"))) as sim:
        sim.send("go", {"parent": None})
        sim.send("reply", {"parent": 1, "n": 1})
        assert sim.run("f").status == "SLEEPING"
        sim.send("reply", {"parent": None, "n": 2})
        assert sim.run("f").output == 2


def test_match_and_if_exp_exclude_each_other(colour: Colour) -> None:
    """A clear error that names the step."""

    def script(ctx: Any) -> Script:
        yield ctx.step.wait_for_event("my-wait", event="reply", match="data.x", if_exp="async.data.x == 1", timeout=1)

    error = error_of(colour.play(script, {"x": 1}, retries=0))
    assert error["name"] == "ConfigError"
    assert "my-wait" in error["message"]
    assert "if_exp" in error["message"]
