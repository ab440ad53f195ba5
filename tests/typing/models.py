"""Events and steps by their types: what fits, and the errors that a user is to get where it does not."""

from __future__ import annotations

import asyncio
from typing import Any, assert_type

from pydantic import BaseModel

from stepbridge import App, Context, ContextSync, Function, cron, event, invoke_only

app = App("typed-models")


class Order(BaseModel):
    """A trigger's data."""

    order_id: str
    cents: int


class Refund(BaseModel):
    """Another's."""

    reason: str


def label(order: Order, *, copies: int = 1) -> str:
    """A step function with a keyword."""
    return order.order_id * copies


async def weigh(order: Order) -> float:
    """An async one."""
    return order.cents / 100


# -- the trigger's model is the context's ----------------------------------------------------------
@app.function("typed", trigger=event("order/placed", model=Order))
async def typed(ctx: Context[Order]) -> str:
    """Data is an `Order`."""
    assert_type(ctx.event.data, Order)
    assert_type(ctx.events[0].data.cents, int)
    return ctx.event.data.order_id


@app.function("typed-sync", trigger=event("order/placed", model=Order), retries=2, name="typed")
def typed_sync(ctx: ContextSync[Order]) -> int:
    """The same, blocking, with other keywords beside the trigger."""
    return ctx.event.data.cents


assert_type(typed, Function[str])
assert_type(typed_sync, Function[int])


@app.function("wrong-model", trigger=event("order/placed", model=Order))  # type: ignore[arg-type]
async def wrong_model(ctx: Context[Refund]) -> None:  # pyright: ignore[reportArgumentType, reportCallIssue]
    """The context says something else than the trigger."""


@app.function("forgotten-model", trigger=event("order/placed"))  # type: ignore[arg-type]
async def forgotten_model(ctx: Context[Order]) -> None:  # pyright: ignore[reportArgumentType, reportCallIssue]
    """Without a model the data is a dict."""


@app.function("plain", trigger=event("order/placed"))
async def plain(ctx: Context) -> None:
    """Which `Context` alone says."""
    assert_type(ctx.event.data, dict[str, Any])


@app.function("several", trigger=[event("order/placed", model=Order), event("refund", model=Refund), cron("0 9 * * *")])
async def several(ctx: Context[Order | Refund | dict[str, Any]]) -> None:
    """Of several triggers the handler itself says what may come."""
    if isinstance(ctx.event.data, Order):
        assert_type(ctx.event.data, Order)


@app.function("unknown", trigger=invoke_only(), retry=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
async def unknown(ctx: Context) -> None:
    """A keyword that there is not."""


# -- a step has its function's types ---------------------------------------------------------------
@app.function("steps", trigger=event("order/placed", model=Order))
async def steps(ctx: Context[Order]) -> None:
    """Arguments by position and by name."""
    order = ctx.event.data
    assert_type(await ctx.step.run("a", label, order, copies=2), str)
    assert_type(await ctx.step.run("b", weigh, order), float)
    assert_type(await ctx.step.invoke("c", function=typed, data={"order_id": "o"}), str)
    await ctx.step.run("d", label, order, copies="two")  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await ctx.step.run("e", label, order, copy=2)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await ctx.step.run("f", weigh, order.order_id)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    number: int = await ctx.step.invoke("g", function=typed)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportAssignmentType, reportCallIssue]
    del number


# -- gathered --------------------------------------------------------------------------------------
@app.function("gathered", trigger=event("order/placed", model=Order))
async def gathered(ctx: Context[Order]) -> None:
    """Each place keeps its type, as far as the checker can: see docs/typing.md."""
    order = ctx.event.data
    same = await asyncio.gather(ctx.step.run("a", label, order), ctx.step.run("b", label, order))
    assert_type(same, tuple[str, str])
    text, weight = await asyncio.gather(ctx.step.run("c", label, order), ctx.step.run("d", weigh, order))
    assert_type(text, str)  # type: ignore[assert-type]  # mypy: Any
    assert_type(weight, float)  # type: ignore[assert-type]  # mypy: Any
    first, second = await asyncio.gather(asyncio.create_task(ctx.step.run("e", label, order)), weigh(order))
    assert_type((first, second), tuple[str, float])
