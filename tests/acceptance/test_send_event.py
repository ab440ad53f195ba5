"""`send_event`: ids in order, sent once, whatever is re-executed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from stepbridge import Event, StepError, event
from stepbridge.testing import Simulation
from tests.acceptance.helpers import START, Colour, Script, error_of, ms


def sending(events: Any) -> Any:
    """A script that sends these and returns the ids."""

    def script(ctx: Any) -> Script:
        return (yield ctx.step.send_event("send", events))

    return script


@pytest.mark.parametrize(
    "event", [{"name": "sent", "data": {"n": 1}}, Event(name="sent", data={"n": 1})], ids=["dict", "Event"]
)
def test_a_single_event_is_put_on_the_bus(colour: Colour, event: Any) -> None:
    """Its id is returned, in a list; id, ts and source are filled."""
    with Simulation(colour.app(sending(event))) as sim:
        sim.advance("1m")
        sim.send("go")
        run = sim.run("f")
        (_, sent) = sim.events
    assert run.output == [sent.id]
    assert (sent.name, sent.data, sent.ts) == ("sent", {"n": 1}, ms(START + timedelta(minutes=1)))
    assert sent.source
    assert run.steps["send"].kind == "send_event"
    assert run.steps["send"].output == [sent.id]


def test_ids_come_in_the_events_order(colour: Colour) -> None:
    """More than ten, which is what one call to EventBridge takes."""
    with Simulation(colour.app(sending([{"name": "sent", "data": {"n": n}} for n in range(25)]))) as sim:
        sim.send("go")
        ids = sim.run("f").output
        sent = sim.events[1:]
    assert [one.data["n"] for one in sent] == list(range(25))
    assert [one.id for one in sent] == ids
    assert len(set(ids)) == 25


@pytest.mark.parametrize("events", [[], ()], ids=["list", "tuple"])
def test_no_events_are_no_ids(colour: Colour, events: Any) -> None:
    """Nothing to send is fine."""
    with Simulation(colour.app(sending(events))) as sim:
        sim.send("go")
        assert sim.run("f").output == []
        assert len(sim.events) == 1


def test_an_event_keeps_its_own_id_ts_and_source(colour: Colour) -> None:
    """What the user gave is not replaced."""
    given = Event(name="sent", id="mine", ts=1_700_000_000_000, source="billing")
    with Simulation(colour.app(sending([given, {"name": "other"}]))) as sim:
        sim.send("go")
        ids = sim.run("f").output
        sent = sim.events[1]
    assert ids[0] == "mine"
    assert (sent.id, sent.ts, sent.source) == ("mine", 1_700_000_000_000, "billing")


def test_a_sent_event_starts_functions_and_resolves_waits(colour: Colour) -> None:
    """The whole way round, in one app."""
    app = colour.app(sending({"name": "sent", "data": {"n": 1}}))

    def started(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        return ctx.event.data

    def waiting(ctx: Any) -> Script:
        reply = yield ctx.step.wait_for_event("w", event="sent", timeout="1h")
        return reply.data

    colour.function(app, "started", started, trigger=event("sent"))
    colour.function(app, "waiting", waiting, trigger=event("wait"))
    with Simulation(app) as sim:
        sim.send("wait")
        sim.send("go")
        assert sim.run("started").output == {"n": 1}
        assert sim.run("waiting").output == {"n": 1}


def test_an_event_sent_by_one_branch_resolves_the_wait_of_the_other(colour: Colour) -> None:
    """Request and reply: the wait is armed before the request goes out."""
    app = colour.app(sending([]))

    def replier(ctx: Any) -> Script:
        yield ctx.step.send_event("reply", {"name": "reply", "data": ctx.event.data})

    colour.function(app, "replier", replier, trigger=event("request"))

    @app.function("asker", trigger=event("ask"))
    async def asker(ctx: Any) -> Any:
        reply, _ = await ctx.group.parallel(
            [
                lambda: ctx.step.wait_for_event("reply", event="reply", match={"data.n": 7}, timeout="1h"),
                lambda: ctx.step.send_event("request", {"name": "request", "data": {"n": 7}}),
            ]
        )
        return None if reply is None else reply.data

    with Simulation(app) as sim:
        sim.send("ask")
        sim.run_until_idle()
        assert sim.run("asker").output == {"n": 7}


def test_re_execution_does_not_send_again(colour: Colour) -> None:
    """Replayed over sleeps, and over an error after the send that retries the body."""

    def script(ctx: Any) -> Script:
        ids = yield ctx.step.send_event("send", [{"name": "sent"}, {"name": "sent"}])
        yield ctx.step.sleep("nap", "1h")
        if ctx.attempt < 3:
            raise ValueError("after the send")
        return ids

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        sim.run_until_idle()
        run = sim.run("f")
        sent = [one.id for one in sim.events if one.name == "sent"]
    assert run.attempt == 3
    assert run.output == sent
    assert len(sent) == 2


def test_ids_derive_from_the_run_the_step_and_the_index(colour: Colour) -> None:
    """Equal in an equal simulation; different for every run, step, occurrence and index."""

    def ids() -> list[str]:
        def script(ctx: Any) -> Script:
            one = yield ctx.step.send_event("one", [{"name": "sent"}, {"name": "sent"}])
            two = yield ctx.step.send_event("two", {"name": "sent"})
            again = yield ctx.step.send_event("one", {"name": "sent"})
            return one + two + again

        with Simulation(colour.app(script)) as sim:
            sim.send("go", id="e-1")
            sim.send("go", id="e-2")
            return [one for run in sim.runs("f") for one in run.output]

    assert ids() == ids()
    assert len(set(ids())) == 8


@pytest.mark.parametrize("name", ["stepbridge/function.failed", "stepbridge/anything"])
def test_the_reserved_prefix_is_refused(colour: Colour, name: str) -> None:
    """A clear error that names the event; nothing is sent, not even what stands before it."""
    with Simulation(colour.app(sending([{"name": "fine"}, {"name": name}]), retries=0)) as sim:
        sim.send("go")
        run = sim.run("f")
        sent = [one.name for one in sim.events]
    assert run.status == "FAILED"
    assert name in error_of(run)["message"]
    assert "reserved" in error_of(run)["message"]
    assert sent == ["go", "stepbridge/function.failed"]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"data": {}},
        {"name": ""},
        {"name": "x" * 129},
        {"name": 5},
        {"name": "sent", "data": [1]},
        {"name": "sent", "data": "text"},
        {"name": "sent", "when": 5},
        "sent",
        None,
        5,
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_event_is_a_clear_error(colour: Colour, wrong: Any) -> None:
    """It names the step; the second of two, and which one it is."""
    error = error_of(colour.play(sending([{"name": "fine"}, wrong]), retries=0))
    assert error["name"] == "ConfigError"
    assert "'send'" in error["message"]
    assert "1" in error["message"]


def test_a_name_of_128_characters_is_sent(colour: Colour) -> None:
    """EventBridge's DetailType."""
    name = "x" * 128
    with Simulation(colour.app(sending({"name": name}))) as sim:
        sim.send("go")
        assert sim.run("f").status == "COMPLETED"
        assert sim.events[1].name == name


@pytest.mark.parametrize("value", [{1, 2}, b"x", float("nan"), object()], ids=lambda value: type(value).__name__)
def test_data_that_is_not_json_is_a_clear_error(colour: Colour, value: Any) -> None:
    """It names the step and the path in the data."""
    error = error_of(colour.play(sending({"name": "sent", "data": {"deep": [{"bad": value}]}}), retries=0))
    assert error["name"] in {"ConfigError", "UnserializableOutputError"}
    assert "'send'" in error["message"]
    assert "deep[0].bad" in error["message"]


def test_an_events_data_may_be_a_model(colour: Colour) -> None:
    """It is sent as the model's JSON."""

    class Paid(BaseModel):
        amount: int
        at: timedelta

    with Simulation(colour.app(sending(Event(name="sent", data=Paid(amount=5, at=timedelta(hours=1)))))) as sim:
        sim.send("go")
        assert sim.events[1].data == {"amount": 5, "at": "PT1H"}


def test_a_sent_event_that_is_the_runs_own_trigger_starts_another_run(colour: Colour) -> None:
    """A function may call itself by event; each event starts one run."""

    def script(ctx: Any) -> Script:
        depth = ctx.event.data.get("depth", 0)
        if depth < 3:
            yield ctx.step.send_event("again", {"name": "go", "data": {"depth": depth + 1}})
        return depth

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert [run.output for run in sim.runs("f")] == [0, 1, 2, 3]


def test_an_event_that_is_too_large_is_a_clear_error(colour: Colour) -> None:
    """EventBridge takes 1 MB an entry; the error says how large it is."""

    def script(ctx: Any) -> Script:
        try:
            yield ctx.step.send_event("send", {"name": "sent", "data": {"blob": "x" * 1_100_000}})
        except StepError as error:
            return error.message

    run = colour.play(script, retries=0)
    message = run.output or error_of(run)["message"]
    assert "1100011" in message or "bytes" in message
