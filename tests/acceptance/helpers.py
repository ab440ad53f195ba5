"""What the acceptance suite shares: handlers written once for both colours, and small doubles."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from stepbridge import App, ConfigError, Context, ContextSync, Function, event
from stepbridge.testing import RunView, Simulation

START = datetime(2025, 1, 1, tzinfo=UTC)
"""When a `Simulation` begins, by the contract."""

Script = Generator[Any, Any, Any]
"""A handler of either colour: it yields step calls and is sent their values.

`value = yield ctx.step.run(...)`: in an async handler the call is a coroutine, which is awaited for the
script; in a sync one it is the value already. What a step raises, the script sees at its `yield`.
"""


@dataclass(frozen=True)
class Colour:
    """Makes handlers of one colour out of scripts."""

    is_async: bool

    def handler(self, script: Callable[[Any], Script]) -> Callable[..., Any]:
        """The script as a handler that an app takes."""

        async def handle(ctx: Context) -> Any:
            turns = script(ctx)
            try:
                step = next(turns)
                while True:
                    try:
                        value = await step
                    except Exception as error:  # noqa: BLE001 - the script decides
                        step = turns.throw(error)
                    else:
                        step = turns.send(value)
            except StopIteration as end:
                return end.value

        def handle_sync(ctx: ContextSync) -> Any:
            turns = script(ctx)
            try:
                value = next(turns)
                while True:
                    value = turns.send(value)
            except StopIteration as end:
                return end.value

        return handle if self.is_async else handle_sync

    def app(self, script: Callable[[Any], Script], **options: Any) -> App:
        """An app whose one function, "f", plays the script at each event "go"."""
        app = App("shop")
        self.function(app, "f", script, **options)
        return app

    def function(self, app: App, function_id: str, script: Callable[[Any], Script], **options: Any) -> Function[Any]:
        """One more function of the app; it is triggered by "go" unless the options say otherwise."""
        made: Function[Any] = app.function(function_id, **{"trigger": event("go"), **options})(self.handler(script))
        return made

    def play(self, script: Callable[[Any], Script], data: Mapping[str, Any] | None = None, **options: Any) -> RunView:
        """The run of the script at one event, with nothing more to happen."""
        with Simulation(self.app(script, **options)) as sim:
            sim.send("go", data)
            sim.run_until_idle()
            return sim.run("f")


ASYNC, SYNC = Colour(is_async=True), Colour(is_async=False)


class Flaky:
    """A function for a step: raises its errors one after the other, then returns "done"."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        """One attempt."""
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


class Broken:
    """A function for a step: raises the same error at each call."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.calls = 0

    def __call__(self) -> None:
        """One attempt."""
        self.calls += 1
        raise self.error


def put_plain(sim: Simulation, name: str, detail: str, *, source: str, time: datetime | None = None) -> str:
    """Puts an event as any AWS service would, without the SDK's reserved key; the id that EventBridge gave."""
    entry: dict[str, Any] = {"DetailType": name, "Detail": detail, "Source": source}
    if time is not None:
        entry["Time"] = time.timestamp()
    (answer,) = sim._world.bus.put_raw([entry])
    sim.advance(0)
    return answer["EventId"]


def error_of(run: RunView) -> dict[str, str]:
    """The run's error, which has to be there."""
    assert run.error is not None
    return run.error


def ms(instant: datetime) -> int:
    """Milliseconds since the epoch."""
    return int(instant.timestamp() * 1000)


def after(duration: timedelta) -> datetime:
    """An instant so long after the simulation's start."""
    return START + duration


def declared(declare: Callable[[App], object]) -> str:
    """The message of the `ConfigError` that a declaration ends in."""
    try:
        declare(App("shop"))
    except ConfigError as error:
        return str(error)
    message = "no ConfigError was raised"
    raise AssertionError(message)
