"""Whatever comes over the bus: its runs end, or it is buried with a reason, and nobody else is held up."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from stepbridge import App, Cancel, Context, ContextSync, EventMatch, Timeouts, event
from stepbridge.core.codec import dump
from stepbridge.core.envelope import event_of
from stepbridge.core.limits import DEPTH_MAX, EVENT_ID_MAX, EVENT_TS_MAX_MS
from stepbridge.core.messages import Go, message_text, work_of
from stepbridge.testing import Simulation
from tests.poison.envelopes import MANY_KEYS, ONE_MB, envelope, meta, nested
from tests.waits.bench import Bench


class Order(BaseModel):
    """What one function asks of its events."""

    n: int


def shop() -> App:
    """Every use that is made of an event."""
    app = App("shop")

    @app.function(
        "all",
        trigger=event("go"),
        waits=[
            EventMatch("go", match="data.n", lookback="1h"),
            EventMatch("go", if_exp="async.data.n == 1", lookback="1h"),
        ],
        cancel=[Cancel("stop", if_exp="async.data == event.data")],
        timeouts=Timeouts(start="1h", finish="1 day"),
    )
    async def everything(ctx: Context) -> Any:
        first = await ctx.step.run("copy", dict, ctx.event.data)
        await ctx.step.sleep("nap", "1m")
        await ctx.step.run("again", dict, first)
        await ctx.step.invoke("child", function="child", data=first)
        await ctx.step.wait_for_event("wait", event="late", if_exp="async.data == event.data", timeout="1h")
        await ctx.step.wait_for_event("by-value", event="late", match={"data": first}, timeout="1h")
        return first

    @app.function("child", trigger=event("never"))
    def child(ctx: ContextSync) -> Any:
        return ctx.step.run("copy", dict, ctx.event.data)

    @app.function("expression", trigger=event("go", if_exp="event.data.n > 0 || size(event.data) > 0"))
    def by_expression(ctx: ContextSync) -> str:
        return ctx.event.id

    @app.function("model", trigger=event("go", model=Order))
    async def by_model(ctx: Context[Order]) -> int:
        return ctx.event.data.n

    @app.function("idempotent", trigger=event("go"), idempotency="event.data")
    async def idempotent(ctx: Context) -> str:
        return ctx.event.source

    @app.function("guarded", trigger=event("go"), cancel=[Cancel("stop", match="data.n")])
    def guarded(ctx: ContextSync) -> str:
        return "n is there"

    @app.function("well", trigger=event("well"))
    async def well(ctx: Context) -> str:
        return "well"

    return app


HARMLESS = {
    "1 MB": envelope(detail=ONE_MB),
    "100,000 keys": envelope(detail=MANY_KEYS),
    "as deep as allowed": envelope(detail=nested(DEPTH_MAX - 2)),
    "a huge integer": envelope(detail='{"n":1' + "0" * 4_000 + "}"),
    "a negative zero": envelope(detail='{"n":-0.0}'),
    "lone surrogates": envelope(detail='{"n":"\\ud800","\\udfff":["\\udc00\\ud800"]}'),
    "duplicate keys": envelope(detail='{"n":1,"n":2,"_stepbridge":1,"_stepbridge":{"id":"a"}}'),
    "control characters": envelope(detail='{"\\u0000":"\\u0000\\u001b[2J","a\\nb":"\\r\\n","__proto__":{}}'),
    "empty keys and dots": envelope(detail='{"":{"":1},"a.b":1,"../..":"/etc/passwd","#":"#"}'),
    "imitates a message": envelope(detail=message_text(Go(run_id="x", why="spoofed"))),
    "imitates an envelope": envelope(detail=envelope("stop")),
    "names like operators": envelope(detail='{"$ne":null,":v0":1,"attribute_exists(pk)":1}'),
    "an id of 10 kB": envelope(detail=meta(id="i" * 10_000)),
    "an id with all that parts keys": envelope(detail=meta(id="../#/\x00\n\\'\"|é")),
    "an id that UTF-8 cannot carry": envelope(detail='{"_stepbridge":{"id":"\\ud800"},"n":1}'),
    "a negative time": envelope(detail=meta(ts=-1)),
    "a time beyond all": envelope(detail=meta(ts=10**30)),
    "a time below all": envelope(detail=meta(ts=-(10**30))),
    "a time as text": envelope(detail=meta(ts="1735689600000")),
    "a time as a float": envelope(detail=meta(ts=1.5)),
    "a time that is true": envelope(detail=meta(ts=True)),
    "meta is a list": envelope(detail='{"_stepbridge":[1]}'),
    "meta of other types": envelope(detail=meta(id={"a": 1}, ts=[1], tp=7)),
    "meta is deep": envelope(detail='{"_stepbridge":' + nested(100) + "}"),
    "a trace of 100 kB": envelope(detail=meta(tp="0" * 100_000)),
    "a source of 10 kB": envelope(source=json.dumps("s" * 10_000)),
    "a source that UTF-8 cannot carry": envelope(source='"\\ud800"'),
    "no source": envelope(source=""),
    "fields that nobody knows": envelope(region="[[[]]]", resources='{"a":1}', stepbridge_="1"),
}

HOPELESS = {
    "no JSON": "no json",
    "half an envelope": envelope()[:-2],
    "a list": "[" + envelope() + "]",
    "a number": "1" * 5_000,
    "NaN": envelope(detail='{"n":NaN}'),
    "Infinity": envelope(detail='{"n":-Infinity}'),
    "a float beyond all": envelope(detail='{"n":1e400}'),
    "an integer beyond Python's": envelope(detail='{"n":' + "9" * 5_000 + "}"),
    "too deep": envelope(detail=nested(DEPTH_MAX + 10)),
    "thousands of levels": envelope(detail=nested(10_000)),
    "levels without end": envelope(detail="[" * 100_000),
    "a detail that is a list": envelope(detail="[]"),
    "a detail that is null": envelope(detail="null"),
    "a detail that is text": envelope(detail='"{}"'),
    "no detail": envelope(detail=""),
    "a name that is a number": envelope(detail_type="1"),
    "no name": envelope(""),
    "a name of 10 kB": envelope("n" * 10_000),
    "no id": envelope(id=""),
    "an id that is a number": envelope(id="7"),
    "no time": envelope(time=""),
    "a time that is none": envelope(time='"yesterday"'),
    "a time of the year 1": envelope(time='"0001-01-01T00:00:00+14:00"'),
}


def play(app: App, bodies: list[str], bench_of: Callable[[App], Bench]) -> Bench:
    """Messages as the rule would deliver them, and one more event that is well."""
    bench = bench_of(app)
    for body in bodies:
        bench.stack.queue.deliver(body, internal=False)
    bench.put("well")
    bench.drain()
    assert bench.run("well").status == "COMPLETED"
    return bench


@pytest.mark.parametrize("body", HARMLESS.values(), ids=HARMLESS)
def test_an_odd_event_ends_like_any_other(body: str, bench_of: Callable[[App], Bench]) -> None:
    """Every run that it starts ends, what was recorded is what came, and nothing is left behind."""
    bench = play(shop(), [body], bench_of)
    runs = [run for name in ("all", "child", "expression", "model", "idempotent") for run in bench.runs(name)]
    assert [run.status for run in runs if run.function_id in {"all", "child", "idempotent"}] == ["COMPLETED"] * 3
    assert {run.status for run in runs} <= {"COMPLETED", "FAILED"}
    assert bench.run("guarded").status == ("COMPLETED" if "n" in json.loads(body)["detail"] else "FAILED")
    came = {key: value for key, value in json.loads(body)["detail"].items() if key != "_stepbridge"}
    assert bench.run("all").output == came
    assert bench.leftovers() == []


@pytest.mark.parametrize("body", HOPELESS.values(), ids=HOPELESS)
def test_what_is_no_event_is_buried_with_its_reason(body: str, bench_of: Callable[[App], Bench]) -> None:
    """At its first receipt; its body is kept as it is."""
    bench = play(shop(), [body], bench_of)
    ((message, reason),) = bench.stack.queue.dead
    assert (message.body, bool(reason)) == (body, True)
    assert len(reason) < 200
    assert bench.runs("all") == []


ON_AWS = ("1 MB", "lone surrogates", "control characters", "an id of 10 kB", "an id with all that parts keys")


@pytest.mark.slow
def test_all_of_them_at_once_on_the_aws_adapters() -> None:
    """Through SQS's own shapes, DynamoDB's keys and S3's: the same ends."""
    with Simulation(shop(), backend="moto") as sim:
        (site,) = sim._sites
        clients, at = site.stack.counted.clients, site.stack.settings
        tried = [*HOPELESS.values(), *(HARMLESS[name] for name in ON_AWS)]
        for number, body in enumerate(tried):
            own = body.replace("00000000-0000", f"{number:08}-0000", 1)
            clients.sqs().send_message(QueueUrl=at.queue_url, MessageBody=own)
        sim.send("well")
        sim.run_until_idle()
        assert sim.run("well").status == "COMPLETED"
        assert {run.status for run in sim.runs("all")} == {"COMPLETED"}
        dead = clients.sqs().get_queue_attributes(QueueUrl=at.dlq_url, AttributeNames=["ApproximateNumberOfMessages"])
        assert dead["Attributes"]["ApproximateNumberOfMessages"] == str(len(HOPELESS))


# -- what a queue's own messages may be ----------------------------------------------------------------
def forged(**fields: Any) -> str:
    """A start message with these fields instead of its own."""
    event = ["go", "e", 1_735_689_600_000, "test"]
    row = {"stepbridge": 1, "k": "start", "r": "x" * 26, "f": "all", "e": event, "d": ["t", "{}"], "t": event[2]}
    return json.dumps({**row, **fields})


def item(**fields: Any) -> str:
    """The same of an item of a map."""
    parent = ["r" * 26, "k" * 16, "s", 0, [0, 1, 0, "", ""], ""]
    row = {"stepbridge": 1, "k": "item", "p": parent, "f": "builtins:str", "v": ["t", "1"], "n": [0, 1]}
    return json.dumps({**row, **fields})


FORGED = {
    "no kind": '{"stepbridge":1}',
    "another version": '{"stepbridge":2,"k":"go","r":"x","why":"y"}',
    "a run that is a list": '{"stepbridge":1,"k":"go","r":["x"],"why":"y"}',
    "a time beyond all": '{"stepbridge":1,"k":"go","r":"x","why":"y","due":' + "9" * 40 + "}",
    "a time that is text": '{"stepbridge":1,"k":"go","r":"x","why":"y","due":"now"}',
    "levels without end": '{"stepbridge":1,"k":"go","r":"x","why":' + "[" * 100_000,
    "a start of nothing": '{"stepbridge":1,"k":"start"}',
    "an event too short": '{"stepbridge":1,"k":"start","r":"x","f":"f","e":[1],"d":["t","{}"],"t":1}',
    "data of no kind": '{"stepbridge":1,"k":"start","r":"x","f":"f","e":["a","b",1,"c"],"d":7,"t":1}',
    "a parent of no kind": '{"stepbridge":1,"k":"item","p":7,"f":"f","v":["t","1"],"n":[0,1]}',
    "no attempts": '{"stepbridge":1,"k":"item","p":["r","k","i",0],"f":"f","v":["t","1"],"n":[]}',
    "a run of a path": forged(r="x#y/../z"),
    "a run without end": forged(r="x" * 3_000),
    "a function of half a character": forged(f="\ud800"),
    "a function that is null": forged(f=None),
    "a function without end": forged(f="x" * 5_000),
    "an event that is null": forged(e=[None, None, None, None]),
    "an event of no time": forged(e=["go", "e", "now", "test"]),
    "an event beyond all time": forged(e=["go", "e", 10**30, "test"]),
    "an event of the year 9999": forged(t=253_402_300_799_999),
    "a beginning that is true": forged(t=True),
    "luggage that is a list": forged(x=[1]),
    "luggage of numbers": forged(x={"rerun_of": 1}),
    "data that is a number": forged(d=["t", 5]),
    "a parent of numbers": forged(p=[1, 2, 3, 4]),
    "a parent of a path": forged(p=["x#y", "k" * 16, "s", 0]),
    "a parent of a numbered step": forged(p=["r" * 26, "k" * 16, 5, 0]),
    "an item of text": item(p=["r" * 26, "k" * 16, "s", 0, ["0", 1, 0, "", ""], ""]),
    "an item of no map": item(p=["r" * 26, "k" * 16, "s", 0]),
    "an item outside its map": item(p=["r" * 26, "k" * 16, "s", 0, [5, 1, 0, "", ""], ""]),
    "an item below its map": item(p=["r" * 26, "k" * 16, "s", 0, [-1, 1, 0, "", ""], ""]),
    "an item of no function": item(f=None),
    "an item of text attempts": item(n=["0", "1"]),
    "a wake of the year 9999": '{"stepbridge":1,"k":"go","r":"x","why":"y","due":253402300799999}',
    "a cancel of a path": '{"stepbridge":1,"k":"cancel","r":"x#y","why":"z"}',
    "a cancel for a list": '{"stepbridge":1,"k":"cancel","r":"x","why":[1]}',
    "a tick of the year 9999": '{"stepbridge":1,"k":"tick","f":"all","at":"9999-12-31T23:59:59Z"}',
    "a tick of no time": '{"stepbridge":1,"k":"tick","f":"f","at":5}',
    "a tick of nobody": '{"stepbridge":1,"k":"tick","f":null,"at":"2025-01-01T00:00:00Z"}',
}


@pytest.mark.parametrize("body", FORGED.values(), ids=FORGED)
def test_a_forged_message_is_buried(body: str, bench_of: Callable[[App], Bench]) -> None:
    """It takes the right to send to the queue to get this far."""
    bench = bench_of(shop())
    bench.stack.queue.deliver(body, internal=True)
    bench.put("well")
    bench.drain()
    assert bench.run("well").status == "COMPLETED"
    assert len(bench.stack.queue.dead) == 1
    assert {item["fn"] for item in bench.stack.table.items() if item["sk"] == "#"} == {"well"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
KIND = st.sampled_from(["start", "go", "resume", "cancel", "tick", "item", "x"])


@given(row=st.fixed_dictionaries({"stepbridge": st.just(1), "k": KIND}, optional=dict.fromkeys("rwhyfedtpxvnat", JSON)))
@settings(max_examples=100)
def test_a_message_is_read_or_refused(row: dict[str, Any]) -> None:
    """Nothing else comes of any JSON; `ValueError` is what buries it."""
    with suppress(ValueError):
        assert message_text(work_of(json.dumps(row)))


@given(row=st.fixed_dictionaries({}, optional=dict.fromkeys(("detail-type", "detail", "id", "time", "source"), JSON)))
@settings(max_examples=100)
def test_an_envelope_is_read_or_refused(row: dict[str, Any]) -> None:
    """As above."""
    with suppress(ValueError):
        assert dump(event_of(json.dumps(row)).row)


# -- what apps tell each other --------------------------------------------------------------------------
PARENT = ["a" * 26, "b" * 16, "step", 0, None, "other"]
CHILD = {"run_id": "c" * 26, "function_id": "child", "parent": PARENT, "data": "{}"}
SPOOFED: dict[str, tuple[str, Any]] = {
    "an empty request": ("stepbridge/invoke.shop", {}),
    "a run of no form": ("stepbridge/invoke.shop", {**CHILD, "run_id": "../#/"}),
    "a run that is an object": ("stepbridge/invoke.shop", {**CHILD, "run_id": {"a": 1}}),
    "data that is no JSON": ("stepbridge/invoke.shop", {**CHILD, "data": "no json"}),
    "data that holds no number": ("stepbridge/invoke.shop", {**CHILD, "data": '{"a":NaN}'}),
    "data beyond all numbers": ("stepbridge/invoke.shop", {**CHILD, "data": '{"a":1e400}'}),
    "data too deep": ("stepbridge/invoke.shop", {**CHILD, "data": nested(DEPTH_MAX + 10)}),
    "data that is no object": ("stepbridge/invoke.shop", {**CHILD, "data": "[1]"}),
    "data that is no text": ("stepbridge/invoke.shop", {**CHILD, "data": {"a": 1}}),
    "a function that is a list": ("stepbridge/invoke.shop", {**CHILD, "function_id": []}),
    "a parent that is text": ("stepbridge/invoke.shop", {**CHILD, "parent": "abcd"}),
    "a parent of another run's key": ("stepbridge/invoke.shop", {**CHILD, "parent": ["a#b", *PARENT[1:]]}),
    "a parent in an app with a path": ("stepbridge/invoke.shop", {**CHILD, "parent": [*PARENT[:5], "../x"]}),
    "an occurrence beyond all": ("stepbridge/invoke.shop", {**CHILD, "parent": [*PARENT[:3], 10**30]}),
    "a reply to nobody": ("stepbridge/reply.shop", {"output": "1", "error": None}),
    "a reply that is no JSON": ("stepbridge/reply.shop", {"parent": PARENT, "output": "{", "error": None}),
    "a reply that is no number": ("stepbridge/reply.shop", {"parent": PARENT, "output": "NaN", "error": None}),
    "an error too short": ("stepbridge/reply.shop", {"parent": PARENT, "output": None, "error": ["a"]}),
    "an error of numbers": ("stepbridge/reply.shop", {"parent": PARENT, "output": None, "error": [1, 2, 3]}),
    "a cancel of nobody": ("stepbridge/cancel.shop", {"reason": "x"}),
    "a cancel of a path": ("stepbridge/cancel.shop", {"run_id": "R#1", "reason": "x"}),
}


@pytest.mark.parametrize(("name", "data"), SPOOFED.values(), ids=SPOOFED)
def test_a_malformed_event_between_apps_is_buried(name: str, data: Any, bench_of: Callable[[App], Bench]) -> None:
    """Nothing of it becomes a key or a record."""
    bench = play(shop(), [envelope(name, json.dumps(data))], bench_of)
    ((_, reason),) = bench.stack.queue.dead
    assert reason.startswith(f"an event {name} is malformed")
    assert {item["fn"] for item in bench.stack.table.items() if item["sk"] == "#"} == {"well"}
    assert bench.stack.blobs.dump() == {}


def test_an_id_is_no_longer_than_records_bear(bench_of: Callable[[App], Bench]) -> None:
    """A longer one counts as its hash, so it still starts one run only."""
    bench = play(shop(), [envelope(detail=meta(id="i" * 10_000))] * 2, bench_of)
    assert len(bench.runs("idempotent")) == 1
    assert len(bench.run("all").event.id) < EVENT_ID_MAX


def test_an_event_of_the_far_future_is_queued(bench_of: Callable[[App], Bench]) -> None:
    """To the last time that an event may name; its timer is made, and a cancellation ends it."""
    bench = bench_of(shop())
    bench.stack.queue.deliver(envelope(detail=meta(ts=EVENT_TS_MAX_MS)), internal=False)
    bench.settle()
    assert bench.run("all").status == "QUEUED"
    assert bench.stack.queue.dead == []


def test_a_cancellation_by_what_the_trigger_lacks_fails_the_run(bench_of: Callable[[App], Bench]) -> None:
    """With the path by its name; it neither comes back for ever nor goes on without its cancellation."""
    bench = play(shop(), [envelope(detail='{"m":1}')], bench_of)
    run = bench.run("guarded")
    assert run.error is not None
    assert (run.status, run.error["name"]) == ("FAILED", "MatchError")
    assert "data.n" in run.error["message"]
