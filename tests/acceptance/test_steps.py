"""`step.run`: runs once durably, is known by id and occurrence, takes options."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from stepbridge import App, Context, ContextSync, StepError, current_step, event
from stepbridge.testing import Simulation
from tests.acceptance.helpers import START, Colour, Flaky, Script, error_of


def test_the_contracts_example_fulfils_an_order_that_is_paid() -> None:
    """Section 1's handler, word for word but for its user code."""
    app = App("shop")

    async def create_order(data: dict[str, Any]) -> dict[str, Any]:
        return {"id": data["orderId"]}

    def fulfil(order_id: str) -> None:
        done.append(f"fulfilled {order_id}")

    def cancel_order(order_id: str) -> None:
        done.append(f"cancelled {order_id}")

    @app.function("fulfil-order", trigger=event("order/created"))
    async def fulfil_order(ctx: Context) -> dict[str, object]:
        order = await ctx.step.run("create-order", create_order, ctx.event.data)
        payment = await ctx.step.wait_for_event(
            "wait-payment", event="payment/completed", match="data.orderId", timeout="24h"
        )
        if payment is None:
            await ctx.step.run("cancel-order", cancel_order, order["id"])
            return {"status": "cancelled"}
        await ctx.step.run("fulfil", fulfil, order["id"])
        return {"status": "fulfilled"}

    done: list[str] = []
    with Simulation(app) as sim:
        sim.send("order/created", {"orderId": "o-1"})
        sim.send("order/created", {"orderId": "o-2"})
        sim.send("payment/completed", {"orderId": "o-1"})
        sim.advance("24h")
        assert [run.output for run in sim.runs("fulfil-order")] == [{"status": "fulfilled"}, {"status": "cancelled"}]
    assert done == ["fulfilled o-1", "cancelled o-2"]


def test_a_step_runs_once_however_often_the_handler_is_replayed(colour: Colour) -> None:
    """Three sleeps: four executions of the handler, one of each step."""
    calls: list[str] = []

    def script(ctx: Any) -> Script:
        calls.append("handler")
        for name in ("a", "b", "c"):
            yield ctx.step.run(name, calls.append, name)
            yield ctx.step.sleep(f"after-{name}", "1h")
        return "done"

    run = colour.play(script)
    assert run.output == "done"
    assert sorted(calls) == ["a", "b", "c"] + ["handler"] * 4


def test_positional_and_keyword_arguments_reach_the_function(colour: Colour) -> None:
    """As they were given."""

    def show(*args: int, **kwargs: int) -> list[object]:
        return [list(args), kwargs]

    def script(ctx: Any) -> Script:
        return (yield ctx.step.run("show", show, 1, 2, x=3, step_id=4, fn=5))

    assert colour.play(script).output == [[1, 2], {"x": 3, "step_id": 4, "fn": 5}]


def test_the_step_id_is_positional_only(colour: Colour) -> None:
    """So that `fn` may take any keyword."""

    def script(ctx: Any) -> Script:
        return (yield ctx.step.run(step_id="a", fn=len))

    assert error_of(colour.play(script, retries=0))["name"] == "TypeError"


def test_an_async_handler_runs_async_functions_in_its_loop() -> None:
    """The coroutine function is awaited."""
    app = App("shop")

    async def fetch(number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> int:
        return await ctx.step.run("fetch", fetch, 1)

    with Simulation(app) as sim:
        sim.send("go")
        assert sim.run("f").output == 2


def test_an_async_handler_runs_sync_functions_in_a_worker_thread() -> None:
    """A blocking function does not block the handler's loop."""
    app = App("shop")
    threads: dict[str, int] = {}

    def note() -> None:
        threads["step"] = threading.get_ident()

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> None:
        threads["handler"] = threading.get_ident()
        await ctx.step.run("note", note)

    with Simulation(app) as sim:
        sim.send("go")
        assert sim.run("f").status == "COMPLETED"
    assert threads["step"] != threads["handler"]


@pytest.mark.parametrize("make", [lambda: 41 + 1, partial(int, "42"), "42".__len__], ids=["lambda", "partial", "bound"])
def test_any_callable_will_do(colour: Colour, make: Any) -> None:
    """Lambdas, partials, bound methods."""

    def script(ctx: Any) -> Script:
        return (yield ctx.step.run("make", make))

    assert colour.play(script).output in {42, 2}


@pytest.mark.parametrize("wrong", [None, 5, "len"], ids=repr)
def test_what_is_no_function_is_a_clear_error(colour: Colour, wrong: Any) -> None:
    """Names the step and what was given."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("my-step", wrong)

    error = error_of(colour.play(script, retries=0))
    assert error["name"] == "ConfigError"
    assert "my-step" in error["message"]


@pytest.mark.parametrize("wrong", ["", None, 7], ids=repr)
def test_a_step_id_is_text_that_is_not_empty(colour: Colour, wrong: Any) -> None:
    """Anything else is a clear error."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run(wrong, int)

    error = error_of(colour.play(script, retries=0))
    assert error["name"] == "ConfigError"
    assert repr(wrong) in error["message"]


@pytest.mark.parametrize(
    "step_id", ["🚀", "a/b#c:1", " ", "naïve step", "x" * 500, "%$^&", 'quo"te', "new\nline", "a:1"]
)
def test_a_step_id_may_hold_any_characters(colour: Colour, step_id: str) -> None:
    """And is shown as written, for steps of every kind."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run(step_id, int)
        yield ctx.step.sleep(step_id + "s", "1h")
        yield ctx.step.wait_for_event(step_id + "w", event="reply", timeout="1h")
        yield ctx.step.send_event(step_id + "e", {"name": "sent"})
        return "done"

    run = colour.play(script)
    assert run.output == "done"
    assert list(run.steps) == [step_id, step_id + "s", step_id + "w", step_id + "e"]


def test_a_repeated_step_id_is_told_apart_by_occurrence(colour: Colour) -> None:
    """`steps["id"]` is the first, `steps["id", 1]` the second; each runs once, over replays too."""
    calls: list[int] = []

    def square(number: int) -> int:
        calls.append(number)
        return number * number

    def script(ctx: Any) -> Script:
        squares = []
        for number in range(3):
            squares.append((yield ctx.step.run("square", square, number + 1)))
            yield ctx.step.sleep("nap", "1h")
        return squares

    run = colour.play(script)
    assert run.output == [1, 4, 9]
    assert calls == [1, 2, 3]
    assert [run.steps["square"].output, run.steps["square", 1].output, run.steps["square", 2].output] == [1, 4, 9]
    assert run.steps["square", 0] == run.steps["square"]
    assert ("square", 3) not in run.steps
    assert run.steps["nap", 2].ended_at == START + timedelta(hours=3)


def test_occurrences_are_not_confused_with_ids_that_look_like_them(colour: Colour) -> None:
    """`a` for the second time is not `a:1`."""

    def script(ctx: Any) -> Script:
        values = []
        for step_id, value in (("a", 1), ("a:1", 2), ("a", 3), ("a#1", 4), ("a/1", 5)):
            values.append((yield ctx.step.run(step_id, lambda value=value: value)))
        yield ctx.step.sleep("nap", "1h")
        return values

    run = colour.play(script)
    assert run.output == [1, 2, 3, 4, 5]
    assert run.steps["a", 1].output == 3


def test_steps_are_shown_in_order_of_completion(colour: Colour) -> None:
    """With kind, status, output, attempts and times."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("one", lambda: {"n": 1})
        yield ctx.step.sleep("two", "1h")
        yield ctx.step.send_event("three", {"name": "sent"})

    run = colour.play(script)
    assert list(run.steps) == ["one", "two", "three"]
    assert [step.kind for step in run.steps.values()] == ["run", "sleep", "send_event"]
    one = run.steps["one"]
    assert (one.status, one.output, one.error, one.attempts) == ("COMPLETED", {"n": 1}, None, 1)
    assert (one.started_at, one.ended_at) == (START, START)


def test_the_current_step_has_a_stable_effect_key(colour: Colour) -> None:
    """Equal over the attempts of a step, different for each step, occurrence and run."""
    keys: list[tuple[str, str]] = []
    flaky = Flaky(ValueError("once"))

    def charge(name: str) -> str:
        keys.append((name, current_step().effect_key))
        return flaky()

    def script(ctx: Any) -> Script:
        yield ctx.step.run("charge", charge, ctx.event.data["run"] + "-0")
        yield ctx.step.run("charge", charge, ctx.event.data["run"] + "-1")
        yield ctx.step.run("refund", charge, ctx.event.data["run"] + "-refund")

    with Simulation(colour.app(script)) as sim:
        sim.send("go", {"run": "first"})
        sim.run_until_idle()
        sim.send("go", {"run": "second"})
        sim.run_until_idle()
    assert len(keys) == 7
    assert len({key for _, key in keys}) == len({name for name, _ in keys}) == 6


def test_there_is_no_current_step_outside_a_step(colour: Colour) -> None:
    """A clear error rather than somebody else's key."""

    def script(ctx: Any) -> Script:
        yield ctx.step.run("a", int)
        return current_step().effect_key

    assert error_of(colour.play(script, retries=0))["name"] == "RuntimeError"


def test_with_options_sets_a_steps_own_retries(colour: Colour) -> None:
    """And leaves the others, and the original steps, as they were."""
    flaky, patient = Flaky(*[ValueError("no")] * 9), Flaky(*[ValueError("no")] * 6)

    def script(ctx: Any) -> Script:
        attempts = 0
        try:
            yield ctx.step.with_options(retries=1).run("impatient", flaky)
        except StepError as error:
            attempts = error.attempts
        value = yield ctx.step.with_options(retries=6).run("patient", patient)
        return [attempts, value]

    run = colour.play(script)
    assert run.output == [2, "done"]
    assert (flaky.calls, patient.calls) == (2, 7)
    assert run.steps["patient"].attempts == 7


@pytest.mark.parametrize("retries", [-1, 21, 1.5, "3", True], ids=repr)
def test_with_options_refuses_retries_out_of_range(colour: Colour, retries: Any) -> None:
    """0 to 20."""

    def script(ctx: Any) -> Script:
        yield ctx.step.with_options(retries=retries).run("a", int)

    error = error_of(colour.play(script, retries=0))
    assert error["name"] == "ConfigError"
    assert repr(retries) in error["message"]


def test_with_options_ends_an_async_function_that_takes_too_long() -> None:
    """The step fails with a timeout, and is retried like any failure."""
    app = App("shop")
    calls = 0

    async def slow() -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.sleep(30)
        return "done"

    @app.function("f", trigger=event("go"))
    async def f(ctx: Context) -> str:
        return await ctx.step.with_options(timeout="30ms").run("slow", slow)

    with Simulation(app) as sim:
        sim.send("go")
        failed = sim.run("f").steps["slow"]
        sim.run_until_idle()
        run = sim.run("f")
    assert failed.error is not None
    assert "Timeout" in failed.error["name"]
    assert (run.output, run.steps["slow"].attempts) == ("done", 2)


def test_a_timeout_for_a_sync_function_is_a_clear_error(colour: Colour) -> None:
    """A thread cannot be stopped: a `ConfigError` that says so."""

    def script(ctx: Any) -> Script:
        yield ctx.step.with_options(timeout="5s").run("my-step", int)

    error = error_of(colour.play(script, retries=0))
    assert error["name"] == "ConfigError"
    assert "my-step" in error["message"]
    assert "thread" in error["message"]


def test_a_step_id_from_two_source_lines_is_warned_of_once(colour: Colour, caplog: pytest.LogCaptureFixture) -> None:
    """Naming the id and both lines; a loop over one line is no cause."""

    def script(ctx: Any) -> Script:
        for _ in range(3):
            yield ctx.step.run("looped", int)
        yield ctx.step.run("shared", int)
        yield ctx.step.run("shared", int)
        yield ctx.step.sleep("nap", "1h")

    first = script.__code__.co_firstlineno + 3
    colour.play(script)
    told = [record.getMessage() for record in caplog.records if "shared" in record.getMessage()]
    assert len(told) == 1
    assert f"{first}" in told[0]
    assert f"{first + 1}" in told[0]
    assert not [record for record in caplog.records if "looped" in record.getMessage()]


def test_an_async_function_in_a_sync_handler_is_a_clear_error() -> None:
    """A sync handler has no loop to await it in; nothing is left unawaited."""
    app = App("shop")

    async def fetch() -> int:
        return 1

    @app.function("f", trigger=event("go"), retries=0)
    def f(ctx: ContextSync) -> None:
        ctx.step.run("my-step", fetch)  # type: ignore[unused-coroutine]

    with Simulation(app) as sim:
        sim.send("go")
        error = error_of(sim.run("f"))
    assert error["name"] == "ConfigError"
    assert "my-step" in error["message"]
