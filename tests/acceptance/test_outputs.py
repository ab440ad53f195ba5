"""What a step returned: an equal value of the same type on the first run and on every replay."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, NewType
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, RootModel
from typing_extensions import TypedDict

from stepbridge import App, Context, ContextSync, event
from stepbridge.testing import Simulation
from tests.acceptance.helpers import Colour, Script


class Item(BaseModel):
    """A model."""

    sku: str
    price: Decimal
    tags: set[str] = Field(default_factory=set)


class Order(BaseModel):
    """A model of models, with aliases."""

    model_config = {"populate_by_name": True}
    items: list[Item]
    placed_at: datetime = Field(alias="placedAt")


class Skus(RootModel[list[str]]):
    """A root model."""


@dataclass(frozen=True)
class Point:
    """A dataclass."""

    x: int
    y: Decimal
    labels: tuple[str, ...] = field(default=())


class Pair(NamedTuple):
    """A named tuple."""

    left: int
    right: str


class Row(TypedDict):
    """A typed dict."""

    id: int
    due: date


class Colour1(Enum):
    """An enum."""

    RED = "red"


class Level(IntEnum):
    """An enum of integers."""

    HIGH = 3


class Mode(StrEnum):
    """An enum of text."""

    FAST = "fast"


UserId = NewType("UserId", int)


def model() -> Item:
    return Item(sku="a", price=Decimal("1.10"), tags={"x"})


def models() -> Order:
    return Order(items=[model()], placedAt=datetime(2025, 1, 1, 12, tzinfo=UTC))


def root_model() -> Skus:
    return Skus(["a", "b"])


def dataclass_() -> Point:
    return Point(1, Decimal("2.50"), ("p", "q"))


def named_tuple() -> Pair:
    return Pair(1, "r")


def typed_dict() -> Row:
    return {"id": 1, "due": date(2025, 1, 1)}


def enum() -> Colour1:
    return Colour1.RED


def int_enum() -> Level:
    return Level.HIGH


def str_enum() -> Mode:
    return Mode.FAST


def aware_datetime() -> datetime:
    return datetime(2025, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)


def date_() -> date:
    return date(2025, 2, 28)


def time_() -> time:
    return time(12, 30)


def timedelta_() -> timedelta:
    return timedelta(days=1, milliseconds=1)


def decimal() -> Decimal:
    return Decimal("0.1000")


def uuid() -> UUID:
    return UUID("12345678-1234-5678-1234-567812345678")


def path() -> PurePosixPath:
    return PurePosixPath("/a/b")


def bytes_() -> bytes:
    return b"text"


def tuple_() -> tuple[int, str]:
    return (1, "a")


def tuples() -> list[tuple[int, ...]]:
    return [(1, 2), ()]


def set_() -> set[int]:
    return {3, 1, 2}


def frozenset_() -> frozenset[str]:
    return frozenset({"a"})


def optional() -> Item | None:
    return model()


def optional_none() -> Item | None:
    return None


def union() -> int | str:
    return "5"


def literal() -> Literal["a", "b"]:
    return "b"


def annotated() -> Annotated[int, Field(gt=0)]:
    return 5


def new_type() -> UserId:
    return UserId(7)


def dict_of_models() -> dict[str, Point]:
    return {"a": dataclass_()}


def int_keys() -> dict[int, str]:
    return {1: "a", 2: "b"}


def date_keys() -> dict[date, int]:
    return {date(2025, 1, 1): 5}


def big_int() -> int:
    return 10**30


def float_() -> float:
    return 0.1


def whole_float() -> float:
    return 1.0


def none() -> None:
    return None


def text() -> str:
    return "ümlaut 🚀 \u0000 \u2028"


ANNOTATED = [
    *(model, models, root_model, dataclass_, named_tuple, typed_dict, enum, int_enum, str_enum),
    *(aware_datetime, date_, time_, timedelta_, decimal, uuid, path, bytes_, tuple_, tuples, set_, frozenset_),
    *(optional, optional_none, union, literal, annotated, new_type, dict_of_models, int_keys, date_keys),
    *(big_int, float_, whole_float, none, text),
]


def seen_by(colour: Colour, make: Callable[[Any], Any]) -> list[Any]:
    """What the handler saw of one step, on the first run and on two replays; the run has to complete."""
    seen: list[Any] = []

    def script(ctx: Any) -> Script:
        seen.append((yield make(ctx)))
        yield ctx.step.sleep("a", "1h")
        yield ctx.step.sleep("b", "1h")

    run = colour.play(script)
    assert run.error is None
    assert run.status == "COMPLETED"
    return seen


@pytest.mark.parametrize("fn", ANNOTATED, ids=lambda fn: fn.__name__)
def test_an_annotated_value_is_equal_and_of_the_same_type_always(colour: Colour, fn: Callable[[], Any]) -> None:
    """Pydantic types it by the function's return annotation."""
    expected = fn()
    seen = seen_by(colour, lambda ctx: ctx.step.run("make", fn))
    assert seen == [expected] * 3
    assert [type(value) for value in seen] == [type(expected)] * 3


@pytest.mark.parametrize(
    ("plain", "expected"),
    [
        ({"a": [1, 2.5, "x", None, True]}, {"a": [1, 2.5, "x", None, True]}),
        ((1, (2, 3)), [1, [2, 3]]),
        ({"pair": (1, 2)}, {"pair": [1, 2]}),
        ([], []),
        ("", ""),
        (None, None),
        (10**30, 10**30),
        (1.0, 1.0),
        ({"data": 1}, {"data": 1}),
        ({"error": {"name": "x"}}, {"error": {"name": "x"}}),
        ({"🚀": "\u0000\ud7ff"}, {"🚀": "\u0000\ud7ff"}),
        ([[[[[[]]]]]], [[[[[[]]]]]]),
        ("half a pair: \ud83d", "half a pair: \ud83d"),
    ],
    ids=repr,
)
def test_without_an_annotation_a_value_is_plain_json_always(colour: Colour, plain: Any, expected: Any) -> None:
    """Tuples are lists already on the first run; a dict that looks like an envelope stays a dict."""
    seen = seen_by(colour, lambda ctx: ctx.step.run("make", lambda: plain))
    assert seen == [expected] * 3
    assert [json.dumps(value) for value in seen] == [json.dumps(expected)] * 3


def test_the_first_run_sees_a_round_trip_not_the_object_itself(colour: Colour) -> None:
    """What user code changes later does not reach what was recorded."""
    made = {"n": 1}
    seen: list[Any] = []

    def script(ctx: Any) -> Script:
        value = yield ctx.step.run("make", lambda: made)
        seen.append(dict(value))
        value["n"] = 99
        yield ctx.step.sleep("nap", "1h")

    colour.play(script)
    assert seen == [{"n": 1}, {"n": 1}]
    assert made == {"n": 1}


def test_output_type_types_what_has_no_annotation(colour: Colour) -> None:
    """`with_options(output_type=...)`, for lambdas, partials and other people's functions."""
    point = Point(7, Decimal(1))
    seen = seen_by(colour, lambda ctx: ctx.step.with_options(output_type=Point).run("make", lambda: point))
    assert seen == [point] * 3


def test_output_type_wins_over_the_annotation(colour: Colour) -> None:
    """A narrower type than the function promises."""

    def loose() -> object:
        return dataclass_()

    seen = seen_by(colour, lambda ctx: ctx.step.with_options(output_type=Point).run("make", loose))
    assert seen == [dataclass_()] * 3


def test_an_async_functions_annotation_types_its_value() -> None:
    """What it returns, not the coroutine."""
    app = App("shop")
    seen: list[Point] = []

    async def fetch() -> Point:
        return dataclass_()

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        seen.append(await ctx.step.run("fetch", fetch))
        await ctx.step.sleep("nap", "1h")

    with Simulation(app) as sim:
        sim.send("go")
        sim.advance("1h")
        assert sim.run("f").steps["fetch"].output == {"x": 1, "y": "2.50", "labels": ["p", "q"]}
    assert seen == [dataclass_()] * 2


def test_a_methods_annotation_types_its_value(colour: Colour) -> None:
    """Bound methods count."""

    class Service:
        def find(self, number: int) -> Point:
            return Point(number, Decimal(number))

    assert seen_by(colour, lambda ctx: ctx.step.run("find", Service().find, 4)) == [Point(4, Decimal(4))] * 3


def test_an_annotation_that_cannot_be_resolved_is_none(colour: Colour) -> None:
    """A name that exists for type checkers only: plain JSON, no failure."""

    def make() -> OnlyForTypeCheckers:  # type: ignore[name-defined] # noqa: F821 - the subject
        return {"n": 1}

    assert seen_by(colour, lambda ctx: ctx.step.run("make", make)) == [{"n": 1}] * 3


def test_the_functions_output_is_typed_by_the_handlers_annotation() -> None:
    """Shown as JSON in the run; both colours."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> Point:
        return dataclass_()

    @app.function("g", trigger=event("go"))
    def g(ctx: ContextSync) -> list[Item]:
        return [model()]

    @app.function("h", trigger=event("go"), output_type=Order)
    def h(ctx: ContextSync) -> Any:
        return models()

    with Simulation(app) as sim:
        sim.send("go")
        assert sim.run("f").output == {"x": 1, "y": "2.50", "labels": ["p", "q"]}
        assert sim.run("g").output == [{"sku": "a", "price": "1.10", "tags": ["x"]}]
        assert sim.run("h").output["items"] == [{"sku": "a", "price": "1.10", "tags": ["x"]}]


def test_a_large_value_comes_back_whole(colour: Colour) -> None:
    """Two megabytes: more than an item of DynamoDB holds."""

    def large() -> list[str]:
        return ["x" * 1000] * 2000

    seen = seen_by(colour, lambda ctx: ctx.step.run("large", large))
    assert seen == [large()] * 3
