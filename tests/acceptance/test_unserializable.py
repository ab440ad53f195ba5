"""Values that JSON cannot carry fail the run at once, by name of step and path."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

from stepbridge import App, Context, UnserializableOutputError, event
from stepbridge.testing import Simulation
from tests.acceptance.helpers import Colour, Script, error_of


class Item(BaseModel):
    """A model."""

    sku: str = "a"


@dataclass
class Point:
    """A dataclass."""

    x: int = 1


class Shade(Enum):
    """An enum."""

    RED = "red"


class Opaque:
    """Nothing JSON knows."""


TYPED = [Item(), Point(), Shade.RED, datetime(2025, 1, 1, tzinfo=UTC), Decimal("1.1")]
"""With an annotation they would be fine."""

NEVER = [float("nan"), {1, 2}, b"bytes", Opaque(), len, iter([]), 1j]


def kind(value: object) -> str:
    """Its type's name."""
    return type(value).__name__


@pytest.mark.parametrize("value", TYPED + NEVER, ids=kind)
def test_it_fails_the_run_at_once_and_names_the_step(colour: Colour, value: Any) -> None:
    """No retry would help: the function ran once."""
    calls: list[str] = []

    def make() -> Any:
        calls.append("make")
        return value

    def script(ctx: Any) -> Script:
        yield ctx.step.run("my-step", make)

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        run = sim.run("f")
    assert run.status == "FAILED"
    assert error_of(run)["name"] == UnserializableOutputError.__name__
    assert "my-step" in error_of(run)["message"]
    assert calls == ["make"]


@pytest.mark.parametrize("value", TYPED, ids=kind)
def test_what_an_annotation_would_carry_is_refused_with_that_mend(colour: Colour, value: Any) -> None:
    """Rather than coming back as another type on replay."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("my-step", lambda: value)

    message = error_of(colour.play(script))["message"]
    assert kind(value) in message
    assert "annotat" in message
    assert "output_type" in message


@pytest.mark.parametrize("value", TYPED + NEVER, ids=kind)
def test_the_message_names_the_path_in_the_value(colour: Colour, value: Any) -> None:
    """However deep it is."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("my-step", lambda: {"fine": 1, "items": [{"n": 0}, {"n": 0, "bad": value}]})

    run = colour.play(script)
    assert error_of(run)["name"] == "UnserializableOutputError"
    assert "items[1].bad" in error_of(run)["message"]


@pytest.mark.parametrize("key", [1, None, (1, 2), True, 1.5], ids=repr)
def test_a_key_that_is_no_text_is_refused(colour: Colour, key: Any) -> None:
    """It would come back as text: not an equal value."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("my-step", lambda: {"deep": {key: 1}})

    run = colour.play(script)
    assert error_of(run)["name"] == "UnserializableOutputError"
    assert "my-step" in error_of(run)["message"]
    assert "deep" in error_of(run)["message"]


def test_a_value_that_holds_itself_is_refused(colour: Colour) -> None:
    """Not by a stack overflow."""

    def make() -> Any:
        value: dict[str, Any] = {}
        value["me"] = value
        return value

    def script(ctx: Any) -> Script:
        yield ctx.step.run("my-step", make)

    run = colour.play(script)
    assert error_of(run)["name"] == "UnserializableOutputError"
    assert "my-step" in error_of(run)["message"]


def test_an_annotated_value_of_another_type_is_refused(colour: Colour) -> None:
    """The annotation is a promise: what breaks it could not be read back."""

    def make() -> Item:
        return Point()  # type: ignore[return-value]

    def script(ctx: Any) -> Script:
        yield ctx.step.run("my-step", make)

    run = colour.play(script)
    assert error_of(run)["name"] == "UnserializableOutputError"
    assert "my-step" in error_of(run)["message"]


@pytest.mark.parametrize("annotated", [float("nan"), float("inf")], ids=repr)
def test_a_float_that_json_has_not_is_refused_even_with_its_annotation(colour: Colour, annotated: float) -> None:
    """NaN would come back as null."""

    def make() -> list[float]:
        return [1.0, annotated]

    def script(ctx: Any) -> Script:
        yield ctx.step.run("my-step", make)

    run = colour.play(script)
    assert error_of(run)["name"] == "UnserializableOutputError"
    assert "my-step" in error_of(run)["message"]


def test_user_code_cannot_catch_it(colour: Colour) -> None:
    """The run fails, whatever is around the step."""

    def script(ctx: Any) -> Script:
        try:
            yield ctx.step.run("my-step", Opaque)
        except Exception:  # noqa: BLE001 - the subject
            return "swallowed"

    assert colour.play(script).status == "FAILED"


def test_in_a_branch_it_fails_the_run_too() -> None:
    """With other branches pending."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        await ctx.group.parallel([lambda: ctx.step.sleep("nap", "1h"), lambda: ctx.step.run("my-step", Opaque)])

    with Simulation(app) as sim:
        sim.send("go")
        run = sim.run("f")
    assert (run.status, error_of(run)["name"]) == ("FAILED", "UnserializableOutputError")


@pytest.mark.parametrize("value", TYPED + NEVER, ids=kind)
def test_the_functions_own_output_fails_the_run_too(colour: Colour, value: Any) -> None:
    """It names the function and the path, and the body is not retried."""
    bodies: list[int] = []

    def script(ctx: Any) -> Script:
        bodies.append(ctx.attempt)
        yield ctx.step.run("a", int)
        return {"deep": [value]}

    run = colour.play(script)
    assert run.status == "FAILED"
    assert error_of(run)["name"] == "UnserializableOutputError"
    assert "'f'" in error_of(run)["message"]
    assert "deep[0]" in error_of(run)["message"]
    assert set(bodies) == {0}
