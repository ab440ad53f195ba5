"""The price list: what each way of running asks of AWS, by DESIGN's table. Small apps and what they cost.

One list, two witnesses: the memory backend's own count, and a log at the HTTP boundary of moto.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from stepbridge import App, Cancel, Context, ContextSync, Timeouts, event, invoke_only
from stepbridge.testing import Simulation

WRITES = ("PutItem", "UpdateItem", "DeleteItem")
READS = ("GetItem", "Query")
QUEUE = (
    "SendMessage",
    "SendMessageBatch",
    "ReceiveMessage",
    "DeleteMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibility",
)
OTHERS = ("PutEvents", "CreateSchedule", "DeleteSchedule", "PutObject", "GetObject")


@dataclass(frozen=True, kw_only=True)
class Price:
    """What is asked for; all else is zero."""

    writes: int
    reads: int
    queue: int
    invocations: int
    write_units: int
    """At a kilobyte an item, the list of runs included."""
    others: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Deal:
    """An app, how one run of it is driven, and what that costs once the event name's signatures are known."""

    name: str
    build: Callable[[App], object]
    drive: Callable[[Simulation, str], object]
    price: Price

    def __str__(self) -> str:
        return self.name

    def play(self, sim: Simulation, measured: Callable[[], Counter[str]]) -> Counter[str]:
        """What the second run asked for; the first has made the signatures known."""
        self.drive(sim, "first")
        before = Counter(measured())
        self.drive(sim, "second")
        asked = measured() - before
        assert {run.status for run in sim.runs()} <= {"COMPLETED", "SLEEPING"}
        return asked


def spent(counts: Mapping[str, int]) -> dict[str, Any]:
    """The counts in the words of the price list."""
    return {
        "writes": sum(counts.get(name, 0) for name in WRITES),
        "reads": sum(counts.get(name, 0) for name in READS),
        "queue": sum(counts.get(name, 0) for name in QUEUE),
        "others": {name: counts[name] for name in OTHERS if counts.get(name)},
    }


def owed(price: Price) -> dict[str, Any]:
    """The price in the same words."""
    return {"writes": price.writes, "reads": price.reads, "queue": price.queue, "others": dict(price.others)}


def _go(sim: Simulation, key: str) -> None:
    sim.send("go", {"k": key})
    sim.run_until_idle()


def _go_then(name: str) -> Callable[[Simulation, str], None]:
    def drive(sim: Simulation, key: str) -> None:
        sim.send("go", {"k": key})
        sim.send(name, {"k": key})
        sim.run_until_idle()

    return drive


def _steps(number: int) -> Callable[[App], object]:
    def build(app: App) -> None:
        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            for index in range(number):
                await ctx.step.run(f"step {index}", lambda: "done")

    return build


def _sync_steps(app: App) -> None:
    @app.function("f", trigger=event("go"))
    def handler(ctx: ContextSync) -> None:
        for index in range(3):
            ctx.step.run(f"step {index}", lambda: "done")


def _sleep(duration: str) -> Callable[[App], object]:
    def build(app: App) -> None:
        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            await ctx.step.sleep("nap", duration)

    return build


def _retry(app: App) -> None:
    failed: set[str] = set()

    def flaky(key: str) -> None:
        if key not in failed:
            failed.add(key)
            raise ValueError(key)

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        await ctx.step.run("flaky", flaky, ctx.event.data["k"])


def _wait(**options: Any) -> Callable[[App], object]:
    def build(app: App) -> None:
        @app.function("f", trigger=event("go"), **options)
        async def handler(ctx: Context) -> None:
            await ctx.step.wait_for_event("pay", event="paid", match="data.k", timeout="7 days")

    return build


def _invoke(app: App) -> None:
    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> None:
        """Ends at once: two writes of its own, and three requests of the queue."""

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        await ctx.step.invoke("ask", function=child)


def _options(**options: Any) -> Callable[[App], object]:
    def build(app: App) -> None:
        @app.function("f", trigger=event("go"), **options)
        async def handler(ctx: Context) -> None:
            """Ends at once."""

    return build


def _price(writes: int, reads: int, queue: int, invocations: int, **others: int) -> Price:
    """A run's: its list entry, written with the first and the last head, costs two units more."""
    return Price(
        writes=writes, reads=reads, queue=queue, invocations=invocations, write_units=writes + 2, others=others
    )


DEALS = [
    Deal("no step", _steps(0), _go, _price(2, 1, 3, 1)),
    Deal("one step", _steps(1), _go, _price(3, 1, 3, 1)),
    Deal("ten steps", _steps(10), _go, _price(12, 1, 3, 1)),
    Deal("three sync steps", _sync_steps, _go, _price(5, 1, 3, 1)),
    Deal("a delay of a minute", _sleep("1m"), _go, _price(2 + 3, 1 + 1, 3 + 3, 1 + 1)),
    Deal("a delay of a quarter of an hour", _sleep("15m"), _go, _price(2 + 3, 1 + 1, 3 + 3, 1 + 1)),
    Deal("a step that is retried once", _retry, _go, _price(3 + 3, 1 + 1, 3 + 3, 1 + 1)),
    Deal("a sleep of two days", _sleep("2 days"), _go, _price(2 + 3, 1 + 1, 3 + 6, 1 + 2, CreateSchedule=1)),
    Deal(
        "a wait that is matched",
        _wait(),
        _go_then("paid"),
        _price(2 + 5, 1 + 3, 3 + 3, 1 + 1, CreateSchedule=1, DeleteSchedule=1),
    ),
    Deal("a wait that times out", _wait(), _go, _price(2 + 5, 1 + 1, 3 + 6, 1 + 2, CreateSchedule=1)),
    Deal(
        "an invoke, and the child's run",
        _invoke,
        _go,
        Price(writes=2 + 4 + 2, reads=1 + 1, queue=3 + 3 + 3, invocations=1 + 1 + 1, write_units=2 + 4 + 2 + 4),
    ),
    Deal("a cancel that is declared", _options(cancel=[Cancel("stop", match="data.k")]), _go, _price(2 + 2, 1, 3, 1)),
    Deal("timeouts", _options(timeouts=Timeouts(start="1h", finish="2h")), _go, _price(2, 1, 3, 1)),
    Deal(
        "an event that nobody wants",
        _steps(1),
        lambda sim, key: sim.send("nobody/wants.this", {"k": key}),
        Price(writes=0, reads=1, queue=3, invocations=1, write_units=0),
    ),
    Deal(
        "events that nobody wants, though something waits for their name",
        _wait(),
        lambda sim, key: sim.send("paid", {"k": "nobody's"}),
        Price(writes=0, reads=1, queue=3, invocations=1, write_units=0),
    ),
]
"""DESIGN's table, "What a run asks for", row by row: base and addition apart."""
