"""What user code returns and raises: its run ends with a reason, whatever runs when the engine looks at it."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, field_serializer

from stepbridge import App, Context, ContextSync, EventMatch, NonRetriableError, RetryAfterError, StepError, event
from stepbridge.core.codec import encode
from stepbridge.engine.session import Session
from tests.waits.bench import START, Bench

MESSAGES_MAX = 12
"""Of one run and its neighbour: a run that comes back for ever has more."""


class Looked(ZeroDivisionError):  # noqa: N818 - a hostile one
    """Raised where somebody looks."""


class Faceless:
    """Has no class that may be asked for."""

    @property
    def __class__(self) -> Any:
        raise Looked

    @__class__.setter
    def __class__(self, given: object) -> None:
        raise Looked


class Untouchable:
    """Has no attribute that may be read."""

    def __getattribute__(self, name: str) -> Any:
        raise Looked


class Leaver(Exception):  # noqa: N818 - a hostile one
    """Ends the process of whoever shows it."""

    def __str__(self) -> str:
        raise SystemExit(3)


class Numb(Exception):  # noqa: N818 - a hostile one
    """Cannot be asked what it is."""

    def __getattribute__(self, name: str) -> Any:
        raise Looked


class Declined(StepError):  # noqa: N818 - a hostile one
    """Does not call the class that it is made from, as people forget to."""

    def __init__(self) -> None:
        """Nothing."""


class Busy(RetryAfterError):  # noqa: N818 - a hostile one
    """The same."""

    def __init__(self) -> None:
        """Nothing."""


def nested(error: Exception, levels: int) -> Exception:
    """Groups in groups."""
    for level in range(levels):
        error = ExceptionGroup(str(level), [error])
    return error


def odd(name: Any, message: Any, stack: Any = "") -> StepError:
    """One that user code makes by itself."""
    return StepError(name, message, stack=stack)


RETURNED: dict[str, Callable[[], Any]] = {
    "an integer beyond Python's texts": lambda: {"a": [10**5_000]},
    "faceless": Faceless,
    "untouchable": Untouchable,
}
RAISED: dict[str, tuple[Callable[[], BaseException], str]] = {
    "ends its reader": (Leaver, "Leaver"),
    "cannot be looked at": (Numb, "RuntimeError"),
    "a step error without its fields": (Declined, "Declined"),
    "a retry without a delay": (Busy, "ConfigError"),
    "a retry after spaces": (lambda: RetryAfterError("busy", " " * 60_000), "ConfigError"),
    "a step error of objects": (lambda: odd(object(), None, [1]), "StepError"),
    "a step error of megabytes": (lambda: odd("E", "m", "s" * 2_000_000), "E"),
    "a class with a name of 2 MB": (type("E" * 2_000_000, (Exception,), {}), "E" * 256),
    "groups in groups": (lambda: nested(NonRetriableError("inside"), 2_000), ""),
}


def play(handler: Callable[[Any], Any], bench_of: Callable[[App], Bench]) -> Bench:
    """The run of a plain handler, and one that is well; both end soon, with nothing left."""
    app = App("shop")
    app.function("f", trigger=event("go"), retries=1)(handler)

    @app.function("well", trigger=event("go"))
    async def well(ctx: Context) -> str:
        return "well"

    bench = bench_of(app)
    bench.put("go")
    bench.drain()
    assert bench.run("well").status == "COMPLETED"
    assert bench.invocations < MESSAGES_MAX
    assert bench.leftovers() == []
    return bench


def ways(fn: Callable[[], Any]) -> dict[str, Callable[[Any], Any]]:
    """The places where user code runs."""

    async def step(ctx: Context) -> Any:
        return await ctx.step.run("s", fn)

    def step_sync(ctx: ContextSync) -> Any:
        return ctx.step.run("s", fn)

    async def body(ctx: Context) -> Any:
        return fn()

    def body_sync(ctx: ContextSync) -> Any:
        return fn()

    return {"step": step, "step of a sync handler": step_sync, "body": body, "sync body": body_sync}


WAYS = tuple(ways(int))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", RETURNED.values(), ids=RETURNED)
def test_what_cannot_be_stored_fails_the_run_at_once(
    make: Callable[[], Any], way: str, bench_of: Callable[[App], Bench]
) -> None:
    """With the mend, even where looking at the value raises."""
    error = play(ways(make)[way], bench_of).run().error
    assert error is not None
    assert error["name"] == "UnserializableOutputError"
    assert "Mend" in error["message"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("make", "name"), RAISED.values(), ids=RAISED)
def test_an_error_fails_the_run_however_it_is_made(
    make: Callable[[], BaseException], name: str, way: str, bench_of: Callable[[App], Bench]
) -> None:
    """It is recorded with a name, a message and a trace that fit into a record."""

    def fails() -> None:
        raise make()

    run = play(ways(fails)[way], bench_of).run()
    assert run.error is not None
    assert run.status == "FAILED"
    assert run.error["name"].startswith(name)
    assert len(json.dumps(run.error)) < 32_000


# -- what steps are asked for ----------------------------------------------------------------------------
class Astray(tzinfo):
    """A zone that does not know what an offset is."""

    def utcoffset(self, _: Any) -> Any:
        """No timedelta."""
        return "later"

    dst = tzname = utcoffset


class Ids(str, Enum):  # noqa: UP042 - as people wrote them before there was StrEnum
    """Ids that are more than text."""

    PAY = "pay"


CYCLE: list[Any] = []
CYCLE.append(CYCLE)
ASKED: dict[str, Callable[[Any], Any]] = {
    "a match with a UUID": lambda step: step.wait_for_event("w", event="e", match={"data.id": UUID(int=1)}, timeout=1),
    "a match with a time": lambda step: step.wait_for_event("w", event="e", match={"data.id": START}, timeout=1),
    "a match that holds itself": lambda step: step.wait_for_event("w", event="e", match={"data.id": CYCLE}, timeout=1),
    "a match with untouchables": lambda step: step.wait_for_event(
        "w", event="e", match={"data.id": Untouchable()}, timeout=1
    ),
    "a match by a number": lambda step: step.wait_for_event("w", event="e", match={1: 1}, timeout=1),
    "an event without a name": lambda step: step.wait_for_event("w", event=5, timeout=1),
    "a model that is none": lambda step: step.wait_for_event("w", event="e", model=5, timeout=1),
    "waits that are numbers": lambda step: step.wait_for_any("w", [1], timeout=1),
    "one wait for many": lambda step: step.wait_for_any("w", EventMatch("e"), timeout=1),
    "half a character as id": lambda step: step.run("\ud800", int),
    "half a character as signal": lambda step: step.wait_for_signal("w", "\ud800", timeout=1),
    "half a character as source": lambda step: step.send_event("s", {"name": "n", "source": "\ud800"}),
    "a child of no name": lambda step: step.invoke("i", function=[]),
    "a child in an app of no form": lambda step: step.invoke("i", function="f", app="App #/", timeout="1h"),
    "a child in an endless app": lambda step: step.invoke("i", function="f", app="a" * 10_000, timeout="1h"),
    "a sleep beyond numbers": lambda step: step.sleep("s", 10**5_000),
    "a sleep below numbers": lambda step: step.sleep("s", -(10**5_000)),
    "a sleep of spaces": lambda step: step.sleep("s", " " * 1_000_000),
    "a sleep in a zone of text": lambda step: step.sleep_until("s", datetime(2025, 1, 1, tzinfo=Astray())),
    "a sleep until megabytes": lambda step: step.sleep_until("s", "2" * 1_000_000),
    "items without end": lambda step: step.map("m", str, itertools.count()),
    "events without end": lambda step: step.send_event("s", itertools.repeat({"name": "n"})),
    "items for nobody": lambda step: step.map("m", None, [1]),
    "items that are none": lambda step: step.map("m", str, None),
    "options that are lists": lambda step: step.with_options(on_interrupt=[]),
    "retries beyond numbers": lambda step: step.with_options(retries=10**5_000),
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_what_no_step_can_be_asked_for_fails_the_run_by_name(
    ask: Callable[[Any], Any], bench_of: Callable[[App], Bench]
) -> None:
    """At the call, as a `ConfigError` with the mend; nothing of it is written."""

    def handler(ctx: ContextSync) -> Any:
        return ask(ctx.step)

    bench = play(handler, bench_of)
    error = bench.run().error
    assert error is not None
    assert error["name"] == "ConfigError"
    assert "Mend" in error["message"]
    assert len(error["message"]) < 1_000
    assert list(bench.run().steps.values()) == []


def test_a_function_of_a_megabyte_is_not_there(bench_of: Callable[[App], Bench]) -> None:
    """What is said of it fits into a record."""
    bench = play(lambda ctx: ctx.step.invoke("i", function="f" * 1_000_000), bench_of)
    error = bench.run().error
    assert error is not None
    assert error["name"] == "FunctionNotFoundError"
    assert len(error["message"]) < 1_000


def test_a_function_object_that_has_no_hash_is_run(bench_of: Callable[[App], Bench]) -> None:
    """As any dataclass with a call."""

    @dataclass
    class Charge:
        cents: int

        def __call__(self) -> int:
            return self.cents

    def handler(ctx: ContextSync) -> Any:
        return ctx.step.run("s", Charge(5))

    assert play(handler, bench_of).run().output == 5


def test_an_enum_as_an_id_is_its_text(bench_of: Callable[[App], Bench]) -> None:
    """Else the wait would stand under one key and be looked for under another."""

    async def handler(ctx: Context) -> Any:
        return await ctx.step.wait_for_event(Ids.PAY, event="e", timeout="1h")

    bench = play(handler, bench_of)
    assert bench.run().steps["pay"].step_id == "pay"
    assert type(bench.run().steps["pay"].step_id) is str


def test_a_sleep_until_the_end_of_the_calendar_ends_with_the_run(bench_of: Callable[[App], Bench]) -> None:
    """Its due time can be read back; after 366 days the run fails."""

    async def handler(ctx: Context) -> Any:
        await ctx.step.sleep_until("s", datetime.max.replace(tzinfo=UTC))

    error = play(handler, bench_of).run().error
    assert error is not None
    assert error["name"] == "RunTimeoutError"


def test_a_context_that_is_kept_belongs_to_nobody_else(bench_of: Callable[[App], Bench]) -> None:
    """The next run in the same thread is not suspended, nor completed with nothing, by the last one's context."""
    kept: list[ContextSync] = []
    app = App("shop")

    @app.function("f", trigger=event("go"), retries=0)
    def f(ctx: ContextSync) -> Any:
        kept.append(ctx)
        return kept[0].step.run("a", int)

    bench = bench_of(app)
    for _ in range(2):
        bench.put("go")
        bench.drain()
    first, second = bench.runs()
    assert (first.status, first.output) == ("COMPLETED", 0)
    assert second.error is not None
    assert (second.status, second.error["name"]) == ("FAILED", "RuntimeError")
    assert "Mend" in second.error["message"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_handler_that_catches_its_own_end_and_asks_again_is_let_go(bench_of: Callable[[App], Bench]) -> None:
    """It is suspended all the same, and ends when its sleep does."""

    async def handler(ctx: Context) -> str:
        while True:
            try:
                await ctx.step.sleep("nap", "1h")
            except BaseException:  # noqa: BLE001, S112 - as people write it
                continue
            return "slept"

    assert play(handler, bench_of).run().output == "slept"


def test_a_replaced_task_factory_harms_no_other_run(
    bench_of: Callable[[App], Bench], caplog: pytest.LogCaptureFixture
) -> None:
    """It is put back with the next run, which is told."""

    async def handler(ctx: Context) -> int:
        asyncio.get_running_loop().set_task_factory(None)
        return await ctx.step.run("s", int)

    bench = play(handler, bench_of)
    bench.put("go")
    bench.drain()
    assert {run.status for name in ("f", "well") for run in bench.runs(name)} == {"COMPLETED"}
    assert "task factory was replaced" in caplog.text


def test_an_end_that_cannot_be_told_comes_back(
    bench_of: Callable[[App], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong then: the message is not lost, and nobody waits for the handler for ever."""
    tell = Session.outcome_of
    failures = [MemoryError()]

    def fails(session: Session, value: Any, error: BaseException | None) -> Any:
        if failures:
            raise failures.pop()
        return tell(session, value, error)

    monkeypatch.setattr(Session, "outcome_of", fails)

    async def handler(ctx: Context) -> int:
        return await ctx.step.run("s", int)

    bench = play(handler, bench_of)
    assert (bench.run().status, failures) == ("COMPLETED", [])


def test_values_with_models_leave_warnings_as_they_are() -> None:
    """In two threads at once, too: the filters are the process's, not the step's."""
    before = list(warnings.filters)
    inside, first_is_done = threading.Barrier(2), threading.Event()

    class Said(BaseModel):
        text: str

        @field_serializer("text")
        def shown(self, text: str) -> str:
            inside.wait(10)
            if text == "second":
                first_is_done.wait(10)
            return text

    def first() -> None:
        encode(Said(text="first"), Said, what="first")
        first_is_done.set()

    thread = threading.Thread(target=first)
    thread.start()
    encode(Said(text="second"), Said, what="second")
    thread.join()
    assert list(warnings.filters) == before
