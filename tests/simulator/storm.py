"""A deterministic simulator: invocations side by side, every request of which may fail, stall or be the last.

One thread runs at a time. An invocation runs in a thread of its own until it ends or a request stalls; then the
driver has its turn. So everything is decided by the seed, and a seed that fails replays exactly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from threading import Semaphore, Thread
from typing import Any, Final, NoReturn, assert_never

from stepbridge import App
from stepbridge.core.instants import to_ms
from stepbridge.core.items import armed_of
from stepbridge.core.keys import HEAD_SK
from stepbridge.core.limits import INVOCATION
from stepbridge.core.messages import Go, Resume, message_text
from stepbridge.core.records import ArmedChild
from stepbridge.engine.answers import Invocation
from stepbridge.engine.engine import Engine
from stepbridge.engine.store import Store
from stepbridge.engine.tracking import RunLoop
from stepbridge.engine.workers import Workers
from stepbridge.ports import Clock, Message, Outgoing, Ports
from stepbridge.testing import Simulation
from tests.faults.crash import Crash, leftovers
from tests.simulator.luck import Fate, Luck

_BATCH: Final = 3
_UNDER_WAY: Final = frozenset({"QUEUED", "RUNNING", "SLEEPING"})


class Refused(Exception):  # noqa: N818 - as the adapters' own: it says what AWS did
    """AWS throttles, or fails."""


class _Inline(Executor):
    """Runs at once what others would run in a thread: with one thread at a time there is one order."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Its result, there already."""
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - a future's
            done.set_exception(error)
        return done


class _Skewed:
    """A host's clock."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._skew = timedelta(milliseconds=int(seconds * 1000))

    def now(self) -> datetime:
        return self._clock.now() + self._skew


class _Beset:
    """A port whose every call is a request that something may befall."""

    def __init__(self, port: Any, flight: Flight) -> None:
        self._port = port
        self._flight = flight

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        what = f"{type(self._port).__name__}.{name}"
        if name == "query":
            return lambda *args, **more: iter(self._flight.request(what, lambda: list(method(*args, **more))))
        if name in {"send", "put"} and "Table" not in what and "Blobs" not in what:
            return lambda batch: self._flight.request(what, lambda: method(batch), lambda: method(batch[:-1]))
        return lambda *args, **more: self._flight.request(what, lambda: method(*args, **more))


class Flight:
    """One invocation under way."""

    def __init__(self, storm: Storm, site: Any, messages: list[Message], number: int) -> None:
        self._storm = storm
        self._site = site
        self._messages = messages
        self._number = number
        self._go = Semaphore(0)
        self.ended = False
        self.resumes_at: datetime | None = None
        """Of one whose request stalls."""
        self._dead = False
        self._ports = self._beset(storm.luck.skew_seconds())
        self._thread = Thread(target=self._run, name=f"flight-{number}", daemon=True)
        self._thread.start()

    def _beset(self, skew_seconds: float) -> Ports:
        ports: Ports = self._site.stack.ports
        parts: dict[str, Any] = {
            name: _Beset(getattr(ports, name), self) for name in ("table", "queue", "bus", "timers", "blobs")
        }
        return replace(ports, **parts, clock=_Skewed(ports.clock, skew_seconds))

    # -- the driver's side -------------------------------------------------------------------------
    def fly(self) -> None:
        """Runs until the invocation ends or stalls."""
        self.resumes_at = None
        self._go.release()
        self._storm.turn.acquire()
        if self.ended:
            self._thread.join()

    # -- the invocation's side ---------------------------------------------------------------------
    def request(self, what: str, call: Callable[[], Any], partly: Callable[[], Any] | None = None) -> Any:
        """Makes the request, or what its fate makes of it."""
        if self._dead:
            raise Crash
        fate = self._storm.luck.fate()
        self._storm.note(self._number, what, fate)
        match fate:
            case Fate.GOES:
                return call()
            case Fate.THROTTLED:
                raise Refused(what)
            case Fate.ANSWER_LOST:
                (partly or call)()
                raise Refused(what)
            case Fate.REPEATED:
                call()
                return call()
            case Fate.CRASH_BEFORE:
                return self._die()
            case Fate.CRASH_AFTER:
                call()
                return self._die()
            case Fate.STALL:
                self._stall()
                return self._storm.late(call)
            case _:
                assert_never(fate)

    def _die(self) -> NoReturn:
        self._dead = True
        raise Crash

    def _stall(self) -> None:
        self.resumes_at = self._storm.now + timedelta(seconds=self._storm.luck.stall_seconds())
        self._storm.turn.release()
        self._go.acquire()

    def _run(self) -> None:
        self._go.acquire()
        workers = Workers(blocking=False)
        workers.bodies = workers.handlers = _Inline()  # type: ignore[assignment]
        loop = RunLoop()
        try:
            loop.run_until_complete(self._invoke(workers))
        except Crash:
            self._bury(loop)
        except BaseException as error:  # noqa: BLE001 - told by the driver
            self._storm.failures.append(error)
        finally:
            loop.close()
            self.ended = True
            self._storm.turn.release()

    def _bury(self, loop: RunLoop) -> None:
        """What was under way in the dead sandbox; nothing of it reaches the backend."""
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks))
        for task in tasks:
            if not task.cancelled():
                task.exception()  # looked at, so that asyncio does not tell of it

    async def _invoke(self, workers: Workers) -> None:
        engine = Engine(self._site.app, self._ports, workers, Store(self._ports.table))
        invocation = Invocation(id=f"i{self._number}", deadline=self._ports.clock.now() + INVOCATION)
        bounced = await engine.handle_all(self._messages, invocation=invocation)
        done = [message for message in self._messages if message not in bounced]
        with suppress(Refused):  # Lambda's own request; then they come again
            self.request("acknowledge", lambda: self._site.stack.queue.acknowledge(done))


class Storm(Simulation):
    """A simulation in which everything befalls that AWS allows. Memory only."""

    def __init__(self, *apps: App, luck: Luck) -> None:
        super().__init__(*apps, backend="memory", seed=luck.seed)
        self.luck = luck
        self.turn = Semaphore(0)
        self.trace: list[str] = []
        """What was asked, by whom and when, and what befell it."""
        self.failures: list[BaseException] = []
        self.faults = 0
        """How many there were."""
        self._flights: list[Flight] = []
        self._begun = 0
        self._orphans: set[str] = set()
        self._known: dict[tuple[Any, Any], Any] = {}
        world: Any = self._world
        world_next = world.next_at
        world.next_at = lambda: min(
            (at for at in (world_next(), *(one.resumes_at for one in self._flights)) if at is not None), default=None
        )

    def note(self, number: int, what: str, fate: Fate) -> None:
        """Adds to the trace."""
        self.faults += fate is not Fate.GOES
        self.trace.append(f"{to_ms(self.now)} i{number} {what}: {fate}")

    def wake_early(self, run_id: str) -> None:
        """A stray wake: of a timer whose wait is over, or of nobody."""
        self._sites[0].stack.queue.deliver(message_text(Go(run_id=run_id, why="timer")), internal=True)
        self._deliver()

    # -- the driver --------------------------------------------------------------------------------
    def _deliver(self) -> None:
        """Lets happen what can happen now, in an order of luck, until nothing is left."""
        moved = True
        while moved:
            moved = self._world.fire_due() > 0
            if seconds := self.luck.idles():
                self._clock.move_to(self.now + timedelta(milliseconds=int(seconds * 1000)))
            due = [one for one in self._flights if one.resumes_at is not None and one.resumes_at <= self.now]
            if due and self.luck.draw() < 0.5:
                self._go_on(due[self.luck.below(len(due))])
                moved = True
                continue
            for site in self._sites:
                moved |= self._begin(site)
            if not moved and due:
                self._go_on(due[0])
                moved = True

    def _begin(self, site: Any) -> bool:
        messages = site.stack.queue.receive(1 + self.luck.below(_BATCH))
        if not messages:
            return False
        self._begun += 1
        flight = Flight(self, site, messages, self._begun)
        self._flights.append(flight)
        self._go_on(flight)
        return True

    def _go_on(self, flight: Flight) -> None:
        flight.fly()
        if flight.ended:
            self._flights.remove(flight)
        if self.failures:
            raise self.failures[0]
        self.check()

    # -- the laws ----------------------------------------------------------------------------------
    def check(self) -> None:
        """What is written once stays as it is: results, and the ends of runs."""
        for site in self._sites:
            for item in site.stack.table.items():
                key = (item["pk"], item["sk"])
                if item["sk"] == HEAD_SK and item["st"] in {"COMPLETED", "FAILED", "CANCELLED"}:
                    final: Any = (item["st"], item.get("o"), item.get("er"))
                elif str(item["sk"]).startswith("S#") and item["st"] in {"ok", "error"}:
                    final = tuple(sorted(item.items()))
                else:
                    continue
                assert self._known.setdefault(key, final) == final, f"{key} was {self._known[key]}, is {final}"

    def settle(self) -> None:
        """Lets happen what can happen now."""
        self._deliver()

    def stranded(self) -> list[str]:
        """Runs that wait for nothing: no message, schedule, wait or invocation will ever move them."""
        found: list[str] = []
        for site in self._sites:
            stack = site.stack
            items = stack.table.items()
            waits = {str(item["sk"]).partition("#")[0] for item in items if str(item["pk"]).startswith("W#")}
            messages = stack.queue.dump()["messages"]
            if self._flights or not all(message["internal"] for message in messages):
                continue  # whom an event drives is not to be seen from outside
            told = " ".join([*(message["body"] for message in messages), *stack.timers.names()])
            heads = {str(item["pk"])[2:]: item for item in items if item["sk"] == HEAD_SK}
            under_way = {run_id for run_id, head in heads.items() if head["st"] in _UNDER_WAY}
            for run_id in under_way - waits:
                armed = armed_of(str(heads[run_id].get("ar", "")))
                children = {one.run_id for one in armed if isinstance(one, ArmedChild)}
                if run_id not in told and not children & under_way:
                    found.append(f"{heads[run_id]}")
        return found

    @property
    def repeats(self) -> int:
        """How often, at most, one effect may take place once more: faults, and messages delivered twice."""
        echoes: int = sum(site.stack.queue._echoes.total() for site in self._sites)
        return self.faults + echoes

    def late(self, call: Callable[[], Any]) -> Any:
        """A request that stalled gets through. A wait that it puts for a run that has ended is nobody's any more.

        It expires by its ttl, or goes with the first event that finds it: nothing else can know of it, where
        another fault keeps the invocation from seeing that its run has ended.
        """
        before = set(leftovers(self._sites))
        answer = call()
        ended = {run.run_id for run in self.runs() if run.ended_at is not None}
        new = set(leftovers(self._sites)) - before
        self._orphans |= {wait for wait in new if wait.startswith("wait ") and any(f"'{run}#" in wait for run in ended)}
        return answer

    def leftovers(self) -> list[str]:
        """What stands though it should be gone: waits, schedules, messages."""
        return [left for left in leftovers(self._sites) if left not in self._orphans]

    def end(self) -> None:
        """Nothing befalls anybody any more; what is parked as a crash loop is resumed. All must come to its end."""
        self.luck.faults_left = 0
        self.run_until_idle()
        for run in self.runs():
            if run.status == "PARKED" and run.error and run.error["name"] == "CrashLoopError":
                self._sites[0].stack.queue.send([Outgoing(body=message_text(Resume(run_id=run.run_id)))])
        self.run_until_idle()
