"""What user code raises that is no `Exception`: recorded like any error, and it ends nobody else's run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from stepbridge import App, Context, ContextSync, StepError, event
from tests.waits.bench import Bench


class Odd(BaseException):
    """A class of the user's, or of a library's: `pytest.fail`, trio's `Cancelled`."""


def odd(*_: object) -> None:
    raise Odd("odd")


async def odd_async(*_: object) -> None:
    raise Odd("odd")


def stops(*_: object) -> None:
    raise StopIteration("odd")


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


PLACES: dict[str, Callable[[Any, Callable[..., Any]], Any]] = {
    "step": lambda ctx, fn: ctx.step.run("s", fn),
    "step of a branch": lambda ctx, fn: ctx.group.parallel(
        [lambda: ctx.step.run("a", str), lambda: ctx.step.run("b", fn)]
    ),
    "branch": lambda ctx, fn: ctx.group.parallel([lambda: ctx.step.run("a", str), fn]),
    "item": lambda ctx, fn: ctx.step.map("m", fn, [1]),
    "body": lambda ctx, fn: fn(),
}
"""Where user code raises."""


def app_of(colour: str, where: str, fn: Callable[..., Any]) -> App:
    """An app whose handler lets `fn` raise there; with one retry."""
    app = App("shop")

    async def handle(ctx: Context) -> None:
        await PLACES[where](ctx, fn)

    def handle_sync(ctx: ContextSync) -> None:
        PLACES[where](ctx, fn)

    handlers: dict[str, Any] = {"async": handle, "sync": handle_sync}
    app.function("f", trigger=event("go"), retries=1)(handlers[colour])
    return app


@pytest.mark.parametrize(
    ("colour", "where", "fn"),
    [
        *(("async", where, odd_async) for where in PLACES),
        *(("async", where, odd) for where in PLACES if where != "branch"),  # raised before there is a branch
        *(("sync", where, odd) for where in PLACES),
        *(("async", where, stops) for where in ("step", "step of a branch", "item")),
        *(("sync", where, stops) for where in PLACES),
    ],
)
def test_an_odd_error_fails_the_attempt_and_then_the_run(
    colour: str, where: str, fn: Callable[..., Any], bench_of: Callable[[App], Bench]
) -> None:
    """As an ordinary error does: tried again, then recorded with its own name; each message is acknowledged."""
    bench = bench_of(app_of(colour, where, fn))
    bench.put("go")
    assert bench.step() is True
    bench.drain()
    run = bench.run()
    assert (run.status, run.error and run.error["name"]) == ("FAILED", "StopIteration" if fn is stops else "Odd")
    assert bench.leftovers() == []


def test_a_handler_may_catch_what_a_step_came_to(bench_of: Callable[[App], Bench]) -> None:
    """As a `StepError` of the original's name."""
    app = App("shop")

    @app.function("f", trigger=event("go"), retries=0)
    async def handler(ctx: Context) -> str:
        try:
            await ctx.step.run("s", odd)
        except StepError as error:
            return error.name
        return "none"

    bench = bench_of(app)
    bench.put("go")
    bench.drain()
    assert bench.run().output == "Odd"


@pytest.mark.parametrize("where", ["step", "body"])
def test_an_interrupt_leaves_the_engine(where: str, bench_of: Callable[[App], Bench]) -> None:
    """The developer wants the process to end; nothing is recorded of it, and the message comes back."""
    bench = bench_of(app_of("sync", where, interrupted))
    bench.put("go")
    with pytest.raises(KeyboardInterrupt):
        bench.step()
    assert bench.run().status == "RUNNING"
    assert list(bench.run().steps.values()) == []


def test_a_validator_may_raise_anything(bench_of: Callable[[App], Bench]) -> None:
    """Pydantic lets all but `ValueError` and `AssertionError` through; the run fails at once all the same."""

    class Order(BaseModel):
        n: int

        @field_validator("n")
        @classmethod
        def check(cls, n: int) -> int:
            raise LookupError("no such order")

    app = App("shop")

    @app.function("f", trigger=event("go", model=Order))
    async def handler(ctx: Context[Order]) -> None: ...

    bench = bench_of(app)
    bench.put("go", {"n": 1})
    assert bench.step() is True
    run = bench.run()
    assert (run.status, run.error and run.error["name"]) == ("FAILED", "LookupError")


def test_a_value_that_no_longer_fits_is_told_without_the_value(
    bench_of: Callable[[App], Bench], caplog: pytest.LogCaptureFixture
) -> None:
    """Where, and what is wrong: the message may come into logs."""
    made: list[Any] = [{"card": "4111-1111", "rest": 1}]

    class Card(BaseModel):
        card: str
        rest: int

    class Other(BaseModel):
        card: int
        rest: int
        more: str

    kinds: list[Any] = [Card]

    def pay() -> Any:
        return kinds[0](**made[0])

    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        await ctx.step.with_options(output_type=kinds[0]).run("pay", pay)
        await ctx.step.sleep("z", "1m")

    bench = bench_of(app)
    bench.put("go")
    bench.settle()
    kinds[0] = Other
    bench.drain()
    run = bench.run()
    assert run.status == "PARKED"
    assert run.error is not None
    assert "card: Input should be a valid integer" in run.error["message"]
    assert "more: Field required" in run.error["message"]
    assert "4111" not in run.error["message"] + run.error["stack"] + caplog.text
