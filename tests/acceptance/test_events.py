"""Which events start which runs, when, and how often."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepbridge import App, ConfigError, Event, event
from stepbridge.testing import Simulation
from tests.acceptance.helpers import START, Colour, Script, ms, put_plain


def shown(ctx: Any) -> Script:
    """Returns the event as the handler saw it."""
    yield ctx.step.run("a", int)
    return ctx.event.model_dump()


def counted(app: App, *events: tuple[str, dict[str, Any]]) -> int:
    """How many runs these events start."""
    with Simulation(app) as sim:
        for name, data in events:
            sim.send(name, data)
        return len(sim.runs("f"))


def test_an_event_starts_every_function_that_it_triggers(colour: Colour) -> None:
    """Each with a run of its own."""
    app = App("shop")
    for function_id in ("a", "b", "c"):
        colour.function(app, function_id, shown, trigger=event("order/created"))
    colour.function(app, "other", shown, trigger=event("order/cancelled"))
    with Simulation(app) as sim:
        sim.send("order/created", {"n": 1})
        assert sorted(run.function_id for run in sim.runs()) == ["a", "b", "c"]
        assert len({run.run_id for run in sim.runs()}) == 3


def test_functions_of_two_apps_on_one_bus_both_start(colour: Colour) -> None:
    """Apps share the bus; the same function id in both is no clash."""
    shop, billing = App("shop"), App("billing")
    colour.function(shop, "f", shown)
    colour.function(billing, "f", shown)
    with Simulation(shop, billing) as sim:
        sim.send("go", id="e-1")
        first, second = sim.runs("f")
    assert first.run_id != second.run_id


def test_the_handler_sees_the_event_as_it_was_sent(colour: Colour) -> None:
    """Name, data, id, ts in milliseconds, source; nothing reserved in the data."""
    with Simulation(colour.app(shown)) as sim:
        sim.send(Event(name="go", data={"n": 1}, id="e-1", ts=ms(START) - 5, source="billing"))
        assert sim.run("f").output == {
            "name": "go",
            "data": {"n": 1},
            "id": "e-1",
            "ts": ms(START) - 5,
            "source": "billing",
        }


def test_id_ts_and_source_are_filled_when_it_is_sent(colour: Colour) -> None:
    """None of them is empty."""
    with Simulation(colour.app(shown)) as sim:
        event_id = sim.send("go")
        seen = sim.run("f").output
    assert (seen["id"], seen["ts"]) == (event_id, ms(START))
    assert seen["source"]
    assert seen["data"] == {}


def test_the_same_event_never_starts_a_second_run(colour: Colour) -> None:
    """The run id is derived from app, function, event name and id: while it runs and after its end."""

    def script(ctx: Any) -> Script:
        yield ctx.step.sleep("nap", "1h")

    with Simulation(colour.app(script)) as sim:
        sim.send("go", {"n": 1}, id="e-1")
        sim.send("go", {"n": 2}, id="e-1")
        sim.advance("2h")
        sim.send("go", {"n": 3}, id="e-1")
        sim.advance("20 days")
        sim.send("go", {"n": 4}, id="e-1")
        runs = sim.runs("f")
    assert [run.event.data for run in runs] == [{"n": 1}]


def test_another_id_or_another_name_is_another_run(colour: Colour) -> None:
    """Each part of the run's id counts."""
    app = colour.app(shown, trigger=[event("go"), event("gone")])
    colour.function(app, "g", shown)
    with Simulation(app) as sim:
        sim.send("go", id="e-1")
        sim.send("go", id="e-2")
        sim.send("gone", id="e-1")
        assert len(sim.runs("f")) == 3
        assert len(sim.runs("g")) == 2
        assert len({run.run_id for run in sim.runs()}) == 5


def test_run_ids_are_the_same_in_every_simulation(colour: Colour) -> None:
    """Derived, not drawn."""

    def run_id(app_id: str) -> str:
        app = App(app_id)
        colour.function(app, "f", shown)
        with Simulation(app) as sim:
            sim.send("go", id="e-1")
            return sim.run("f").run_id

    assert run_id("shop") == run_id("shop")
    assert run_id("shop") != run_id("shop-2")


def test_several_triggers_of_one_function_start_it_once(colour: Colour) -> None:
    """Even if all of them match."""
    app = colour.app(shown, trigger=(event("app/user.created"), event("app/user.*"), event("app/*")))
    assert counted(app, ("app/user.created", {})) == 1


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("app/*", ["app/x", "app/x/y", "app/user.created", "app/"], ["app", "apps/x", "App/x", "x/app/y"]),
        ("app/user.*", ["app/user.created", "app/user.a.b"], ["app/user", "app/users.created", "app/usercreated"]),
        ("a.*", ["a.b", "a.b/c"], ["a", "ab", "a/b"]),
        ("exact", ["exact"], ["exact/x", "exact.x", "Exact", "exac"]),
    ],
)
def test_a_wildcard_stands_for_any_ending(colour: Colour, pattern: str, matching: list[str], other: list[str]) -> None:
    """After `/` or `.`."""
    with Simulation(colour.app(shown, trigger=event(pattern))) as sim:
        for name in other:
            sim.send(name)
        assert sim.runs("f") == []
        for name in matching:
            sim.send(name)
        assert [run.event.name for run in sim.runs("f")] == matching


def test_if_exp_of_a_trigger_chooses_events(colour: Colour) -> None:
    """CEL over `event`; what it cannot be evaluated for does not start a run."""
    sent: list[dict[str, Any]] = [
        {"amount": 101, "country": "CH"},
        {"amount": 100, "country": "CH"},
        {"amount": 101, "country": "DE"},
        {"amount": "101", "country": "CH"},
        {"country": "CH"},
        {},
        {"amount": 100.5, "country": "CH"},
    ]
    app = colour.app(shown, trigger=event("go", if_exp="event.data.amount > 100 && event.data.country == 'CH'"))
    with Simulation(app) as sim:
        for number, data in enumerate(sent):
            sim.send("go", data, id=f"e-{number}")
        assert [run.event.id for run in sim.runs("f")] == ["e-0", "e-6"]


def test_each_triggers_if_exp_is_for_its_own_name(colour: Colour) -> None:
    """One trigger's expression does not hold back another's event."""
    app = colour.app(shown, trigger=[event("a", if_exp="event.data.n == 1"), event("b", if_exp="event.data.n == 2")])
    assert counted(app, ("a", {"n": 1}), ("a", {"n": 2}), ("b", {"n": 1}), ("b", {"n": 2})) == 2


def test_source_restricts_a_trigger(colour: Colour) -> None:
    """To one EventBridge source."""
    with Simulation(colour.app(shown, trigger=event("Object Created", source="aws.s3"))) as sim:
        sim.send(Event(name="Object Created", source="mine"))
        assert sim.runs("f") == []
        sim.send(Event(name="Object Created", source="aws.s3"))
        assert len(sim.runs("f")) == 1


def test_a_plain_entry_of_an_aws_service_starts_a_run(colour: Colour) -> None:
    """`DetailType` is the name, `Detail` the data, `Source` the source; id and ts are EventBridge's."""
    time = datetime(2024, 12, 31, 23, 59, 58, tzinfo=UTC)
    with Simulation(colour.app(shown, trigger=event("Object Created", source="aws.s3"))) as sim:
        event_id = put_plain(sim, "Object Created", '{"object": {"key": "a.txt"}}', source="aws.s3", time=time)
        assert sim.run("f").output == {
            "name": "Object Created",
            "data": {"object": {"key": "a.txt"}},
            "id": event_id,
            "ts": ms(time),
            "source": "aws.s3",
        }


def test_a_plain_entry_resolves_a_wait(colour: Colour) -> None:
    """As any event does."""

    def script(ctx: Any) -> Script:
        reply = yield ctx.step.wait_for_event(
            "w", event="Object Created", match={"data.object.key": "a.txt"}, timeout="1h"
        )
        return reply.source

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        put_plain(sim, "Object Created", '{"object": {"key": "b.txt"}}', source="aws.s3")
        put_plain(sim, "Object Created", '{"object": {"key": "a.txt"}}', source="aws.s3")
        assert sim.run("f").output == "aws.s3"


@pytest.mark.parametrize("detail", ["[1, 2]", '"text"', "5", "null"])
def test_a_plain_entry_whose_detail_is_no_object_stops_nothing(colour: Colour, detail: str) -> None:
    """It cannot be an event; the next one is served."""
    with Simulation(colour.app(shown)) as sim:
        sim._world.bus.put_raw([{"DetailType": "go", "Detail": detail, "Source": "x"}])
        sim.send("go", id="e-1")
        assert [run.event.id for run in sim.runs("f")] == ["e-1"]


def test_an_event_whose_time_is_in_the_future_starts_its_runs_then(colour: Colour) -> None:
    """QUEUED until its `ts`, then run; its step sees that time."""

    def script(ctx: Any) -> Script:
        return (yield ctx.step.run("now", lambda: str(ctx.now)))

    with Simulation(colour.app(script)) as sim:
        sim.send("go", ts=START + timedelta(days=40))
        assert sim.run("f").status == "QUEUED"
        assert sim.run("f").started_at is None
        sim.advance(timedelta(days=40) - timedelta(milliseconds=1))
        assert sim.run("f").status == "QUEUED"
        sim.advance(1)
        run = sim.run("f")
    assert (run.status, run.output) == ("COMPLETED", str(START + timedelta(days=40)))


def test_a_queued_run_is_deduplicated_too(colour: Colour) -> None:
    """The same event again, before its time and after it."""
    with Simulation(colour.app(shown)) as sim:
        for _ in range(2):
            sim.send("go", id="e-1", ts=START + timedelta(hours=1))
        sim.advance("2h")
        sim.send("go", id="e-1")
        assert [run.status for run in sim.runs("f")] == ["COMPLETED"]


def test_a_run_may_last_a_year_and_forgets_nothing(colour: Colour) -> None:
    """What it recorded is there at the end, and its event starts no second run, for 20 days more."""
    calls: list[str] = []

    def early() -> dict[str, int]:
        calls.append("early")
        return {"n": 1}

    def script(ctx: Any) -> Script:
        value = yield ctx.step.run("early", early)
        for month in range(12):
            yield ctx.step.sleep(f"month-{month}", "30 days")
        yield ctx.step.run("late", calls.append, "late")
        return value

    with Simulation(colour.app(script)) as sim:
        sim.send("go", id="e-1")
        sim.advance("200 days")
        sim.send("go", id="e-1")
        sim.advance("160 days")
        assert (sim.run("f").status, sim.run("f").output) == ("COMPLETED", {"n": 1})
        sim.advance("20 days")
        sim.send("go", id="e-1")
        assert len(sim.runs("f")) == 1
    assert calls == ["early", "late"]


@pytest.mark.parametrize("event_id", ["🚀", "a/b#c", " ", "x" * 200, 'quo"te', "new\nline", "#", "-"])
def test_an_event_id_may_hold_any_characters(colour: Colour, event_id: str) -> None:
    """And still makes the event one."""
    with Simulation(colour.app(shown)) as sim:
        for _ in range(2):
            assert sim.send("go", id=event_id) == event_id
        (run,) = sim.runs("f")
    assert run.event.id == event_id
    assert run.output["id"] == event_id


@pytest.mark.parametrize(
    "data",
    [
        {"text": "ümlaut 🚀 \u0000 \u2028", "": "empty key", "a.b": {"c d": 1}},
        {"int": 10**25, "float": 0.1, "whole": 1.0, "negative": -0.0, "tiny": 5e-324},
        {"null": None, "true": True, "list": [[], {}, [None]], "data": {"data": 1}},
        {"large": ["x" * 1000] * 200},
    ],
    ids=["text", "numbers", "shapes", "large"],
)
def test_data_arrives_as_it_was_sent(colour: Colour, data: dict[str, Any]) -> None:
    """Equal and of the same types, on the first run and on replays, and through a wait."""
    seen: list[str] = []

    def script(ctx: Any) -> Script:
        seen.append(json.dumps(ctx.event.data))
        reply = yield ctx.step.wait_for_event("w", event="reply", timeout="1h")
        seen.append(json.dumps(reply.data))

    with Simulation(colour.app(script)) as sim:
        sim.send("go", data)
        sim.send("reply", data)
        assert sim.run("f").status == "COMPLETED"
    assert seen == [json.dumps(data)] * 3


def test_the_reserved_key_of_the_data_is_refused(colour: Colour) -> None:
    """`_stepbridge` is the SDK's own: a clear error rather than data that is lost."""
    with Simulation(colour.app(shown)) as sim, pytest.raises(ConfigError, match="_stepbridge"):
        sim.send("go", {"_stepbridge": {"id": "mine"}})


def test_a_future_event_sent_by_a_step_starts_its_runs_then(colour: Colour) -> None:
    """A reminder by event."""
    app = App("shop")

    def sender(ctx: Any) -> Script:
        yield ctx.step.send_event("remind", Event(name="go", ts=ms(START + timedelta(days=3))))

    colour.function(app, "sender", sender, trigger=event("start"))
    colour.function(app, "f", shown)
    with Simulation(app) as sim:
        sim.send("start")
        assert sim.run("f").status == "QUEUED"
        sim.advance("3 days")
        assert sim.run("f").status == "COMPLETED"


def test_an_event_without_a_function_is_only_an_event(colour: Colour) -> None:
    """Nothing runs, nothing fails."""
    with Simulation(colour.app(shown)) as sim:
        sim.send("nobody/cares")
        assert sim.runs() == []
        assert [one.name for one in sim.events] == ["nobody/cares"]


def test_statuses_of_a_run(colour: Colour) -> None:
    """SLEEPING on anything, COMPLETED or FAILED at the end; times go with them."""

    def script(ctx: Any) -> Script:
        yield ctx.step.sleep("nap", "1h")
        return ctx.event.data["x"]

    with Simulation(colour.app(script, retries=0)) as sim:
        sim.send("go", {"x": 1})
        sim.send("go", {})
        assert [run.status for run in sim.runs("f")] == ["SLEEPING", "SLEEPING"]
        sim.advance("1h")
        good, bad = sim.runs("f")
    assert (good.status, good.output, good.error) == ("COMPLETED", 1, None)
    assert (bad.status, bad.output) == ("FAILED", None)
    assert good.created_at == good.started_at == START
    assert good.ended_at == bad.ended_at == START + timedelta(hours=1)


def test_everything_holds_when_the_backend_delivers_at_its_worst(colour: Colour) -> None:
    """Duplicates, other orders, late timers: each run ends once and each step has run once."""
    calls: list[str] = []

    def script(ctx: Any) -> Script:
        number = ctx.event.data["n"]
        yield ctx.step.run("before", calls.append, f"before-{number}")
        reply = yield ctx.step.wait_for_event("w", event="reply", match="data.n", timeout="1h")
        yield ctx.step.sleep("nap", "1h")
        yield ctx.step.run("after", calls.append, f"after-{number}")
        return reply is not None

    for seed in range(8):
        calls.clear()
        with Simulation(colour.app(script), seed=seed) as sim:
            for number in range(5):
                sim.send("go", {"n": number})
            sim.run_until_idle()
            outputs = [run.output for run in sim.runs("f")]
            assert [run.status for run in sim.runs("f")] == ["COMPLETED"] * 5
        assert outputs == [False] * 5
        assert sorted(calls) == sorted(f"{when}-{number}" for when in ("before", "after") for number in range(5))
