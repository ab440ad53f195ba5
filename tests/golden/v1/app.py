"""The app whose histories are kept. Never change what is here: that is what runs were recorded by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from stepbridge import (
    App,
    Cancel,
    Context,
    ContextSync,
    Event,
    EventMatch,
    NonRetriableError,
    RetryAfterError,
    StepError,
    event,
)

app = App("golden")


class Money(BaseModel):
    """A typed value."""

    cents: int
    currency: str = "EUR"


def money(cents: int) -> Money:
    return Money(cents=cents)


def compressible() -> str:
    return "step by step " * 200


def large() -> str:
    """Beyond 8 KB even when it is compressed."""
    return "".join(f"{number * 7919 % 100_003:x}-" for number in range(4_000))


def refused() -> None:
    message = "the card is refused"
    raise NonRetriableError(message)


def flaky() -> str:
    """Fails at its first attempt, whoever asks."""
    from stepbridge import current_step

    if current_step().attempt == 0:
        message = "busy"
        raise RetryAfterError(message, "10m")
    return "at the second"


def double(number: int) -> int:
    return number * 2


def shown(found: Event[Any] | None) -> Any:
    return None if found is None else [found.name, found.data, found.id, found.ts, found.source]


OPTIONS: dict[str, Any] = {
    "waits": [EventMatch("paid", match="data.id", lookback="2h")],
    "cancel": [Cancel("never mind", match="data.id")],
}


@app.function("async", trigger=event("go"), **OPTIONS)
async def in_async(ctx: Context) -> Any:
    """Every kind of step, one after the other."""
    step = ctx.step
    first = await step.run("money", money, 4200)
    text = await step.run("compressed", compressible)
    blob = await step.run("large", large)
    sent = await step.send_event("told", [{"name": "told", "data": {"by": "async"}}])
    try:
        await step.run("refused", refused)
        error = None
    except StepError as raised:
        error = [raised.name, raised.message, raised.attempts]
    twice = [await step.run("twice", double, number) for number in (1, 2)]
    late = await step.run("flaky", flaky)
    await step.sleep("nap", "1h")
    items = await step.map("items", double, [1, 2, 3])
    child = await step.invoke("child", function="child", data={"n": 20})
    found = await step.wait_for_event("paid", event="paid", match="data.id", timeout="1 day", lookback=True)
    big = await step.wait_for_event("big", event="paid", if_exp="async.data.cents > event.data.cents", timeout="1 day")
    which = await step.wait_for_any("any", [EventMatch("shipped"), EventMatch("lost")], timeout="1 day")
    signal = await step.wait_for_signal("signal", f"sign-{ctx.event.data['id']}", timeout="1 day")
    none = await step.wait_for_event("nothing", event="nothing", timeout="1h")
    return [
        first.cents,
        len(text),
        len(blob),
        len(sent),
        error,
        twice,
        late,
        items,
        child,
        shown(found),
        shown(big),
        which and [which[0], shown(which[1])],
        signal,
        none,
    ]


@app.function("sync", trigger=event("go"), **OPTIONS)
def in_sync(ctx: ContextSync) -> Any:
    """The same kinds, with branches."""
    step = ctx.step
    calls: tuple[Callable[[], Any], ...] = (
        lambda: step.run("money", money, 4200),
        lambda: step.sleep("nap", timedelta(hours=1)),
        lambda: step.wait_for_event("paid", event="paid", match="data.id", timeout="1 day"),
        lambda: step.invoke("child", function="child", data={"n": 20}),
    )
    first, _, found, child = ctx.group.parallel(calls)
    late = step.run("flaky", flaky)
    items = step.map("items", children, [{"n": 1}, {"n": 2}], max_concurrency=1)
    which = step.wait_for_any("any", [EventMatch("shipped"), EventMatch("lost")], timeout="1 day")
    step.send_signal("signal", f"sign-{ctx.event.data['id']}", {"by": "sync"})
    return [first.cents, shown(found), child, late, items, which and [which[0], shown(which[1])]]


@app.function("child", trigger=event("never"))
async def children(ctx: Context) -> int:
    await ctx.step.sleep("nap", "5m")
    return await ctx.step.run("double", double, ctx.event.data["n"])


@app.function("body", trigger=event("go"), retries=2)
async def body(ctx: Context) -> Any:
    """Its body fails at first."""
    value = await ctx.step.run("money", double, 21)
    if ctx.attempt < 2:
        message = "the body"
        raise ValueError(message)
    return [value, ctx.attempt]


def told(ctx: ContextSync) -> str:
    return str(ctx.step.run("told", str, ctx.event.data["error"]["message"]))


@app.function("fails", trigger=event("go"), retries=1, on_failure=told)
def fails(ctx: ContextSync) -> None:
    ctx.step.sleep("nap", "30m")
    ctx.step.run("refused", refused)


@app.function("queued", trigger=event("later"))
async def queued(ctx: Context) -> str:
    return await ctx.step.run("say", str, "in time")


@app.function("cancelled", trigger=event("go"), cancel=[Cancel("never mind", if_exp="async.data.id == event.data.id")])
async def cancelled(ctx: Context) -> None:
    await ctx.step.sleep("nap", "300 days")
