"""What strangers name becomes no key as it is: of a record, a blob, a schedule or a child."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from stepbridge import App, Cancel, Context, EventMatch, event
from tests.poison.envelopes import envelope, meta
from tests.waits.bench import Bench

SAFE = re.compile(r"[A-Za-z0-9#~._:/ -]+", re.ASCII)
NASTY = {
    "what parts keys": "a#b/c",
    "paths": "../../x",
    "controls": "\x00\x1b\n\r",
    "letters": "é\u202e\U0001f4a9",
    "quotes": "'\"`$(x){}",
    "spaces": "  ",
}


def shop() -> App:
    """Uses ids and values of events wherever it can."""
    app = App("shop")

    @app.function(
        "f",
        trigger=event("go"),
        waits=[EventMatch("seen", match="data.v", lookback="1h"), EventMatch("seen", if_exp="true", lookback="1h")],
        cancel=[Cancel("stop", match="data.v")],
    )
    async def f(ctx: Context) -> Any:
        name = ctx.event.data["v"]
        await ctx.step.run(name, str, "x" * 20_000 + name)
        await ctx.step.send_signal(f"send {name}", name, {"v": name})
        await ctx.step.invoke(f"child {name}", function="child", data={"v": name})
        await ctx.step.map(f"map {name}", str, [name])
        await ctx.step.sleep(f"nap {name}", "1h")
        await ctx.step.wait_for_event(f"wait {name}", event="late", match={"data.v": name}, timeout="1h")
        await ctx.step.wait_for_signal(f"signal {name}", name, timeout="1h")

    @app.function("child", trigger=event("never"), idempotency="event.data.v")
    async def child(ctx: Context) -> None:
        await ctx.step.run("say", str, ctx.event.data["v"])

    return app


@pytest.mark.parametrize("name", NASTY.values(), ids=NASTY)
def test_names_and_values_of_events_stand_in_no_key(name: str, bench_of: Callable[[App], Bench]) -> None:
    """At every moment of the run: the table's keys, the bucket's, and the names of schedules."""
    bench = bench_of(shop())
    keys: set[str] = set()

    def look() -> None:
        for item in bench.stack.table.items():
            keys.update((str(item["pk"]), str(item["sk"])))
        keys.update(bench.stack.blobs.dump())
        keys.update(bench.stack.timers.names())

    for kind in ("seen", "go"):
        bench.stack.queue.deliver(
            envelope(kind, meta(id=name).replace('"n": 1', '"v": ' + json.dumps(name))), internal=False
        )
    for _ in range(12):
        bench.settle()
        look()
        bench.later(1_000)
        bench.world.fire_due()
    bench.drain()
    look()
    assert bench.run().status == "COMPLETED"
    assert [key for key in keys if not SAFE.fullmatch(key)] == []
    assert not any(part in key for key in keys for part in ("..", "//"))
