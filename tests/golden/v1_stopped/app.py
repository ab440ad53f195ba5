"""The app of runs that were stopped and went on. Never change what is here: that is what they were recorded by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stepbridge import App, Context, ContextSync, NonRetriableError, event

app = App("golden")


def large() -> str:
    """Beyond 8 KB even when it is compressed."""
    return "".join(f"{number * 7919 % 100_003:x}-" for number in range(3_000))


def refused(hour: int) -> int:
    if hour < 3:
        message = "closed at this hour"
        raise NonRetriableError(message)
    return hour


@app.function("parked", trigger=event("go"))
async def parked(ctx: Context) -> Any:
    """From one to three its code is another one, which does not fit what is recorded."""
    text = await ctx.step.run("a", str, "recorded")
    if 1 <= ctx.now.hour < 3:
        await ctx.step.run("it", str, "wrong")
    else:
        await ctx.step.sleep("it", "1h")
    return [text, await ctx.step.run("z", str, "mended")]


@app.function("parked-sync", trigger=event("go"))
def parked_sync(ctx: ContextSync) -> Any:
    """The same with branches, one of which is done by then."""
    is_other = 1 <= ctx.now.hour < 3
    calls: tuple[Callable[[], Any], ...] = (
        lambda: ctx.step.sleep("it", "1h") if is_other else ctx.step.wait_for_event("it", event="paid", timeout="1h"),
        lambda: ctx.step.run("b", str, "beside"),
    )
    found, beside = ctx.group.parallel(calls)
    ctx.step.sleep("nap", "1h")
    return [found and found.id, beside, ctx.step.run("z", str, "mended")]


@app.function("crashes", trigger=event("crash"))
async def crashes(ctx: Context) -> Any:
    """Killed until it is parked."""
    first = await ctx.step.run("first", str, "recorded")
    return [first, await ctx.step.run("boom", str, "survived")]


@app.function("again", trigger=event("go"))
async def again(ctx: Context) -> Any:
    """Fails, and is run again: from the top, and from the step that failed."""
    text = await ctx.step.run("large", large)
    found = await ctx.step.wait_for_event("paid", event="paid", match="data.id", timeout="1h")
    await ctx.step.sleep("nap", "5m")
    hour = await ctx.step.run("refused", refused, ctx.now.hour)
    return [len(text), found and found.id, hour]
