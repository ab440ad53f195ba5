"""One message that kills is not to take the others of its batch with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from stepbridge import App, Context, event
from stepbridge.core.limits import CRASH_LIMIT, INVOCATION, SUSPECT_AT_RECEIVE
from stepbridge.core.messages import Item, work_of
from stepbridge.engine.answers import Invocation
from stepbridge.engine.engine import Engine
from stepbridge.ports import Message
from tests.poison.envelopes import envelope
from tests.waits.bench import Bench

CALLS: list[str] = []


def doubled(text: str) -> str:
    CALLS.append(text)
    return text * 2


def shop() -> App:
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> Any:
        return await ctx.step.run("say", str, ctx.event.data["n"])

    @app.function("map", trigger=event("map"))
    async def mapping(ctx: Context) -> Any:
        found: list[Any] = await ctx.step.map("items", doubled, ["a", "b"], return_exceptions=True)
        return [one if isinstance(one, str) else one.name for one in found]

    return app


def batch(bench: Bench, *receives: int) -> list[Message]:
    """Events that have been received so often."""
    for number in range(len(receives)):
        bench.stack.queue.deliver(envelope(detail=json.dumps({"n": number}), id=f'"e{number}"'), internal=False)
    return [replace(one, receives=n) for one, n in zip(bench.stack.queue.receive(10), receives, strict=True)]


def handled(bench: Bench, messages: list[Message]) -> list[Message]:
    """Handles them in one invocation; those that come back."""
    engine = Engine(bench.app, bench.ports, bench.workers)
    invocation = Invocation(id="i", deadline=bench.clock.now() + INVOCATION)
    back = bench.loop.run_until_complete(engine.handle_all(messages, invocation=invocation))
    bench.stack.queue.acknowledge([one for one in messages if one not in back])
    return back


def test_of_messages_that_may_kill_one_is_handled(bench_of: Callable[[App], Bench]) -> None:
    """The others come back without having been begun, one after the other."""
    bench = bench_of(shop())
    messages = batch(bench, 1, SUSPECT_AT_RECEIVE, 2, SUSPECT_AT_RECEIVE, SUSPECT_AT_RECEIVE + 1)
    assert handled(bench, messages) == [messages[3], messages[4]]
    assert {run.output for run in bench.runs()} == {"0", "1", "2"}
    assert bench.stack.queue.receive(10) == []
    bench.later(1)
    assert [one.body for one in bench.stack.queue.receive(10)] == [messages[3].body]
    bench.later(1)
    assert [one.body for one in bench.stack.queue.receive(10)] == [messages[4].body]


def test_a_lone_message_is_handled_however_often_it_came(bench_of: Callable[[App], Bench]) -> None:
    """There is nobody whom it could harm."""
    bench = bench_of(shop())
    assert handled(bench, batch(bench, 40)) == []


def items_of(bench: Bench) -> list[Message]:
    """The messages of the map's items."""
    bench.put("map")
    assert bench.step()
    found: list[Message] = bench.stack.queue.receive(10)
    assert all(isinstance(work_of(one.body), Item) for one in found)
    return found


class Killed(GeneratorExit):
    """What a test's function raises where a real one kills its process: nothing after it is done."""


def test_an_item_that_kills_fails_after_five(monkeypatch: pytest.MonkeyPatch, bench_of: Callable[[App], Bench]) -> None:
    """Its record says why, and the map's run goes on."""
    bench = bench_of(shop())
    killer, good = items_of(bench)

    def kills(_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("tests.poison.test_batches.doubled", kills)
        for receives in range(1, CRASH_LIMIT + 1):
            with pytest.raises(Killed):
                handled(bench, [replace(killer, receives=receives)])
        assert handled(bench, [replace(killer, receives=CRASH_LIMIT + 1)]) == []
    assert handled(bench, [good]) == []
    bench.drain()
    run = bench.run("map")
    assert (run.status, run.output) == ("COMPLETED", ["CrashLoopError", "bb"])


def test_a_backend_that_fails_is_no_crash_of_the_item(bench_of: Callable[[App], Bench]) -> None:
    """However often its message comes back."""
    CALLS.clear()
    bench = bench_of(shop())
    first, second = items_of(bench)

    def fails() -> None:
        message = "the table is out of reach"
        raise ConnectionError(message)

    for receives in range(1, 3 * CRASH_LIMIT):
        bench.on("before", "table.put", "M#", fails)
        assert handled(bench, [replace(first, receives=receives)]) == [replace(first, receives=receives)]
    assert len(CALLS) == 3 * CRASH_LIMIT - 1
    assert handled(bench, [replace(first, receives=20), second]) == []
    bench.clock.move_to(bench.clock.now() + timedelta(minutes=5))
    bench.drain()
    assert bench.run("map").output == ["aa", "bb"]
