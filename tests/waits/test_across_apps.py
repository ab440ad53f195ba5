"""`invoke(app=...)`: another app on the bus runs the function, and its end comes back as an event."""

from __future__ import annotations

from typing import Any

from stepbridge import App, Context, ContextSync, StepError, event, invoke_only
from stepbridge.testing import RunView, Simulation
from tests.faults.crash import CrashingSimulation, Knife


def two_apps() -> tuple[App, App]:
    """One that asks, one that answers."""
    asks, answers = App("asks"), App("answers")

    @answers.function("double", trigger=invoke_only())
    async def double(ctx: Context) -> int:
        await ctx.step.sleep("z", "1m")
        return int(ctx.event.data["n"]) * 2

    @answers.function("broken", trigger=invoke_only(), retries=0)
    def broken(ctx: ContextSync) -> None:
        raise ValueError("out of order")

    @answers.function("slow", trigger=invoke_only())
    async def slow(ctx: Context) -> None:
        await ctx.step.sleep("z", "5h")

    @asks.function("f", trigger=event("go"), retries=0)
    async def handler(ctx: Context) -> Any:
        try:
            return await ctx.step.invoke(
                "ask", function=ctx.event.data["function"], app="answers", data={"n": 21}, timeout="1h"
            )
        except StepError as error:
            return [error.name, error.message]

    return asks, answers


def played(function_id: str) -> tuple[RunView, list[tuple[str, str]]]:
    """The run that asks for a function, and all runs' ends."""
    with Simulation(*two_apps()) as sim:
        sim.send("go", {"function": function_id})
        sim.run_until_idle()
        return sim.run("f"), [(run.function_id, run.status) for run in sim.runs()]


def test_the_other_app_s_output_comes_back() -> None:
    """Across a sleep of the child."""
    run, runs = played("double")
    assert run.output == 42
    assert ("double", "COMPLETED") in runs


def test_the_other_app_s_error_comes_back() -> None:
    """As a `StepError` with the child's name and message."""
    assert played("broken")[0].output == ["ValueError", "out of order"]


def test_a_function_that_the_other_app_lacks_is_told_of() -> None:
    """By that app: only it knows."""
    assert played("nobody")[0].output == ["FunctionNotFoundError", "app 'answers' has no function 'nobody'"]


def test_a_child_whose_function_is_gone_later_waits_for_its_return() -> None:
    """It has begun, so its history is kept, as that of any run whose code is gone."""
    asks, answers = two_apps()
    with Simulation(asks, answers) as sim:
        sim.send("go", {"function": "double"})
        del answers.functions["double"]
        sim.advance("2m")
        assert (sim.run("double").status, sim.run("f").status) == ("PARKED", "SLEEPING")


def test_a_child_that_is_too_slow_is_cancelled_there() -> None:
    """The parent goes on; nobody waits for the child any more."""
    run, runs = played("slow")
    assert run.output[0] == "InvokeTimeoutError"
    assert ("slow", "CANCELLED") in runs


def test_an_app_that_is_not_there_is_a_timeout() -> None:
    """Nothing else can tell; that is why `timeout` is required."""
    with Simulation(two_apps()[0]) as sim:
        sim.send("go", {"function": "double"})
        sim.advance("1h")
        assert sim.run("f").output[0] == "InvokeTimeoutError"


def test_another_app_without_a_timeout_is_refused() -> None:
    """At the call, with the mend."""
    app = App("asks")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        await ctx.step.invoke("ask", function="double", app="answers")

    with Simulation(app) as sim:
        sim.send("go")
        error = sim.run("f").error
    assert error is not None
    assert (error["name"], "Mend" in error["message"]) == ("ConfigError", True)


def ended(knife: Knife) -> tuple[list[tuple[str, str, str]], list[str]]:
    """How both apps' runs end under the knife, and what is left."""
    with CrashingSimulation(*two_apps(), knife=knife) as sim:
        sim.send("go", {"function": "double"}, id="go")
        sim.run_until_idle()
        return sorted((run.function_id, run.status, repr(run.output)) for run in sim.runs()), sim.leftovers()


def test_cut_anywhere_in_either_app_it_ends_the_same() -> None:
    """Requests and replies are idempotent by name."""
    calm = Knife()
    want = ended(calm)
    assert want[1] == []
    assert [point for point in range(2 * calm.requests) if ended(Knife(frozenset({point}))) != want] == []
