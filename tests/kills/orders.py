"""What the killed processes work on: orders whose every effect is written to a file outside the system."""

from __future__ import annotations

import asyncio
import json
import os
import time
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

from stepbridge import App, Context, ContextSync, EventMatch, RetryAfterError, event, invoke_only

_NUMBERS: Final = count()
_SETTING: Final = "STEPBRIDGE_EFFECTS"
BATCH: Final = 5
"""Messages at most that one invocation is given."""
EFFECT_SECONDS: Final = 0.05
"""From an effect to its answer: a process killed in between has had the effect and recorded nothing."""
ITEMS: Final = 4
"""Of one `many` run."""


def effect(key: str, step: str, *saw: str) -> str:
    """Something that the world notices: one line, in one write, at the end of a file.

    Returns what no other call ever does, so whoever sees two of them for one step has seen two results.
    """
    token = f"{key}/{step}/{os.getpid()}-{next(_NUMBERS)}"
    line = json.dumps({"key": key, "step": step, "token": token, "saw": saw})
    file = os.open(Path(os.environ[_SETTING]), os.O_APPEND | os.O_WRONLY)
    try:
        os.write(file, line.encode() + b"\n")
    finally:
        os.close(file)
    time.sleep(EFFECT_SECONDS)
    return token


def hopeful(key: str, step: str, *saw: str) -> str:
    """An effect whose first attempt fails, wherever it is made."""
    token = effect(key, step, *saw)
    marker = Path(os.environ[_SETTING] + "-tried") / key
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        return token
    message = "not yet"
    raise RetryAfterError(message, "1s")


def item_effect(item: list[str]) -> str:
    """One item of a map."""
    key, number, seen = item
    return effect(key, f"item {number}", seen)


app = App("kills")


@app.function("price", trigger=invoke_only())
async def price(ctx: Context) -> str:
    """A child."""
    return await ctx.step.run("price", effect, ctx.event.data["key"], "price", ctx.event.data["made"])


@app.function(
    "order", trigger=event("order/made"), waits=[EventMatch("order/paid", match="data.key", lookback="1 day")]
)
async def order(ctx: Context) -> list[str]:
    """Steps, branches, a sleep, a wait that looks back, a child, an event sent."""
    key = ctx.event.data["key"]
    made = await ctx.step.run("make", effect, key, "make")
    left, right = await asyncio.gather(
        ctx.step.run("left", effect, key, "left", made), ctx.step.run("right", effect, key, "right", made)
    )
    await ctx.step.sleep("nap", "1s")
    paid = await ctx.step.wait_for_event("paid", event="order/paid", match="data.key", timeout="7 days", lookback=True)
    priced = await ctx.step.invoke("price", function=price, data={"key": key, "made": made})
    await ctx.step.send_event("tell", {"name": "order/told", "data": {"key": key}})
    last = await ctx.step.run("last", effect, key, "last", made, left, right, priced)
    return [made, left, right, priced, last, "unpaid" if paid is None else str(paid.data["cents"])]


@app.function("told", trigger=event("order/told"))
async def told(ctx: Context) -> list[str]:
    """As many of them as orders, if every event was sent once."""
    return [await ctx.step.run("told", effect, ctx.event.data["key"], "told")]


@app.function("plain", trigger=event("plain/made"))
def plain(ctx: ContextSync) -> list[str]:
    """A sync handler: branches, a retry, a delay."""
    key = ctx.event.data["key"]
    first = ctx.step.run("first", effect, key, "first")
    left, right = ctx.group.parallel(
        [partial(ctx.step.run, side, effect, key, side, first) for side in ("left", "right")]
    )
    tried = ctx.step.run("hopeful", hopeful, key, "hopeful", first, left, right)
    ctx.step.sleep("nap", "1s")
    last = ctx.step.run("last", effect, key, "last", first, left, right, tried)
    return [first, left, right, tried, last]


@app.function("many", trigger=event("many/made"))
async def many(ctx: Context) -> list[str]:
    """A map."""
    key = ctx.event.data["key"]
    first = await ctx.step.run("first", effect, key, "first")
    items = await ctx.step.map("items", item_effect, [[key, str(number), first] for number in range(ITEMS)])
    last = await ctx.step.run("last", effect, key, "last", first, *items)
    return [first, *items, last]


EFFECTS: Final[dict[str, frozenset[str]]] = {
    "order/made": frozenset({"make", "left", "right", "price", "told", "last"}),
    "plain/made": frozenset({"first", "left", "right", "hopeful", "last"}),
    "many/made": frozenset({"first", "last", *(f"item {number}" for number in range(ITEMS))}),
}
"""What each kind of run must have done once it is through."""
MEANT_TWICE: Final = frozenset({"hopeful"})
"""Its first attempt fails."""
CHILDREN: Final = {"order/made": 2, "plain/made": 0, "many/made": 0}
"""Further runs that one of each kind begins."""


def data_of(key: str) -> dict[str, Any]:
    """A start's data."""
    return {"key": key}
