"""`stepbridge.testing.context`: a handler called in a plain unit test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from functions.shop.orders import fulfil_order
from stepbridge import (
    App,
    Context,
    ContextSync,
    Event,
    EventMatch,
    Function,
    NestedStepError,
    NonRetriableError,
    StepError,
    UnserializableOutputError,
    current_step,
    event,
)
from stepbridge.testing import StandIn, context

ORDER = {"id": "o-1", "sku": "mug", "email": "ada@example.com", "address": "1 Main Street"}
GO = {"name": "go", "data": {"k": 1}}
START = datetime(2025, 1, 1, tzinfo=UTC)


def declared(handler: Callable[[Any], Any], **options: Any) -> Function[Any]:
    """The handler as a function of an app."""
    app = App("shop")
    app.function("f", trigger=event("go"), **options)(handler)
    return app.functions["f"]


def called(handler: Callable[[Any], Any], ctx: StandIn, **options: Any) -> Any:
    """What a handler of either colour returns."""
    answer = declared(handler, **options)(ctx)
    return asyncio.run(answer) if asyncio.iscoroutine(answer) else answer


@dataclass
class Price:
    """A value of a type of its own."""

    cents: Decimal


def price(text: str) -> Price:
    return Price(Decimal(text))


# -- values --------------------------------------------------------------------------------------------
def test_the_shops_order_is_told_what_its_steps_come_to() -> None:
    """As the contract has it: the trigger, the values of the steps, and what the handler makes of them."""
    ctx = context(
        Event(name="order/created", data={"orderId": "o-1", "amount": 3}),
        steps={"create-order": ORDER, "wait-payment": None, "reserve-stock": None, "cancel-order": None},
    )
    assert asyncio.run(fulfil_order(ctx)) == {"status": "cancelled"}
    assert ctx.calls[-3:] == ["wait-payment", "cancel-order", "mail-cancellation"]
    assert ctx.now == START + timedelta(hours=24)


def test_both_colours_are_given_the_same() -> None:
    """The colour of the handler decides whether the steps are awaited."""

    async def handle(ctx: Context) -> Any:
        return [await ctx.step.run("s", str.upper, "a"), await ctx.step.run("t", str.upper, "b")]

    def handle_sync(ctx: ContextSync) -> Any:
        return [ctx.step.run("s", str.upper, "a"), ctx.step.run("t", str.upper, "b")]

    assert called(handle, context(GO, {"t": 7})) == called(handle_sync, context(GO, {"t": 7})) == ["A", 7]


def test_a_function_is_really_called_and_its_value_makes_the_round_trip() -> None:
    """Typed by its annotation, as on AWS; tuples become lists where there is none."""

    def handle(ctx: ContextSync) -> Any:
        return ctx.step.run("typed", price, "1.50"), ctx.step.run("plain", lambda: (1, 2))

    assert called(handle, context(GO)) == (Price(Decimal("1.50")), [1, 2])
    with pytest.raises(UnserializableOutputError, match="step 'x'"):
        called(lambda ctx: ctx.step.run("x", object), context(GO))


def test_an_occurrence_may_have_a_value_of_its_own() -> None:
    """The others come to what the bare id says."""

    def handle(ctx: ContextSync) -> Any:
        return [ctx.step.run("s", str) for _ in range(3)]

    assert called(handle, context(GO, {"s": "all", ("s", 1): "second"})) == ["all", "second", "all"]


def test_the_triggers_model_is_used() -> None:
    """Data as an instance, or the validation error."""

    class Order(BaseModel):
        k: int

    app = App("shop")

    @app.function("f", trigger=event("go", model=Order))
    def handle(ctx: ContextSync[Order]) -> int:
        return ctx.event.data.k

    assert handle(context(GO)) == handle(context(Event(name="go", data=Order(k=1)))) == 1
    with pytest.raises(ValidationError):
        handle(context({"name": "go", "data": {}}))


def test_the_context_shows_its_run() -> None:
    """Ids, attempts and time are there; the event has what sending fills in."""

    def handle(ctx: ContextSync) -> Any:
        ctx.logger.info("hello")
        return ctx.function_id, ctx.attempt, ctx.max_attempts, ctx.now, ctx.run_id, ctx.events == [ctx.event]

    assert called(handle, context(GO), retries=2) == ("f", 0, 3, START, "test-run", True)
    at = datetime(2025, 6, 1, tzinfo=UTC)
    filled = declared(lambda ctx: (ctx.event.id, ctx.event.ts, ctx.event.source))(context(GO, now=at))
    assert filled == ("test-event", at.timestamp() * 1000, "test")


# -- errors --------------------------------------------------------------------------------------------
def test_a_given_exception_is_raised_as_the_engine_would() -> None:
    """As a `StepError` with its name and message; one that is a `StepError` already, as it is."""

    def handle(ctx: ContextSync) -> Any:
        ctx.step.run("pay", str)

    with pytest.raises(StepError) as caught:
        called(handle, context(GO, {"pay": ValueError("no")}))
    assert (caught.value.name, caught.value.message, caught.value.step_id) == ("ValueError", "no", "pay")
    mine = StepError("Declined", "by the bank", attempts=5)
    with pytest.raises(StepError) as caught:
        called(handle, context(GO, {"pay": mine}))
    assert caught.value is mine


@pytest.mark.parametrize("colour", ["async", "sync"])
def test_a_function_that_fails_is_tried_again(colour: str) -> None:
    """As often as on AWS, without waiting; the clock tells of the pauses, `current_step` of the attempt."""
    attempts: list[int] = []

    def flaky() -> str:
        attempts.append(current_step().attempt)
        if len(attempts) < 3:
            raise ValueError
        return "done"

    async def handle(ctx: Context) -> Any:
        return await ctx.step.run("s", flaky)

    def handle_sync(ctx: ContextSync) -> Any:
        return ctx.step.run("s", flaky)

    ctx = context(GO)
    assert called(handle if colour == "async" else handle_sync, ctx) == "done"
    assert attempts == [0, 1, 2]
    assert ctx.now > START + timedelta(seconds=45)


def test_attempts_come_to_an_end() -> None:
    """The function's own retries, the step's, and an error that is final at once."""

    def handle(ctx: ContextSync) -> list[int]:
        return [
            attempts(lambda: ctx.step.run("a", int, "x")),
            attempts(lambda: ctx.step.with_options(retries=0).run("b", int, "x")),
            attempts(lambda: ctx.step.run("c", refuse)),
        ]

    def refuse() -> None:
        raise NonRetriableError

    def attempts(call: Callable[[], object]) -> int:
        with pytest.raises(StepError) as caught:
            call()
        return caught.value.attempts

    assert called(handle, context(GO), retries=2) == [3, 1, 1]


def test_an_async_function_keeps_its_timeout() -> None:
    """Of each attempt."""

    async def handle(ctx: Context) -> None:
        await ctx.step.with_options(timeout=10, retries=0).run("slow", asyncio.sleep, 60)

    with pytest.raises(StepError, match="TimeoutError"):
        called(handle, context(GO))


def test_a_step_inside_a_step_is_an_error() -> None:
    """As on AWS."""

    def handle(ctx: ContextSync) -> Any:
        return ctx.step.with_options(retries=0).run("outer", lambda: ctx.step.run("inner", str))

    with pytest.raises((NestedStepError, StepError), match="inner"):
        called(handle, context(GO))


# -- waiting -------------------------------------------------------------------------------------------
def test_waits_come_to_an_event_or_to_its_data_or_time_out() -> None:
    """The event's name is the awaited one; of several, the index tells which."""

    async def handle(ctx: Context) -> Any:
        first = await ctx.step.wait_for_event("data", event="paid", timeout="1h")
        second = await ctx.step.wait_for_event("event", event="paid", timeout="1h")
        third = await ctx.step.wait_for_any("any", [EventMatch("paid"), EventMatch("gone")], timeout="1h")
        fourth = await ctx.step.wait_for_event("late", event="paid", timeout="1h")
        return first, second, third, fourth, ctx.now

    sent = Event(name="paid", data={"n": 2})
    first, second, third, fourth, now = called(
        handle, context(GO, {"data": {"n": 1}, "event": sent, "any": (1, {"n": 3})})
    )
    assert (first.name, first.data, second, fourth) == ("paid", {"n": 1}, sent, None)
    assert (third[0], third[1].name, third[1].data) == (1, "gone", {"n": 3})
    assert now == START + timedelta(hours=1)


def test_sleeps_pass_at_once_and_move_the_clock() -> None:
    """Also backwards calls of time never; branches pass side by side."""

    def handle(ctx: ContextSync) -> Any:
        ctx.step.sleep("nap", "1h")
        ctx.step.sleep_until("past", "2020-01-01T00:00:00Z")
        ctx.group.parallel((lambda: ctx.step.sleep("a", "2h"), lambda: ctx.step.sleep("b", "3h")))
        return ctx.now

    assert called(handle, context(GO)) == START + timedelta(hours=4)


def test_branches_of_both_colours_come_to_their_values() -> None:
    """`group.parallel` and `gather`; an error stands in its place where that is wanted."""

    async def handle(ctx: Context) -> Any:
        await asyncio.gather(ctx.step.sleep("a", "2h"), ctx.step.sleep("b", "3h"))
        pair = await ctx.group.parallel(
            (lambda: ctx.step.run("x", str.upper, "x"), lambda: ctx.step.run("y", int, "1")), return_exceptions=True
        )
        return pair, ctx.now

    (value, error), now = called(handle, context(GO, {"y": KeyError("k")}))
    assert (value, type(error), now) == ("X", StepError, START + timedelta(hours=3))

    def handle_sync(ctx: ContextSync) -> Any:
        return ctx.group.parallel((lambda: ctx.step.run("x", str.upper, "x"), lambda: ctx.step.run("y", int, "1")))

    assert called(handle_sync, context(GO)) == ("X", 1)
    with pytest.raises(StepError, match="KeyError"):
        called(handle_sync, context(GO, {"y": KeyError("k")}))


# -- others --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "call",
    [
        lambda ctx: ctx.step.invoke("it", function="other"),
        lambda ctx: ctx.step.map("it", price, ["1"]),
        lambda ctx: ctx.step.wait_for_signal("it", "go", timeout="1h"),
    ],
    ids=["invoke", "map", "signal"],
)
def test_what_only_others_can_know_must_be_given(call: Callable[[ContextSync], Any]) -> None:
    """The error names the step and the mend."""
    with pytest.raises(LookupError, match=r"step 'it'.*Mend: context\(event, steps="):
        called(call, context(GO))


def test_children_maps_and_signals_come_to_what_is_given() -> None:
    """Typed as on AWS; a failed item raises, or stands in its place."""
    child = declared(price)

    def handle(ctx: ContextSync) -> Any:
        invoked = ctx.step.invoke("child", function=child, data={})
        mapped = ctx.step.map("items", price, ["1", "2"], return_exceptions=True)
        signal = ctx.step.wait_for_signal("signal", "go", timeout="1h")
        return invoked, mapped, signal

    given = {"child": Price(Decimal(1)), "items": [Price(Decimal(2)), ValueError("no")], "signal": "yes"}
    invoked, (first, second), signal = called(handle, context(GO, given))
    assert (invoked, first, signal) == (Price(Decimal(1)), Price(Decimal(2)), "yes")
    assert isinstance(second, StepError)
    with pytest.raises(StepError, match="ValueError: no"):
        called(lambda ctx: ctx.step.map("items", price, ["1"]), context(GO, {"items": [ValueError("no")]}))


def test_what_is_sent_is_noted() -> None:
    """Events with the ids that the handler was given, and signals."""

    def handle(ctx: ContextSync) -> list[str]:
        ctx.step.send_signal("tell", "go", {"n": 1})
        return ctx.step.send_event("send", [{"name": "a", "data": {"n": 1}}, Event(name="b", id="mine")])

    ctx = context(GO)
    ids = called(handle, ctx)
    assert [(one.name, one.data, one.id) for one in ctx.sent] == [("a", {"n": 1}, ids[0]), ("b", {}, "mine")]
    assert (ctx.signals, ids[1], len(set(ids))) == ([("go", {"n": 1})], "mine", 2)
    failing = context(GO, {"send": OSError("down")})
    with pytest.raises(StepError, match="OSError"):
        called(handle, failing)
    assert failing.sent == []
