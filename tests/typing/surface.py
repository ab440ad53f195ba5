"""What users' type checkers see: read by mypy and pyright, never run. An ignore that is not needed is an error."""

from __future__ import annotations

from typing import Any, assert_type

from pydantic import BaseModel

from stepbridge import App, Context, ContextSync, Event, Function, StepError, event, invoke_only

app = App("typed")


class Payment(BaseModel):
    """An awaited event's data."""

    amount: int


async def charge(order_id: str, amount: int) -> Payment:
    """An async step function."""
    return Payment(amount=amount + len(order_id))


def price(order_id: str) -> int:
    """A sync step function."""
    return len(order_id)


@app.function("double", trigger=invoke_only())
async def double(ctx: Context) -> int:
    """Invoked by the others."""
    return int(ctx.event.data["n"]) * 2


assert_type(double, Function[int])


@app.function("f", trigger=event("go"))
async def handler(ctx: Context) -> None:
    """A step's value has the type that its function returns; its arguments are checked."""
    assert_type(ctx.event.data, dict[str, Any])
    assert_type(await ctx.step.run("a", charge, "o", 1), Payment)
    assert_type(await ctx.step.run("b", price, order_id="o"), int)
    assert_type(await ctx.step.invoke("c", function=double, data={"n": 1}), int)
    assert_type(await ctx.step.invoke("d", function="double"), Any)
    assert_type(await ctx.step.sleep("e", "1h"), None)
    assert_type(await ctx.step.send_event("f", Event(name="x")), list[str])
    assert_type(await ctx.step.map("g", price, ["a", "b"]), list[int])
    assert_type(await ctx.step.wait_for_event("h", event="x", timeout="1h"), Event | None)
    paid = await ctx.step.wait_for_event("i", event="x", timeout="1h", model=Payment)
    assert_type(paid, Event[Payment] | None)
    await ctx.step.run("j", charge, "o", "much")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await ctx.step.run("k", price)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


@app.function("g", trigger=event("go"))
def sync_handler(ctx: ContextSync) -> str:
    """The same, blocking."""
    assert_type(ctx.step.run("a", price, "o"), int)
    assert_type(ctx.step.invoke("b", function=double), int)
    ctx.step.run("c", price, 1)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    try:
        ctx.step.sleep("d", "1h")
    except StepError as error:
        assert_type(error.name, str)
    return "done"
