"""What Lambda might hand over: records, attributes and messages of no form hold up nothing of their batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from stepbridge import App, Context, event
from stepbridge.aws.entry import Dispatcher
from stepbridge.aws.observability import Observer
from stepbridge.core.conditions import Item
from stepbridge.core.messages import Go, message_text
from stepbridge.local.moto import MotoStack, MotoWorld
from stepbridge.memory.clock import VirtualClock
from stepbridge.ports import Message
from tests.integration.test_aws_entry import LambdaLike
from tests.poison.envelopes import envelope
from tests.poison.test_hostile_events import PARENT, forged
from tests.waits.bench import Bench

START = datetime(2025, 1, 1, tzinfo=UTC)


def shop() -> App:
    """One function for what is well, one that strangers name."""
    app = App("shop")

    @app.function("well", trigger=event("well"))
    async def well(ctx: Context) -> str:
        return ctx.event.id

    @app.function("all", trigger=event("go"))
    async def everything(ctx: Context) -> Any:
        await ctx.step.sleep("nap", "1h")
        return await ctx.step.run("copy", dict, ctx.event.data)

    return app


@pytest.fixture
def stack() -> Iterator[MotoStack]:
    """The handler as it is on AWS, observer and all."""
    with MotoWorld(clock=VirtualClock(START)) as world:
        made = world.stack(shop())
        made.handler.close()
        made.handler = Dispatcher(shop(), made.ports, observer=Observer("shop", lambda _: None))
        yield made


def record(body: object = envelope("go"), message_id: object = "m", **fields: Any) -> dict[str, Any]:
    """As SQS makes it, but for what is given."""
    whole = {"eventSource": "aws:sqs", "messageId": message_id, "receiptHandle": f"r-{message_id}", "body": body}
    return {**whole, "attributes": {"ApproximateReceiveCount": "1"}, **fields}


def internal(body: str) -> dict[str, Any]:
    """A message that bears the engine's mark."""
    return record(body, messageAttributes={"stepbridge": {"stringValue": "1", "dataType": "String"}})


def handle(stack: MotoStack, *records: object) -> list[dict[str, str]]:
    """With one more that is well; those that must come back."""
    well = record(envelope("well"), "well")
    answer = stack.handler({"Records": [*records, well]}, LambdaLike())
    assert "COMPLETED" in {item["st"] for item in stack.table.items() if item.get("fn") == "well"}
    return answer["batchItemFailures"]


ODD_ATTRIBUTES: list[dict[str, Any]] = [
    {"ApproximateReceiveCount": "many"},
    {"ApproximateReceiveCount": None},
    {"ApproximateReceiveCount": "-1"},
    {"ApproximateReceiveCount": "9" * 5_000},
    {"ApproximateReceiveCount": [1]},
    {"SentTimestamp": "now"},
    {"SentTimestamp": ""},
    {"SentTimestamp": "9" * 30},
    {},
]


@pytest.mark.parametrize("attributes", ODD_ATTRIBUTES, ids=lambda one: str(one)[:50])
def test_attributes_of_no_form_hold_up_nobody(stack: MotoStack, attributes: dict[str, Any]) -> None:
    """The message counts as received once, and at no known time."""
    assert handle(stack, record(attributes=attributes)) == []
    assert {item["fn"] for item in stack.table.items() if item["sk"] == "#"} == {"well", "all"}


STRAYS: dict[str, object] = {
    "of another service": {"eventSource": "aws:s3", "s3": {}},
    "no object": None,
    "no source": {**record(), "eventSource": None},
    "no body": record(None),
    "no id": record(message_id=None),
    "an id of half a character": record(message_id="\ud800"),
    "no receipt": record(receiptHandle=7),
    "attributes of text": record(attributes="x"),
}


@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)
def test_a_record_of_no_form_is_buried_and_the_others_are_handled(stack: MotoStack, stray: object) -> None:
    """As JSON; what is no message cannot come back."""
    assert handle(stack, stray) == []
    assert [json.loads(body) for body in stack.queue.dead] == [stray]


HOPELESS = [
    '{"due"',
    "[" * 100_000 + '"due"',
    '[{"due":1}]',
    '{"stepbridge":1,"k":"go","r":"x","why":"y","due":null}',
    '{"stepbridge":1,"k":"go","r":"x","why":"y","due":[1]}',
    '{"stepbridge":1,"k":"go","r":"x","why":"y","due":1e400}',
    '{"stepbridge":1,"k":"item","due":"now"}',
]


@pytest.mark.parametrize("body", HOPELESS, ids=lambda one: one[:60])
def test_a_due_time_of_no_form_is_its_own_messages_fault(stack: MotoStack, body: str) -> None:
    """What counts late timers reads it before the engine does."""
    assert handle(stack, internal(body)) == []
    assert stack.queue.dead == [body]


def test_many_late_timers_of_one_batch_are_all_told() -> None:
    """A hundred of them is what Powertools takes: it prints by itself, and may be left with nothing to tell."""
    said: list[str] = []
    observer = Observer("shop", said.append)
    bodies = [message_text(Go(run_id=f"r{number}", why="timer", due_at=START)) for number in range(200)]
    observer.begin([Message(id="m", body=body, receipt="r", internal=True) for body in bodies], "request")
    for number in range(200):
        item: Item = {"pk": f"R#r{number}", "fn": "f", "ev": '["go","e",0,"test"]', "ep": 2}
        observer.head_claimed(item, int(START.timestamp() * 1000))
    observer.end()
    rows = [json.loads(line) for line in said]
    assert sum(len(row["TimerLateness"]) for row in rows) == 200


def test_of_two_thousand_records_one_is_hopeless(stack: MotoStack) -> None:
    """It alone is buried; many of the others are one message, and so one run."""
    many = [record(envelope("well", id=f'"e{n % 50}"'), f"m{n % 50}") for n in range(2_000)]
    assert handle(stack, *many, record("no json", "bad")) == []
    assert stack.queue.dead == ["no json"]
    assert sum(item["st"] == "COMPLETED" for item in stack.table.items() if item["sk"] == "#") == 51


# -- the dead-letter queue -----------------------------------------------------------------------------
@pytest.mark.parametrize(("body", "kept"), [("\ud800{", "\\ud800{"), ("\x00no", "\\u0000no"), ("", "(empty)")])
def test_a_body_that_sqs_does_not_carry_is_buried_all_the_same(stack: MotoStack, body: str, kept: str) -> None:
    """Escaped as JSON does it; nothing is no body."""
    assert handle(stack, record(body, "odd")) == []
    assert stack.queue.dead == [kept]


# -- forged starts -------------------------------------------------------------------------------------
UNREADABLE: dict[str, str] = {
    "a deflated nothing": forged(d=["z", "eJwDAAAAAAE="]),
    "of no kind": forged(d=["q", "x"]),
    "no JSON": forged(d=["t", "no json"]),
    "no number": forged(d=["t", '{"a":NaN}']),
    "a number beyond all": forged(d=["t", '{"a":1e400}']),
    "no object": forged(d=["t", "[1]"]),
    "levels without end": forged(d=["t", '{"a":' * 5_000]),
    "a run whose schedules have no name": forged(r="x" * 49),
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_a_start_that_can_never_begin_is_buried(body: str, bench_of: Callable[[App], Bench]) -> None:
    """At its first receipt, before there is a run: it used to come back until the queue had enough of it."""
    bench = bench_of(shop())
    bench.stack.queue.deliver(body, internal=True)
    bench.drain()
    ((_, reason),) = bench.stack.queue.dead
    assert "not a message of this engine" in reason
    assert bench.runs("all") == []


CHILD = {"run_id": "c" * 26, "function_id": "all", "parent": PARENT, "data": "{}"}
FOREIGN: dict[str, dict[str, Any]] = {
    "a run whose schedules have no name": {**CHILD, "run_id": "c" * 49},
    "a function of half a character": {**CHILD, "function_id": "\ud800"},
    "a function beyond all keys": {**CHILD, "function_id": "f" * 2_000},
    "a function without a name": {**CHILD, "function_id": ""},
}


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_another_apps_request_that_no_table_takes_is_buried(
    data: dict[str, Any], bench_of: Callable[[App], Bench]
) -> None:
    """With the reason; whoever may put events may put such a one."""
    bench = bench_of(shop())
    bench.stack.queue.deliver(envelope("stepbridge/invoke.shop", json.dumps(data)), internal=False)
    bench.drain()
    ((_, reason),) = bench.stack.queue.dead
    assert reason.startswith("an event stepbridge/invoke.shop is malformed")
    assert bench.runs("all") == []
