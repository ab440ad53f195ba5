"""Small apps, one for each way of waiting, each with a script that drives it to its end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stepbridge import (
    App,
    Cancel,
    Context,
    ContextSync,
    EventMatch,
    NonRetriableError,
    StepError,
    Timeouts,
    event,
    invoke_only,
)
from stepbridge.testing import Simulation

EFFECTS: Counter[str] = Counter()
"""How often each effect took place."""


def effect(name: str) -> str:
    """Something that the world would notice."""
    EFFECTS[name] += 1
    return f"done {name}"


def fails_until(name: str, times: int) -> str:
    """An effect that fails the first times."""
    effect(name)
    if EFFECTS[name] <= times:
        message = f"{name} fails"
        raise RuntimeError(message)
    return name


@dataclass(frozen=True)
class Program:
    """An app and how it is driven; between two acts there is time enough for every redelivery."""

    name: str
    app: App
    script: Callable[[Simulation], None]

    def __str__(self) -> str:
        return self.name


PROGRAMS: list[Program] = []


def _settle(sim: Simulation) -> None:
    sim.advance("20m")


def program(*acts: tuple[str, dict[str, Any]]) -> Callable[[Callable[[App], None]], None]:
    """Registers an app; the acts are events, and then time goes on until nothing is pending."""

    def register(build: Callable[[App], None]) -> None:
        app = App("faults", publish_finished=False)
        build(app)

        def script(sim: Simulation) -> None:
            for index, (name, data) in enumerate(acts):
                sim.send(name, data, id=f"act-{index}")
                _settle(sim)
            sim.run_until_idle()

        PROGRAMS.append(Program(build.__name__, app, script))

    return register


@program(("go", {"k": 1}))
def steps_only(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> str:
        first = await ctx.step.run("a", effect, "a")
        return first + await ctx.step.run("b", effect, "b")


@program(("go", {"k": 1}))
def sleeps_short_and_long(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> str:
        await ctx.step.run("a", effect, "a")
        await ctx.step.sleep("short", "1m")
        await ctx.step.run("b", effect, "b")
        await ctx.step.sleep("long", "2 days")
        return await ctx.step.run("c", effect, "c")


@program(("go", {"k": 1}), ("paid", {"k": 1}))
def wait_that_is_matched(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        found = await ctx.step.wait_for_event("w", event="paid", match="data.k", timeout="7 days")
        await ctx.step.run("after", effect, "after")
        return None if found is None else found.data


@program(("go", {"k": 1}), ("paid", {"k": 2}))
def wait_that_times_out(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        found = await ctx.step.wait_for_event("w", event="paid", match="data.k", timeout="3h")
        await ctx.step.run("after", effect, "after")
        return found


@program(("go", {"k": 1}), ("paid", {"k": 1, "n": 1}), ("paid", {"k": 1, "n": 2}))
def two_waits_in_a_row(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        one = await ctx.step.wait_for_event("w1", event="paid", match="data.k", timeout="7 days")
        two = await ctx.step.wait_for_event("w2", event="paid", match="data.k", timeout="7 days")
        return [one and one.data["n"], two and two.data["n"]]


@program(("go", {"k": 1}), ("paid", {"k": 1}))
def one_event_for_two_branches_and_a_start(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        waits = [ctx.step.wait_for_event(f"w{i}", event="paid", match="data.k", timeout="7 days") for i in range(2)]
        found = await asyncio.gather(*waits)
        return [one and one.data for one in found]

    @app.function("g", trigger=event("paid"))
    def other(ctx: ContextSync) -> str:
        return ctx.step.run("g", effect, "g")


@program(("go", {"k": 1}))
def retries(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> str:
        return await ctx.step.run("flaky", fails_until, "flaky", 2)


@program(("go", {"k": 1}))
def body_retries(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> str:
        await ctx.step.run("a", effect, "a")
        if ctx.attempt < 2:
            message = "the body fails"
            raise RuntimeError(message)
        return await ctx.step.run("b", effect, "b")


@program(("go", {"k": 1}))
def invokes_a_child_that_sleeps(app: App) -> None:
    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> int:
        await ctx.step.run("k", effect, "k")
        await ctx.step.sleep("z", "5m")
        return int(ctx.event.data["n"]) + 1

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> int:
        got = await ctx.step.invoke("c", function=child, data={"n": 41})
        await ctx.step.run("b", effect, "b")
        return got


@program(("go", {"k": 1}))
def two_children_and_a_sleep_side_by_side(app: App) -> None:
    @app.function("child", trigger=invoke_only())
    def child(ctx: ContextSync) -> str:
        return ctx.step.run("k", effect, f"k{ctx.event.data['n']}")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        return await asyncio.gather(
            ctx.step.invoke("c1", function=child, data={"n": 1}),
            ctx.step.invoke("c2", function=child, data={"n": 2}),
            ctx.step.sleep("z", "1h"),
        )


@program(("go", {"k": 1}))
def child_that_is_too_slow(app: App) -> None:
    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> None:
        await ctx.step.sleep("z", "2 days")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> str:
        try:
            await ctx.step.invoke("c", function=child, timeout="1h")
        except StepError as error:
            return error.name
        return "in time"


@program(("go", {"k": 1}))
def fails_and_its_failure_is_handled(app: App) -> None:
    async def mend(ctx: Context) -> str:
        return await ctx.step.run("mend", effect, ctx.event.data["error"]["name"])

    def broken() -> None:
        effect("broken")
        message = "for good"
        raise NonRetriableError(message)

    @app.function("f", trigger=event("go"), on_failure=mend)
    async def handler(ctx: Context) -> None:
        await ctx.step.run("broken", broken)


@program(("go", {"k": 1}))
def sends_events_that_start_others(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> list[str]:
        return await ctx.step.send_event("send", [{"name": f"next/{n}", "data": {"n": n}} for n in range(3)])

    @app.function("n", trigger=event("next/*"))
    def other(ctx: ContextSync) -> str:
        return ctx.step.run("n", effect, f"n{ctx.event.data['n']}")


@program(("go", {"k": 1, "n": 1}), ("go", {"k": 1, "n": 2}), ("paid", {"k": 1}))
def one_event_for_two_runs(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        found = await ctx.step.wait_for_event("w", event="paid", match="data.k", timeout="7 days")
        await ctx.step.run("after", effect, f"after {ctx.event.data['n']}")
        return found and found.data


@program(("go", {"k": 1}), ("paid", {"k": 1}))
def sync_branches(app: App) -> None:
    @app.function("f", trigger=event("go"))
    def handler(ctx: ContextSync) -> Any:
        def branch() -> str:
            ctx.step.run("b1", effect, "b1")
            ctx.step.sleep("z", "10m")
            return ctx.step.run("b2", effect, "b2")

        found, done = ctx.group.parallel(
            (lambda: ctx.step.wait_for_event("w", event="paid", match="data.k", timeout="7 days"), branch)
        )
        return [found is not None, done]


@program(("go", {"k": 1, "big": "x" * 20_000 + "".join(chr(33 + i * i % 90) for i in range(30_000))}))
def large_values(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> int:
        big = await ctx.step.run("big", lambda: {"text": ctx.event.data["big"]})
        await ctx.step.sleep("z", "1m")
        return len(big["text"])


@program(("go", {"k": 1}), ("stop", {"k": 1}))
def cancelled_by_an_event(app: App) -> None:
    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> None:
        await ctx.step.sleep("z", "2 days")

    @app.function("f", trigger=event("go"), cancel=[Cancel("stop", match="data.k")])
    async def handler(ctx: Context) -> None:
        await asyncio.gather(ctx.step.invoke("c", function=child), ctx.step.sleep("z", "3 days"))


@program(("go", {"k": 1}))
def never_cancelled(app: App) -> None:
    @app.function("f", trigger=event("go"), cancel=[Cancel("stop", if_exp="async.data.k == event.data.k")])
    async def handler(ctx: Context) -> str:
        return await ctx.step.run("a", effect, "a")


@program(("go", {"k": 1}))
def lasts_too_long(app: App) -> None:
    @app.function("f", trigger=event("go"), timeouts=Timeouts(finish="2h"))
    async def handler(ctx: Context) -> None:
        await ctx.step.run("a", effect, "a")
        await ctx.step.wait_for_event("w", event="paid", timeout="7 days")


@program(("paid", {"k": 1}), ("go", {"k": 1}), ("paid", {"k": 1, "n": 2}))
def looks_back(app: App) -> None:
    @app.function("f", trigger=event("go"), waits=[EventMatch("echo", match="data.k", lookback="1h")])
    async def handler(ctx: Context) -> Any:
        await ctx.step.send_event("send", {"name": "echo", "data": {"k": 1}})
        await ctx.step.sleep("z", "5m")
        found = await ctx.step.wait_for_event("w", event="echo", match="data.k", timeout="7 days", lookback=True)
        await ctx.step.run("after", effect, "after")
        return None if found is None else found.data


@program(("go", {"k": 1}), ("second", {"k": 1}))
def waits_for_any(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        waits = [EventMatch("first", match="data.k"), EventMatch("second", if_exp="async.data.k == event.data.k")]
        found = await ctx.step.wait_for_any("w", waits, timeout="7 days")
        await ctx.step.run("after", effect, "after")
        return found and found[0]


@program(("go", {"k": 1}), ("call", {}))
def waits_for_a_signal(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        return await ctx.step.wait_for_signal("w", "bell", timeout="7 days")

    @app.function("g", trigger=event("call"))
    def other(ctx: ContextSync) -> None:
        ctx.step.send_signal("ring", "bell", {"n": 1})


def item_effect(item: int) -> int:
    """One item's work; the third is hopeless."""
    effect(f"item {item}")
    if item == 2:
        message = "no twos"
        raise NonRetriableError(message)
    return item * 10


@program(("go", {"k": 1}))
def maps_a_function(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        done = await ctx.step.map("m", item_effect, [0, 1, 2, 3], return_exceptions=True)
        await ctx.step.run("after", effect, "after")
        return [getattr(one, "message", one) for one in done]


@program(("go", {"k": 1}))
def maps_children_in_lanes(app: App) -> None:
    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> Any:
        await ctx.step.sleep("z", "1m")
        return await ctx.step.run("k", effect, f"k{ctx.event.data['item']}")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        return await ctx.step.map("m", child, range(5), max_concurrency=2)


@program(("go", {"k": 1}), ("stop", {"k": 1}))
def map_that_is_cancelled(app: App) -> None:
    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> None:
        await ctx.step.sleep("z", "2 days")

    @app.function("f", trigger=event("go"), cancel=[Cancel("stop", match="data.k")])
    async def handler(ctx: Context) -> None:
        await asyncio.gather(
            ctx.step.map("m", child, range(3)), ctx.step.map("lanes", child, range(3), max_concurrency=1)
        )


@program(("go", {"k": 1}))
def signal_that_never_comes(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        got = await ctx.step.wait_for_signal("w", "bell", timeout="3h")
        await ctx.step.run("after", effect, "after")
        return got


@program(("go", {"k": 1}), ("go", {"k": 2}), ("call", {}))
def signal_with_a_second_waiter(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        try:
            return await ctx.step.wait_for_signal("w", "bell", timeout="7 days")
        except StepError as error:
            return error.name

    @app.function("g", trigger=event("call"))
    def other(ctx: ContextSync) -> None:
        ctx.step.send_signal("ring", "bell", {"n": 1})


@program(("go", {"k": 1, "n": 1}), ("go", {"k": 1, "n": 2}), ("go", {"k": 2, "n": 3}))
def one_run_for_a_value(app: App) -> None:
    @app.function("f", trigger=event("go"), idempotency="event.data.k")
    async def handler(ctx: Context) -> Any:
        return await ctx.step.run("a", effect, f"a{ctx.event.data['n']}")


@program(("go", {"k": 1, "least": 5}), ("paid", {"amount": 3}), ("paid", {"amount": 7}))
def wait_by_scan(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        found = await ctx.step.wait_for_event(
            "w", event="paid", if_exp="async.data.amount > event.data.least", timeout="7 days"
        )
        await ctx.step.run("after", effect, "after")
        return found and found.data


@program(("go", {"k": 1}))
def any_of_that_times_out_looking_back(app: App) -> None:
    @app.function("f", trigger=event("go"), waits=[EventMatch("first", match="data.k", lookback="1h")])
    async def handler(ctx: Context) -> Any:
        waits = [EventMatch("first", match="data.k", lookback=True), EventMatch("second")]
        found = await ctx.step.wait_for_any("w", waits, timeout="3h")
        await ctx.step.run("after", effect, "after")
        return found


@program(("go", {"k": 1}))
def map_with_a_failing_item(app: App) -> None:
    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> str:
        try:
            await ctx.step.map("m", item_effect, [0, 1, 2, 3], max_concurrency=2)
        except StepError as error:
            return await ctx.step.run("mend", effect, error.message)
        return "fine"


@program(("go", {"k": 1}))
def parent_out_of_time(app: App) -> None:
    async def mend(ctx: Context) -> str:
        return await ctx.step.run("mend", effect, ctx.event.data["error"]["name"])

    @app.function("child", trigger=invoke_only())
    async def child(ctx: Context) -> None:
        await ctx.step.sleep("z", "2 days")

    @app.function("f", trigger=event("go"), timeouts=Timeouts(finish="2h"), on_failure=mend)
    async def handler(ctx: Context) -> None:
        await asyncio.gather(ctx.step.invoke("c", function=child), ctx.step.map("m", child, range(2)))
