"""Failures that a test asks for, and runs as text."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stepbridge import App, ConfigError, Context, NonRetriableError, RetryAfterError, event
from stepbridge.testing import Simulation
from tests.kit import shop_under_test
from tests.kit.shop_under_test import app

pytestmark = pytest.mark.usefixtures("_nothing_charged")


@pytest.fixture
def _nothing_charged() -> None:
    shop_under_test.charged.clear()


def test_the_next_attempts_of_a_step_fail_and_then_it_goes_as_it_would() -> None:
    """Its function is not called meanwhile; the attempts are counted, and their delays are real."""
    with Simulation(app) as sim:
        sim.fail("charge", times=2)
        sim.send("buy", {"orderId": "o-1"})
        step = sim.run("buy").steps["charge"]
        assert (step.status, step.error and step.error["message"]) == ("RETRYING", "charge was made to fail")
        assert shop_under_test.charged == []
        sim.advance("5m")
        step = sim.run("buy").steps["charge"]
        assert (step.status, step.attempts, step.output) == ("COMPLETED", 3, "p-1")
        assert shop_under_test.charged == ["o-1"]


def test_after_the_failures_a_stub_stands_again() -> None:
    """And an async step fails like a sync one."""
    with Simulation(app) as sim:
        sim.stub("thank", "stubbed")
        sim.fail("thank")
        sim.send("buy", {"orderId": "o-1"})
        assert sim.run("buy").steps["thank"].status == "RETRYING"
        sim.advance("5m")
        step = sim.run("buy").steps["thank"]
        assert (step.output, step.attempts) == ("stubbed", 2)


def test_the_error_is_what_the_test_says() -> None:
    """Final, or retried at its own time; of one function only, where it is named."""
    with Simulation(app) as sim:
        sim.fail("charge", RetryAfterError("busy", "10s"), function_id="buy")
        sim.fail("charge", NonRetriableError("not ours"), function_id="another")
        sim.send("buy", {"orderId": "o-1"})
        sim.advance("9s")
        assert sim.run("buy").steps["charge"].status == "RETRYING"
        sim.advance("1s")
        assert sim.run("buy").steps["charge"].status == "COMPLETED"
        sim.fail("charge", NonRetriableError("closed"))
        sim.send("buy", {"orderId": "o-2"})
        failed = sim.run("buy")
        assert (failed.status, failed.error and failed.error["message"]) == ("FAILED", "closed")


def test_a_wait_that_is_made_to_fail_fails_for_good() -> None:
    """It has no attempts."""
    with Simulation(app) as sim:
        sim.fail("review", TimeoutError("gone"))
        sim.send("buy", {"orderId": "o-1"})
        assert sim.run("buy").steps["review"].status == "FAILED"


@pytest.mark.parametrize("step_id", ["charge", "thank"])
def test_a_crash_between_effect_and_record_repeats_the_effect(step_id: str) -> None:
    """Once the lease is over; what was recorded before is not repeated, and the run ends as ever."""
    with Simulation(app) as sim:
        sim.crash(step_id)
        sim.stub("review", None)
        sim.send("buy", {"orderId": "o-1"})
        assert sim.run("buy").status == "RUNNING"
        assert shop_under_test.charged == ["o-1"]
        sim.advance(timedelta(minutes=2.5) - timedelta(seconds=1))
        assert sim.run("buy").status == "RUNNING"
        sim.advance("2s")
        run = sim.run("buy")
        assert (run.status, run.steps[step_id].attempts) == ("COMPLETED", 1)
        assert len(shop_under_test.charged) == (2 if step_id == "charge" else 1)
        assert run.created_at < (run.ended_at or run.created_at)


def test_a_planned_crash_lets_large_values_and_sent_events_pass() -> None:
    """What is put into the bucket and on the bus is no record of a step."""
    large = App("large")

    @large.function("f", trigger=event("go"))
    async def f(ctx: Context) -> int:
        text = await ctx.step.run("text", lambda: "".join(f"{n * 7919 % 100_003:x}-" for n in range(4_000)))
        await ctx.step.send_event("told", {"name": "told"})
        return len(text) + await ctx.step.run("charge", int)

    with Simulation(large) as sim:
        sim.crash("charge")
        sim.send("go")
        sim.advance("20m")
        assert (sim.run("f").status, [one.name for one in sim.events]) == ("COMPLETED", ["go", "told"])


def test_a_sandbox_crashes_as_often_as_it_is_told_to() -> None:
    """Each time the effect is repeated; then the run ends as ever."""
    with Simulation(app) as sim:
        sim.crash("charge", times=2)
        sim.stub("review", None)
        sim.send("buy", {"orderId": "o-1"})
        sim.advance("20m")
        assert (sim.run("buy").status, shop_under_test.charged) == ("COMPLETED", ["o-1"] * 3)


def test_a_crash_is_not_for_moto() -> None:
    """And says so."""
    with Simulation(app, backend="moto") as sim, pytest.raises(ConfigError, match="is for backend='memory'"):
        sim.crash("charge")


def test_no_failure_at_all_is_a_mistake() -> None:
    """Which names the mend."""
    with Simulation(app) as sim, pytest.raises(ConfigError, match=r"times=0\. Mend"):
        sim.fail("charge", times=0)


def test_a_step_that_is_not_there_is_told_with_those_that_are() -> None:
    """And every occurrence of one that is there can be had at once."""
    with Simulation(app) as sim:
        sim.stub("review", None)
        sim.send("buy", {"orderId": "o-1"})
        steps = sim.run("buy").steps
        assert [step.output for step in steps.every("turn")] == [0, 1, 2]
        assert steps.every("nope") == []
        with pytest.raises(KeyError, match=r"there is no step 'nope'; there are: 'charge', 'thank'"):
            steps["nope"]


WAITING = """\
buy: SLEEPING
  event   buy {"orderId": "o-1"}
  step    charge  run             COMPLETED  +40s          2 attempts  "p-1"
  step    thank   run             COMPLETED  +40s                      "thanks for o-1"
  step    review  wait_for_event  WAITING    until +7d40s
"""
ENDED = """\
buy: COMPLETED
  event   buy {"orderId": "o-1"}
  step    charge   run             COMPLETED  +40s    2 attempts  "p-1"
  step    thank    run             COMPLETED  +40s                "thanks for o-1"
  step    review   wait_for_event  COMPLETED  +7d40s
  step    turn     run             COMPLETED  +7d40s              0
  step    turn #2  run             COMPLETED  +7d40s              1
  step    turn #3  run             COMPLETED  +7d40s              2
  output  {"payment": "p-1", "stars": null}
  ended   +7d40s
"""
FAILED = """\
buy: FAILED
  event   buy {"orderId": "ö"}
  step    charge  run  FAILED  +0s    NonRetriableError: two lines
  error   NonRetriableError: two lines
  ended   +0s
"""


def test_a_run_is_the_same_text_each_time() -> None:
    """While it waits, and when it has ended."""
    with Simulation(app) as sim:
        sim.fail("charge", RetryAfterError("busy", "40s"))
        sim.send("buy", {"orderId": "o-1"})
        sim.advance("45s")
        waiting = sim.run("buy").as_text()
        sim.run_until_idle()
        assert (waiting, sim.run("buy").as_text()) == (WAITING, ENDED)


def test_a_failed_run_says_so_on_lines_of_their_own() -> None:
    """Tracebacks and line breaks left out."""
    with Simulation(app) as sim:
        sim.fail("charge", NonRetriableError("two\nlines"))
        sim.send("buy", {"orderId": "ö"})
        assert sim.run("buy").as_text() == FAILED
