"""What users' arguments become, and what is refused: the steps' options, declarations, events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from stepbridge import App, ConfigError, Event, EventMatch, NonRetriableError, StepError, Timeouts, event
from stepbridge.context import Context, ContextSync
from stepbridge.core.limits import STEP_ID_MAX
from stepbridge.core.retry import backoff, next_attempt_at
from stepbridge.core.triggers import Pattern
from stepbridge.events import drafts_of
from stepbridge.step_async import Step
from stepbridge.step_sync import StepSync

NOW = datetime(2025, 1, 1, tzinfo=UTC)


class Noted:
    """Carries nothing out: each call gives the step as data."""

    def call(self, step: Any) -> Any:
        """The step."""
        return step

    def parallel(self, branches: Any) -> Any:
        """Nothing."""


def steps(retries: int = 4) -> Any:
    """The steps of a sync handler, as data."""
    return StepSync(Noted(), retries=retries)


async def reads() -> int:
    """A step's function."""
    return 1


def item(value: int) -> int:
    """A map's function."""
    return value


class Holder:
    """Holds a map's function."""

    @staticmethod
    def item(value: int) -> int:
        """It is found by its qualified name."""
        return value


def test_settings_stand_until_they_are_set_anew() -> None:
    """`with_options` of `with_options` changes what it names."""
    step: Any = Step(Noted()).with_options(retries=1, timeout="5s", output_type=Decimal, on_interrupt="raise")
    for _ in range(2):
        made = step.run("a", reads)
        assert (made.retries, made.timeout, made.hint, made.once) == (1, timedelta(seconds=5), Decimal, True)
        step = step.with_options()
    assert step.with_options(retries=0).run("a", reads).retries == 0
    assert step.with_options(on_interrupt="repeat").run("a", reads).once is False
    with pytest.raises(ConfigError, match=r"on_interrupt='never'\. Mend"):
        step.with_options(on_interrupt="never")


@pytest.mark.parametrize("context", [Context, ContextSync])
def test_a_maps_items_have_the_functions_retries_or_their_own(context: Callable[..., Any]) -> None:
    """As a step has."""
    run = SimpleNamespace(run_id="r", function_id="f", max_attempts=3)
    step = context(run, Noted(), Event(name="go")).step
    assert step.map("m", item, [1]).max_attempts == 3
    assert step.with_options(retries=7).map("m", item, [1]).max_attempts == 8


def test_a_maps_results_have_the_type_that_is_asked_for() -> None:
    """Or that of its function."""
    assert steps().map("m", item, [1]).hint is int
    assert steps().with_options(output_type=Decimal).map("m", item, [1]).hint is Decimal
    assert steps().map("m", Holder.item, [1]).target == f"{__name__}:Holder.item"


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda step: step.map("m", item, [1], max_concurrency=0), id="no lane"),
        pytest.param(lambda step: step.map("m", item, [1], max_concurrency=True), id="lanes that are no number"),
        pytest.param(lambda step: step.wait_for_any("w", [], timeout="1h"), id="any of none"),
        pytest.param(lambda step: step.wait_for_signal("w", "", timeout="1h"), id="a signal without a name"),
        pytest.param(lambda step: step.send_signal("w", ""), id="a signal to nobody"),
        pytest.param(lambda step: step.run("x" * (STEP_ID_MAX + 1), item, 1), id="a step id that is too long"),
        pytest.param(lambda step: step.sleep("z", "367 days"), id="a sleep of more than 366 days"),
        pytest.param(lambda step: step.wait_for_event("w", event="e", timeout="367 days"), id="such a wait"),
        pytest.param(lambda step: step.with_options(timeout="1s").run("a", item, 1), id="a timeout of a sync function"),
        pytest.param(lambda step: step.invoke("i", function="f", app="other"), id="another app without a timeout"),
    ],
)
def test_a_wrong_call_is_a_config_error_with_its_mend(call: Callable[[Any], object]) -> None:
    """Before anything is recorded."""
    with pytest.raises(ConfigError, match="Mend"):
        call(steps())


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"timeouts": Timeouts(finish="367 days")}, id="a run of more than 366 days"),
        pytest.param({"waits": ["paid"]}, id="a wait that is a name"),
        pytest.param({"cancel": ["stop"]}, id="a canceller that is a name"),
    ],
)
def test_a_wrong_declaration_is_a_config_error_with_its_mend(options: dict[str, Any]) -> None:
    """At import."""
    with pytest.raises(ConfigError, match="Mend"):
        App("shop").function("f", trigger=event("go"), **options)


def test_a_declared_look_back_is_for_its_event_and_its_way_of_matching() -> None:
    """True: as long as a run may last."""
    app = App("shop")
    function = app.function("f", trigger=event("go"), waits=[EventMatch("paid", match="data.k", lookback=True)])(
        lambda ctx: None
    )
    for pattern, span in (
        (Pattern(event="paid", match="data.k"), timedelta(days=366)),
        (Pattern(event="sent", match="data.k"), None),
        (Pattern(event="paid", match="data.other"), None),
        (Pattern(event="paid"), None),
    ):
        assert function.lookback_of(pattern) == span


def test_an_object_whose_call_is_async_is_an_async_handler() -> None:
    """The colour decides, whatever bears it."""

    class Handler:
        async def __call__(self, ctx: Any) -> None:
            """Nothing."""

    class HandlerSync:
        def __call__(self, ctx: Any) -> None:
            """Nothing."""

    app = App("shop")
    made = [app.function(name, trigger=event("go"))(one()) for name, one in (("f", Handler), ("g", HandlerSync))]
    assert [function.is_async for function in made] == [True, False]


def test_an_on_failure_handler_has_one_attempt() -> None:
    """Whatever its function has."""
    app = App("shop")
    app.function("f", trigger=event("go"), retries=9, on_failure=lambda ctx: None)(lambda ctx: None)
    assert (app.functions["f"].max_attempts, app.functions["f-failure"].max_attempts) == (10, 1)


@pytest.mark.parametrize(
    "sent",
    [
        {"name": "go\n"},
        {"name": "go", "ts": -1},
        {"name": "go", "data": {"x": "x" * 1024 * 1024}},
        {"name": "go", "id": "i" * 300},
    ],
    ids=["an unprintable name", "a time before 1970", "data above 1 MB", "a long id"],
)
def test_an_event_that_the_bus_or_a_record_could_not_hold_is_refused(sent: dict[str, Any]) -> None:
    """Where it is sent."""
    with pytest.raises(ConfigError):
        drafts_of(sent, what="send")


def test_an_event_of_no_data_has_none() -> None:
    """None is the empty object."""
    assert Event[Any].model_validate({"name": "go", "data": None}).data == {}


@pytest.mark.parametrize("error", [ConfigError("wrong"), NonRetriableError("no"), StepError("ValueError", "no")])
def test_what_the_next_attempt_would_not_mend_has_none(error: Exception) -> None:
    """However many are left."""
    assert next_attempt_at(error, run_id="r", name="s", attempts=1, max_attempts=9, now=NOW) is None


def test_jitter_is_up_to_thirty_seconds_and_each_steps_own() -> None:
    """A hash of run, step and attempt."""
    delays = [backoff(f"r{n}", "s", 0).total_seconds() for n in range(300)]
    assert 15 <= min(delays) < 16
    assert 44 < max(delays) < 45
    assert backoff("r", "one", 0) != backoff("r", "other", 0)
    assert backoff("r", "s", 10) != backoff("r", "s", 11)  # both of two hours
