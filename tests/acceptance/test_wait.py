"""`wait_for_event`: what resolves a wait, when, and how often."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from stepbridge import App, Event, event
from stepbridge.testing import Simulation
from tests.acceptance.helpers import START, Colour, Script, error_of, ms


def wait(ctx: Any) -> Script:
    """Waits an hour for a reply and returns its data."""
    reply: Event | None = yield ctx.step.wait_for_event("reply", event="reply", timeout="1h")
    return None if reply is None else reply.data


def test_a_wait_returns_the_event(colour: Colour) -> None:
    """The whole event: name, data, id, ts and source, as an `Event`."""

    def script(ctx: Any) -> Script:
        reply: Event = yield ctx.step.wait_for_event("reply", event="reply", timeout="1h")
        return {"type": type(reply).__mro__[1].__name__ if type(reply) is not Event else "Event"} | reply.model_dump()

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        sim.advance("1m")
        sim.send(Event(name="reply", data={"n": 1}, id="r-1", source="billing"))
        run = sim.run("f")
    assert run.output == {
        "type": "Event",
        "name": "reply",
        "data": {"n": 1},
        "id": "r-1",
        "ts": ms(START + timedelta(minutes=1)),
        "source": "billing",
    }


def test_a_wait_returns_none_once_its_timeout_has_passed(colour: Colour) -> None:
    """Not before, and by the clock alone."""
    with Simulation(colour.app(wait)) as sim:
        sim.send("go")
        sim.advance("59m59s")
        assert sim.run("f").status == "SLEEPING"
        sim.advance("1s")
        run = sim.run("f")
    assert (run.status, run.output) == ("COMPLETED", None)
    assert run.steps["reply"].output is None
    assert run.steps["reply"].status == "COMPLETED"
    assert (run.steps["reply"].started_at, run.steps["reply"].ended_at) == (START, START + timedelta(hours=1))


def test_the_first_event_wins(colour: Colour) -> None:
    """What comes after the match is not for this wait."""
    with Simulation(colour.app(wait)) as sim:
        sim.send("go")
        sim.send("reply", {"n": 1})
        sim.send("reply", {"n": 2})
        sim.run_until_idle()
        assert sim.run("f").output == {"n": 1}


def test_an_event_after_the_timeout_is_too_late(colour: Colour) -> None:
    """The wait has returned None, and stays so."""
    with Simulation(colour.app(wait)) as sim:
        sim.send("go")
        sim.advance("1h")
        sim.send("reply", {"n": 1})
        sim.run_until_idle()
        assert sim.run("f").output is None


def test_an_event_just_before_the_timeout_counts(colour: Colour) -> None:
    """The last millisecond belongs to the wait."""
    with Simulation(colour.app(wait)) as sim:
        sim.send("go")
        sim.advance(timedelta(hours=1) - timedelta(milliseconds=1))
        sim.send("reply", {"n": 1})
        assert sim.run("f").output == {"n": 1}


def test_an_event_before_the_wait_is_not_seen(colour: Colour) -> None:
    """A wait looks ahead only."""

    def script(ctx: Any) -> Script:
        yield ctx.step.sleep("first", "10m")
        reply = yield ctx.step.wait_for_event("reply", event="reply", timeout="1h")
        return reply is None

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        sim.send("reply")
        sim.run_until_idle()
        assert sim.run("f").output is True


def test_an_event_of_the_same_millisecond_as_the_wait_counts_as_later(colour: Colour) -> None:
    """The virtual clock stands still between the two sends."""
    with Simulation(colour.app(wait)) as sim:
        sim.send("go")
        sim.send("reply", {"n": 1})
        assert sim.now == START
        assert sim.run("f").output == {"n": 1}


def test_an_event_of_another_name_is_not_for_the_wait(colour: Colour) -> None:
    """Names are compared whole, case included."""
    with Simulation(colour.app(wait)) as sim:
        sim.send("go")
        for name in ("reply2", "Reply", "repl", "reply/x", "a/reply"):
            sim.send(name)
        assert sim.run("f").status == "SLEEPING"


def test_two_waits_in_a_row_need_two_events(colour: Colour) -> None:
    """One event resolves one of a run's successive waits."""

    def script(ctx: Any) -> Script:
        first = yield ctx.step.wait_for_event("first", event="reply", timeout="1h")
        second = yield ctx.step.wait_for_event("second", event="reply", timeout="1h")
        return [first.data["n"], second.data["n"]]

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        sim.send("reply", {"n": 1})
        assert sim.run("f").status == "SLEEPING"
        sim.send("reply", {"n": 2})
        assert sim.run("f").output == [1, 2]


def test_one_event_resolves_the_waits_of_several_runs(colour: Colour) -> None:
    """Every wait that it matches."""
    with Simulation(colour.app(wait)) as sim:
        for _ in range(12):
            sim.send("go")
        sim.send("reply", {"n": 7})
        runs = sim.runs("f")
    assert [run.output for run in runs] == [{"n": 7}] * 12


def test_one_event_resolves_waits_and_starts_functions_at_once(colour: Colour) -> None:
    """A fulfilment that waits and a ledger that is triggered both get it, the same one."""
    app = colour.app(wait)

    def ledger(ctx: Any) -> Script:
        yield ctx.step.sleep("nothing", 0)
        return ctx.event.id

    colour.function(app, "ledger", ledger, trigger=event("reply"))
    colour.function(app, "audit", ledger, trigger=event("reply"))
    with Simulation(app) as sim:
        sim.send("go")
        event_id = sim.send("reply", {"n": 1})
        assert sim.run("f").output == {"n": 1}
        assert sim.run("ledger").output == event_id
        assert sim.run("audit").output == event_id
        assert len(sim.runs()) == 3


def test_one_event_resolves_several_waits_of_one_run() -> None:
    """Two branches that wait for the same event both get it."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def f(ctx: Any) -> list[int]:
        both = await ctx.group.parallel(
            [
                lambda: ctx.step.wait_for_event("a", event="reply", timeout="1h"),
                lambda: ctx.step.wait_for_event("b", event="reply", timeout="1h"),
            ]
        )
        return [one.data["n"] for one in both]

    with Simulation(app) as sim:
        sim.send("go")
        sim.send("reply", {"n": 3})
        assert sim.run("f").output == [3, 3]


def test_the_trigger_does_not_resolve_its_own_runs_wait(colour: Colour) -> None:
    """The event that started the run came before the wait; another one of its name does resolve it."""

    def script(ctx: Any) -> Script:
        other = yield ctx.step.wait_for_event("other", event="go", timeout="1h")
        return None if other is None else other.data

    with Simulation(colour.app(script)) as sim:
        sim.send("go", {"n": 1})
        assert sim.run("f").status == "SLEEPING"
        sim.send("go", {"n": 2})
        first, second = sim.runs("f")
    assert (first.status, first.output) == ("COMPLETED", {"n": 2})
    assert second.status == "SLEEPING"


def test_a_wait_sees_a_duplicate_of_an_event_once(colour: Colour) -> None:
    """The same event delivered twice does not resolve the next wait too."""

    def script(ctx: Any) -> Script:
        first = yield ctx.step.wait_for_event("first", event="reply", timeout="1h")
        second = yield ctx.step.wait_for_event("second", event="reply", timeout="1h")
        return [first.data["n"], None if second is None else second.data["n"]]

    with Simulation(colour.app(script), seed=3) as sim:
        sim.send("go")
        sim.run("f")
        sim.advance("1m")
        sim.send("reply", {"n": 1})
        sim.advance("3h")
        assert sim.run("f").output == [1, None]


def test_an_event_with_a_future_time_matches_waits_at_once(colour: Colour) -> None:
    """Its `ts` delays the starts of runs, not waits."""
    with Simulation(colour.app(wait)) as sim:
        sim.send("go")
        sim.send("reply", {"n": 1}, ts=START + timedelta(days=1))
        assert sim.run("f").output == {"n": 1}


@pytest.mark.parametrize("timeout", ["30s", 30_000, timedelta(seconds=30)], ids=repr)
def test_every_form_of_timeout_is_taken(colour: Colour, timeout: Any) -> None:
    """A duration as in `sleep`."""

    def script(ctx: Any) -> Script:
        yield ctx.step.wait_for_event("reply", event="reply", timeout=timeout)
        return ctx.now.isoformat()

    assert colour.play(script).output == "2025-01-01T00:00:30+00:00"


def test_a_wait_without_a_timeout_is_refused(colour: Colour) -> None:
    """It is required: a `TypeError` by Python itself, or a `ConfigError`."""

    def script(ctx: Any) -> Script:
        yield ctx.step.wait_for_event("reply", event="reply")

    assert error_of(colour.play(script, retries=0))["name"] in {"TypeError", "ConfigError"}


@pytest.mark.parametrize("timeout", ["never", -1, "367 days"], ids=repr)
def test_a_bad_timeout_is_a_clear_error(colour: Colour, timeout: Any) -> None:
    """It names the step and the value."""

    def script(ctx: Any) -> Script:
        yield ctx.step.wait_for_event("my-wait", event="reply", timeout=timeout)

    error = error_of(colour.play(script, retries=0))
    assert error["name"] == "ConfigError"
    assert "my-wait" in error["message"]
    assert repr(timeout) in error["message"]


class Reply(BaseModel):
    """What a reply says."""

    n: int
    at: timedelta = timedelta(0)


def test_a_wait_with_a_model_returns_its_instance(colour: Colour) -> None:
    """On the first delivery and on every replay after it."""
    seen: list[object] = []

    def script(ctx: Any) -> Script:
        reply = yield ctx.step.wait_for_event("reply", event="reply", timeout="1h", model=Reply)
        seen.append(reply.data)
        yield ctx.step.sleep("more", "1h")
        return reply.data.n

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        sim.send("reply", {"n": "4", "at": "PT1H"})
        sim.advance("1h")
        assert sim.run("f").output == 4
    assert seen == [Reply(n=4, at=timedelta(hours=1))] * 2


def test_a_waiting_step_is_shown_as_such(colour: Colour) -> None:
    """Kind and status of a wait, before and after, and the event as its output."""
    with Simulation(colour.app(wait)) as sim:
        sim.send("go")
        pending = sim.run("f").steps["reply"]
        sim.advance("5m")
        event_id = sim.send("reply", {"n": 1})
        ended = sim.run("f").steps["reply"]
    assert (pending.kind, pending.status, pending.output) == ("wait_for_event", "WAITING", None)
    assert (ended.kind, ended.status) == ("wait_for_event", "COMPLETED")
    assert ended.output["data"] == {"n": 1}
    assert ended.output["id"] == event_id
    assert ended.ended_at == START + timedelta(minutes=5)


def test_an_awaited_event_is_the_same_on_every_replay(colour: Colour) -> None:
    """The recorded event is replayed, whatever is sent later."""
    seen: list[dict[str, Any]] = []

    def script(ctx: Any) -> Script:
        reply: Event = yield ctx.step.wait_for_event("reply", event="reply", timeout="1h")
        seen.append(reply.model_dump())
        yield ctx.step.sleep("a", "1h")
        yield ctx.step.sleep("b", "1h")

    with Simulation(colour.app(script)) as sim:
        sim.send("go")
        sim.send("reply", {"n": 1})
        sim.send("reply", {"n": 2})
        sim.run_until_idle()
        assert sim.run("f").status == "COMPLETED"
    assert len(seen) == 3
    assert seen[0] == seen[1] == seen[2]
    assert seen[0]["data"] == {"n": 1}
