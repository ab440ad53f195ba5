"""What a newcomer gets wrong is named, with its mend, where it shows first."""

from __future__ import annotations

import gc
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from stepbridge import App, ConfigError, Context, ContextSync, event
from stepbridge.testing import Simulation


def failure_of(handler: Callable[[Any], Any]) -> str:
    """The error of a run of this handler."""
    app = App("shop")
    app.function("f", trigger=event("go"), retries=0)(handler)
    with Simulation(app) as sim:
        sim.send("go")
        error = sim.run("f").error
        assert error is not None
        told = f"{error['name']}: {error['message']}"
    gc.collect()  # what was never awaited is warned of here, and not in whichever test comes next
    return told


@pytest.mark.filterwarnings("ignore:coroutine 'step.run")
def test_a_step_that_is_returned_instead_of_its_value() -> None:
    """`await` was forgotten."""

    async def handler(ctx: Context) -> Any:
        return ctx.step.run("a", lambda: 1)

    assert failure_of(handler).endswith("which plain JSON cannot carry. Mend: await it.")


@pytest.mark.filterwarnings("ignore:coroutine 'step.run")
def test_a_branch_that_is_called_already() -> None:
    """In both colours: the lambda was forgotten."""

    async def handler(ctx: Context) -> None:
        await ctx.group.parallel((ctx.step.run("a", lambda: 1),))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    def sync(ctx: ContextSync) -> None:
        ctx.group.parallel((ctx.step.run("a", lambda: 1),))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    mend = "ConfigError: group.parallel: branch 0 is no function. Mend: (lambda: ctx.step.run(...), ...)."
    assert failure_of(handler) == failure_of(sync) == mend


def test_a_wait_by_a_field_that_the_trigger_lacks() -> None:
    """It could never be matched."""

    async def handler(ctx: Context) -> None:
        await ctx.step.wait_for_event("paid", event="paid", match="data.orderId", timeout="1h")

    assert failure_of(handler) == (
        "MatchError: the trigger 'go' has no 'data.orderId' to match 'paid' by."
        " Mend: match by a field that it has, or send it with this one."
    )


def test_data_that_is_no_json() -> None:
    """A datetime, most often."""
    app = App("shop")
    app.function("f", trigger=event("go"))(_nothing)
    with (
        Simulation(app) as sim,
        pytest.raises(ConfigError, match=r"\('go'\) has a datetime.datetime at \$.at, .* Mend: .* isoformat"),
    ):
        sim.send("go", {"at": datetime(2026, 1, 1, tzinfo=UTC)})


def test_a_run_that_never_was() -> None:
    """Of a name that nobody listens to: the test says what was sent, and what would have started it."""
    app = App("shop")
    app.function("f", trigger=event("order/created"))(_nothing)
    with Simulation(app) as sim:
        sim.send("order/craeted")
        with pytest.raises(LookupError, match="'f', which 'order/created' starts; sent were: 'order/craeted'"):
            sim.run("f")
        with pytest.raises(LookupError, match="no function 'g'; there are: f"):
            sim.run("g")


async def _nothing(ctx: Context) -> None:
    del ctx
