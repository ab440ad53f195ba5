"""The testing kit: whole apps in one process, with events and timers, on a virtual clock."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from stepbridge.app import App
from stepbridge.core.durations import parse_duration
from stepbridge.core.ids import digest
from stepbridge.core.instants import to_ms
from stepbridge.core.records import Status
from stepbridge.core.steps import Draft
from stepbridge.core.triggers import EventTrigger
from stepbridge.engine.publish import entries_of
from stepbridge.engine.sealing import Keys
from stepbridge.errors import ConfigError
from stepbridge.events import Event, drafts_of
from stepbridge.local.anew import home_of
from stepbridge.local.crons import Crons
from stepbridge.local.invoking import Lambda
from stepbridge.local.simulated import MotoSite, beside_any_loop, event_of, heads_of, moto_world, site_of
from stepbridge.local.standin import Given, StandIn
from stepbridge.local.stubs import Stubs
from stepbridge.memory.clock import VirtualClock
from stepbridge.memory.dice import Dice
from stepbridge.memory.keys import LocalKeys
from stepbridge.memory.requests import Requests
from stepbridge.memory.world import World
from stepbridge.views import RunView, Steps, StepView

if TYPE_CHECKING:
    from stepbridge.local.moto import MotoWorld

__all__ = ["LocalKeys", "RunView", "Simulation", "StandIn", "StepView", "Steps", "context"]

_START = datetime(2025, 1, 1, tzinfo=UTC)


def context(
    event: Event[Any] | Mapping[str, Any], steps: Given | None = None, *, now: datetime | None = None
) -> StandIn:
    """A stand-in context, for a plain unit test of one handler: `fulfil_order(context(event, steps={...}))`.

    What a step comes to is looked up by `(id, occurrence)`, then by id: a value, an exception, which the call
    raises as `StepError`, for a wait also an `Event`, its data, or None for a timeout. Where nothing is given, a
    `run` step's function is called, sleeps pass at once, waits time out, and what is sent is noted in
    `sent` and `signals`; an invoke, a map and a signal need a value, and raise `LookupError` without one.
    `calls` lists the ids of the steps as they were called.

    Args:
        event: The trigger; a dict of `name` and `data` will do.
        steps: What steps come to.
        now: What `ctx.now` says first, aware; 2025-01-01T00:00Z where it is left out. Sleeps move it on.

    Raises:
        ConfigError: The event is malformed.
    """
    return StandIn(event, steps or {}, _START if now is None else now.astimezone(UTC))


class Simulation(Lambda):
    """Runs apps with their events and timers on a virtual clock; use it as a context manager.

    Args:
        apps: One or several; they share a bus.
        backend: `"memory"`, or `"moto"`: the AWS adapters, the Lambda handler, and moto for AWS.
        start: What the clock says first; 2025-01-01T00:00Z where it is left out.
        seed: The backend delivers at its worst: duplicates, other orders, late timers; the same for
            the same seed.
        reimport: Each invocation imports the apps' top-level packages anew, as a cold start does, so that no
            state of a module survives. The test's own imports stay as they are: what it patches in a module of
            the app is not seen by the runs; `stub` is.
        keys: Seal step data at rest, as on a stack with `STEPBRIDGE_ENCRYPTION_KEYS`: `LocalKeys({"a": bytes(32)})`.

    Raises:
        ConfigError: There is no app, or no such backend, or `reimport` cannot find an app in a module; names
            the mend.
    """

    def __init__(
        self,
        *apps: App,
        backend: str = "memory",
        start: datetime | None = None,
        seed: int | None = None,
        reimport: bool = False,
        keys: Keys | None = None,
    ) -> None:
        if not apps:
            raise ConfigError("Simulation needs an app. Mend: Simulation(app).")
        self._clock = VirtualClock(_START if start is None else start.astimezone(UTC))
        self._dice = None if seed is None else Dice(seed)
        self._apps = apps
        self._world: World | MotoWorld
        self._sites: list[Any] = []
        self._crons = Crons(self._sites, self._clock.now())
        self._stubs = Stubs()
        self._sent = 0
        self._undo = ExitStack()
        match backend:
            case "memory":
                self._world = world = World(clock=self._clock, dice=self._dice)
                self._sites += [site_of(world, app, keys) for app in apps]
            case "moto":
                self._world = moto_world(self._clock, self._dice, keys)
            case _:
                raise ConfigError(f"backend={backend!r}. Mend: 'memory' or 'moto'.")
        homes = {app.id: home_of(app) for app in apps} if reimport else {}
        super().__init__(self._world, self._sites, self._stubs, homes)

    def __enter__(self) -> Self:
        """Itself; moto runs from here."""
        if not isinstance(self._world, World):
            with ExitStack() as undo:
                world = undo.enter_context(self._world)
                for app in self._apps:
                    stack = world.stack(app, self._stubs.of)
                    self._sites.append(MotoSite(app, stack))
                self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends threads, loop and moto; what has been read stays good."""
        self._close()
        self._undo.close()

    # -- events and time ---------------------------------------------------------------------------
    @property
    def now(self) -> datetime:
        """The virtual clock, aware UTC."""
        return self._clock.now()

    def send(
        self,
        name_or_event: str | Event[Any] | Mapping[str, Any],
        data: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        ts: int | datetime | None = None,
    ) -> str:
        """Puts an event on the bus, and runs all that can run now.

        Args:
            name_or_event: A name, or a whole event.
            data: Its data, beside a name.
            id: Its id; made up where it is left out.
            ts: Its time, in milliseconds or as an aware datetime; now where it is left out.

        Returns:
            The event's id.
        """
        event = {"name": name_or_event, "data": data or {}} if isinstance(name_or_event, str) else name_or_event
        (draft,) = drafts_of(event, what="send")
        self._sent += 1
        event_id = id or draft.id or digest("simulated", str(self._sent))
        ts_ms = to_ms(ts) if isinstance(ts, datetime) else ts or draft.ts or to_ms(self.now)
        stamped = Draft(name=draft.name, data=draft.data, id=event_id, ts=ts_ms, source=draft.source or "test")
        self._world.bus.put(entries_of([stamped], [event_id], ts_ms, "test"))
        beside_any_loop(self._deliver)
        return event_id

    def advance(self, duration: str | float | timedelta) -> None:
        """Time passes; every timer and every schedule fires in order, and all that it wakes runs."""
        self.advance_to(self.now + parse_duration(duration, what="advance"))

    def advance_to(self, instant: datetime) -> None:
        """Time passes up to an aware datetime."""
        target = instant.astimezone(UTC)
        beside_any_loop(self._deliver)
        while (at := _first(self._world.next_at(), self._crons.next_at())) is not None and at <= target:
            self._go_to(at)
        self._clock.move_to(max(target, self.now))

    def run_until_idle(self) -> None:
        """Jumps from timer to timer until nothing is pending.

        Scheduled times (`cron`) are not pending. They fire on the way for as long as runs go on that were
        under way at the call; those that pass after that, while what schedules began comes to its end, are
        left out.
        """
        beside_any_loop(self._deliver)
        under_way = self._under_way() if self._crons.next_at() is not None else set()
        while (at := self._world.next_at()) is not None:
            if under_way and (under_way := under_way & self._under_way()):
                self._go_to(_first(at, self._crons.next_at()) or at)
                continue
            self._crons.skip(at)
            self._go_to(at)

    def _under_way(self) -> set[str]:
        """The runs that go on by themselves."""
        heads = (head for site in self._sites for head in heads_of(site))
        return {head.run_id for head in heads if not head.status.is_terminal and head.status is not Status.PARKED}

    def _go_to(self, at: datetime) -> None:
        self._clock.move_to(max(at, self.now))
        beside_any_loop(self._deliver)

    def stub(self, step_id: str, value_or_exception: object, function_id: str | None = None) -> None:
        """From now on the step comes to this value, or raises this exception, instead of being carried out.

        For a wait the value is an `Event`, the event's data, or None for a timeout.
        """
        self._stubs.put(function_id, step_id, value_or_exception)

    def fail(
        self, step_id: str, error: BaseException | None = None, *, times: int = 1, function_id: str | None = None
    ) -> None:
        """The step's next `times` attempts raise `error`; those after them go as they would have gone, stubs included.

        Args:
            step_id: Of steps that run a function, and of sends; a wait that fails has no further attempt.
            error: A `ConnectionError` where it is left out. `NonRetriableError` and `RetryAfterError` mean what
                they mean in a step.
            times: How many attempts, over all occurrences and runs; those that were asked for before still stand.
            function_id: Only of this function's step.
        """
        if times < 1:
            message = f"fail({step_id!r}): times={times!r}. Mend: 1 or more; leave the call out for none."
            raise ConfigError(message)
        error = ConnectionError(f"{step_id} was made to fail") if error is None else error
        self._stubs.fail(function_id, step_id, error, times)

    def crash(self, step_id: str, *, times: int = 1) -> None:
        """The next `times` that the step's function has run, the sandbox is killed before that is recorded.

        What follows is what follows on AWS: the message comes back once the lease is over, two and a half minutes
        later, and the step runs again, under the same effect key. In memory only.

        Raises:
            ConfigError: The backend is moto.
        """
        if not isinstance(self._world, World):
            raise ConfigError(f"crash({step_id!r}) is for backend='memory'. Mend: leave backend out.")
        self._crash(step_id, times)

    def _deliver(self) -> None:
        """Delivers what is there now, a message at a time, until nothing is left."""
        moved = True
        while moved:
            moved = self._world.fire_due() + self._crons.fire_due(self.now) > 0
            for site in self._sites:
                moved |= self._deliver_one(site)

    # -- what came of it ---------------------------------------------------------------------------
    def run(self, function_id: str | None = None, run_id: str | None = None) -> RunView:
        """The run of this id, or the latest run of this function, or the latest of all.

        Raises:
            LookupError: There is none.
        """
        found = [run for run in self.runs(function_id) if run_id in {None, run.run_id}]
        if not found:
            raise LookupError(self._why_none(function_id, run_id))
        return found[-1]

    def _why_none(self, function_id: str | None, run_id: str | None) -> str:
        functions = {name: function for app in self._apps for name, function in app.functions.items()}
        if function_id is not None and function_id not in functions:
            return f"no function {function_id!r}; there are: {', '.join(functions) or 'none'}"
        what = "no run" if run_id is None else f"no run {run_id!r}"
        sent = ", ".join(sorted({repr(event.name) for event in self.events})) or "none"
        if function_id is None:
            return f"{what}; sent were: {sent}"
        starts = (trigger.name for trigger in functions[function_id].triggers if isinstance(trigger, EventTrigger))
        wanted = ", ".join(repr(name) for name in starts) or "no event"
        return f"{what} of function {function_id!r}, which {wanted} starts; sent were: {sent}"

    def runs(self, function_id: str | None = None) -> list[RunView]:
        """All runs, or all of a function, oldest first."""
        views: list[tuple[datetime, int, RunView]] = []
        for site in self._sites:
            for index, head in enumerate(heads_of(site)):
                if function_id in {None, head.function_id} and head.function_id:
                    views.append((head.created_at, index, site.reader.view(head)))
        return [view for _, _, view in sorted(views, key=lambda row: row[:2])]

    @property
    def events(self) -> list[Event[Any]]:
        """All that was put on the bus, in order, system events included."""
        return [event_of(entry, at) for at, entry in self._world.bus.log]

    @property
    def requests(self) -> Requests:
        """What was asked of the backend so far, by operation, with write and read units."""
        total = Requests()
        for site in self._sites:
            total.merge(site.stack.requests)
        return total


def _first(*instants: datetime | None) -> datetime | None:
    return min((at for at in instants if at is not None), default=None)
