"""The workloads, as a user of stepbridge writes them."""

from __future__ import annotations

import asyncio
import time

from stepbridge import App, Context, ContextSync, event

ENTERED: list[tuple[str, float]] = []
"""Key and instant at which a step began, or a run went on."""
BEGUN: dict[str, float] = {}
"""When each sleeper fell asleep."""


async def work(index: int) -> dict[str, int]:
    """A step that is over at once."""
    return {"index": index}


def work_sync(index: int) -> dict[str, int]:
    """The same, which an async handler runs in a thread."""
    return {"index": index}


def enter(key: str) -> None:
    """Notes when it is called."""
    ENTERED.append((key, time.perf_counter()))


def app() -> App:  # noqa: C901 - a list of small functions
    """One function a workload; the event's data says how many."""
    made = App("bench")

    @made.function("steps", trigger=event("bench/steps"))
    async def steps(ctx: Context) -> int:
        for index in range(ctx.event.data["n"]):
            await ctx.step.run(f"step {index}", work, index)
        return 0

    @made.function("threads", trigger=event("bench/threads"))
    async def threads(ctx: Context) -> int:
        for index in range(ctx.event.data["n"]):
            await ctx.step.run(f"step {index}", work_sync, index)
        return 0

    @made.function("sync", trigger=event("bench/sync"))
    def sync(ctx: ContextSync) -> int:
        for index in range(ctx.event.data["n"]):
            ctx.step.run(f"step {index}", work_sync, index)
        return 0

    @made.function("fan", trigger=event("bench/fan"))
    async def fan(ctx: Context) -> int:
        await asyncio.gather(*(ctx.step.run(f"step {index}", work, index) for index in range(ctx.event.data["n"])))
        return 0

    @made.function("sleeper", trigger=event("bench/sleeper"))
    async def sleeper(ctx: Context) -> int:
        key = ctx.event.data["key"]
        BEGUN.setdefault(key, time.perf_counter())
        await ctx.step.sleep("nap", ctx.event.data["ms"])
        enter(key)
        return 0

    @made.function("waiter", trigger=event("bench/waiter"))
    async def waiter(ctx: Context) -> int:
        await ctx.step.wait_for_event("wait", event="bench/wake", match="data.key", timeout="1h")
        enter(ctx.event.data["key"])
        return 0

    @made.function("first", trigger=event("bench/first"))
    async def first(ctx: Context) -> int:
        await ctx.step.run("enter", _entered, ctx.event.data["key"])
        return 0

    @made.function("recorded", trigger=event("bench/recorded"))
    async def recorded(ctx: Context) -> int:
        for index in range(ctx.event.data["n"]):
            await ctx.step.run(f"step {index}", work, index)
        await ctx.step.wait_for_event("wait", event="bench/wake", match="data.key", timeout="1h")
        return 0

    return made


async def _entered(key: str) -> None:
    enter(key)
