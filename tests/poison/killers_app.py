"""An app whose code kills its sandbox for as long as a file is there."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stepbridge import App, Context, ContextSync, event

app = App("killers")

FOLDER = Path(os.environ.get("KILLERS_FOLDER", "/nonexistent"))  # noqa: TID251 - the sandbox's own
POISON, BEGUN = FOLDER / "poison", FOLDER / "begun"
MEMORY = 2 * 1024**3


def exits(_: Any) -> None:
    """As a segmentation fault does."""
    os._exit(139)


def is_killed(_: Any) -> None:
    """As the kernel does when memory is out."""
    os.kill(os.getpid(), signal.SIGKILL)


def never_returns(_: Any) -> None:
    """No thread can be stopped; the deadline kills the sandbox."""
    BEGUN.touch()
    threading.Event().wait()


def eats(_: Any) -> int:
    """More memory than the process may have: Python notices."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, hard))
    try:
        return len(bytearray(4 * MEMORY))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


WAYS: dict[str, Callable[[Any], Any]] = {
    "exits": exits,
    "is_killed": is_killed,
    "never_returns": never_returns,
    "eats": eats,
}


def harm(way: str) -> str:
    """One of them, while the poison is there."""
    if POISON.exists():
        WAYS[way](way)
    return "unharmed"


@app.function("killer", trigger=event("kill"), retries=0)
async def killer(ctx: Context) -> Any:
    """A step on the event loop's own thread of workers."""
    await ctx.step.run("before", str, "recorded")
    return await ctx.step.run("harm", harm, ctx.event.data["way"])


@app.function("killer-sync", trigger=event("kill sync"), retries=0)
def killer_sync(ctx: ContextSync) -> Any:
    """The other colour."""
    ctx.step.run("before", str, "recorded")
    return ctx.step.run("harm", harm, ctx.event.data["way"])


def item(way: str) -> str:
    """Of a map: one of its items kills."""
    return harm(way) if way in WAYS else way


@app.function("mapper", trigger=event("map"), retries=0)
async def mapper(ctx: Context) -> Any:
    """Goes on without what cannot be had."""
    found: list[Any] = await ctx.step.map("items", item, ["a", "exits", "b"], return_exceptions=True)
    return [one if isinstance(one, str) else one.name for one in found]


@app.function("well", trigger=event("well"))
async def well(ctx: Context) -> str:
    """Shares a batch with the others."""
    return await ctx.step.run("say", str, "well")
