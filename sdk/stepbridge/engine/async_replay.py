"""Replay of async handlers on the shared loop.

The handler's tasks run until they have *settled*: some turns of the loop without activity. Then one result
is given out, the lowest in the recorded order, and the run settles again. When nothing is left to give and
every task is blocked on the run itself, the run is suspended.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, cast

from stepbridge.context import Context
from stepbridge.core.history import Result
from stepbridge.core.limits import CALL_LONGEST, HAND_OVER_GRACE
from stepbridge.core.retry import sound
from stepbridge.core.steps import BodyStep, MapStep, RunStep, Step
from stepbridge.engine.arming import Arming
from stepbridge.engine.bodies import outcome_of
from stepbridge.engine.calls import Call
from stepbridge.engine.disposing import dispose
from stepbridge.engine.failures import LEAVING, decisive
from stepbridge.engine.outcome import Aborted, HandOver, Outcome
from stepbridge.engine.outcome import Suspended as SuspendedOutcome
from stepbridge.engine.recording import Recording
from stepbridge.engine.session import Session
from stepbridge.engine.tracking import RUN, StepFuture, Tracked, is_blocked, track_tasks, where
from stepbridge.engine.workers import Workers
from stepbridge.errors import ConfigError, StepError
from stepbridge.function import is_async
from stepbridge.step import CURRENT

_SETTLE_TURNS: Final = 4
"""Quiet turns of the loop that mean settled: a chain task - gather - gather - parent takes one a link."""
_SETTLE_CAP: Final = 500
"""Turns after which the run goes on regardless: code that polls with sleep(0) loses order, not liveness."""
_TIMEOUT_WORTH_SECONDS: Final = 5.0
"""An asyncio timeout around a step is waited for if it is due so soon; a later one is not durable anyway."""
_GLANCE_SECONDS: Final = 0.05
"""A suspension that is held up by the handler's own I/O is looked at again so soon."""
_IO_WARNING_SECONDS: Final = 5.0
"""A suspension that is held up by the handler's own I/O for so long is warned of."""


class AsyncReplay:
    """One async handler in one invocation."""

    def __init__(
        self, session: Session, recording: Recording, arming: Arming, workers: Workers, deadline: float
    ) -> None:
        self.session = session
        self._recording = recording
        self._arming = arming
        self.tasks: dict[Tracked, None] = {}
        self.strays: set[asyncio.Task[Any]] = set()
        self.timeouts: list[asyncio.TimerHandle] = []
        self.activity = 0
        self._workers = workers
        self.deadline = deadline
        """In the loop's time: no step begins after it."""
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[Outcome] = self._loop.create_future()
        self._ready: list[tuple[int, str, Call, Result]] = []
        self.bodies: dict[str, asyncio.Task[Any]] = {}
        self.threads: set[Future[Any]] = set()
        """Sync step functions under way."""
        self.calls: set[Future[Any]] = set()
        """Backend calls under way in threads."""
        self._once: set[str] = set()
        """Keys of running steps that must not be repeated silently."""
        self.unstarted: dict[str, Any] = {}
        """Coroutines of steps that were called, and not yet awaited."""
        self._blank = contextvars.Context()
        self._ticking = False
        self.closing = False
        """Coroutines are being closed: one that catches that and calls a step again is to come to an await."""
        self._glance: asyncio.TimerHandle | None = None
        self._quiet = self._turns = 0
        self._seen_activity = -1
        self.main: asyncio.Task[Any]
        self.root: Tracked
        self._package = session.function.handler.__module__.split(".")[0]

    @property
    def closed(self) -> bool:
        """The invocation is over for this run."""
        return self.session.closed

    # -- what a context calls -----------------------------------------------------------------------
    def call(self, step: Step) -> Coroutine[Any, Any, Any]:
        """A coroutine of the step's value; the step's identity is fixed here, at the call."""
        self.session.check_outside_steps(f"step {step.step_id!r}")
        if not self._is_own_task() and not self.closing:
            message = (
                f"step {step.step_id!r} is called outside the tasks of its run. Mend: start branches with"
                " asyncio.create_task, gather or TaskGroup inside the handler."
            )
            raise RuntimeError(message)
        call = self.session.identify(step, 3)
        coroutine: Any = self._value(call)
        coroutine.__qualname__ = f"step.{step.kind}({step.step_id!r})"
        self.unstarted[call.key] = coroutine
        return cast("Coroutine[Any, Any, Any]", coroutine)

    def _is_own_task(self) -> bool:
        try:
            task = asyncio.current_task()
        except RuntimeError:  # a thread
            return False
        tracked = None if task is None else task.get_coro()
        return isinstance(tracked, Tracked) and tracked.run is self

    async def _value(self, call: Call) -> Any:
        self.unstarted.pop(call.key, None)
        session = self.session
        hit = session.hit(call)
        if hit is not None:
            self._arming.note_left(call, hit.register)
        if hit is not None and self._is_alone() and not session.closed and session.fatal is None:
            session.note_given(hit)  # sequential replay: no turn of the loop at all
            return session.value(call, hit.register)
        call.future = future = StepFuture(loop=self._loop)
        if session.closed or session.fatal is not None:
            session.pending[call.key] = call
            self.stir()
        elif hit is not None:
            self._offer(call, hit)
        else:
            self._begin(call)
        register = await future
        return session.value(call, register)

    # -- work --------------------------------------------------------------------------------------
    def _begin(self, call: Call) -> None:
        session = self.session
        if session.probing:
            self._reach(call, self._arming.note)
            return
        if self._loop.time() >= self.deadline:  # the timer that says so may be a turn late
            session.handing_over = True
        waiting = session.resume_waiting(call)
        if call.started_in is not None:
            self._reach(call, self._recording.interrupted)
        elif waiting and isinstance(call.step, MapStep) and not session.handing_over:
            self._reach(call, self._arming.collect)
        elif waiting or session.handing_over:
            session.pending[call.key] = call
            self.stir()
        elif isinstance(call.step, BodyStep):
            self._begin_body(call)
        else:
            self._reach(call, self._arming.arm)

    def _begin_body(self, call: Call) -> None:
        context = contextvars.copy_context()
        context.run(CURRENT.set, self._recording.begin(call))
        if self.session.fatal is not None:
            self.session.pending[call.key] = call
            self.stir()
            return
        if isinstance(call.step, RunStep) and call.step.once:
            self._once.add(call.key)
        self._start(call, self._body(call, context), context)

    def _start(self, call: Call, coroutine: Coroutine[Any, Any, None], context: contextvars.Context) -> None:
        task = asyncio.Task(coroutine, loop=self._loop, context=context)
        self.bodies[call.key] = task
        task.add_done_callback(partial(self._ended, call), context=self._blank)

    def _ended(self, call: Call, task: asyncio.Task[Any]) -> None:
        """Also of a task that was cut off before its first turn, where no `finally` of its own has run."""
        if self.bodies.get(call.key) is task:
            self._came(call, None)

    async def _body(self, call: Call, context: contextvars.Context) -> None:
        session, step = self.session, call.step
        started_at = session.now()
        result: Result | None = None
        try:
            if isinstance(step, RunStep) and is_async(step.fn):
                if step.once:
                    await self._workers.io(partial(self._recording.start, call), self.calls)
                with self._recording.span(call) as failed:
                    value, error = await outcome_of(self._recording.body(call), step.timeout, self._is_cutting_off)
                    if error is not None:
                        failed(type(error).__name__)
                ended = partial(self._recording.ended, call, started_at, value, error)
                result = ended() if self._has_the_loop({call.key}) else await self._workers.io(ended, self.calls)
            elif not isinstance(step, RunStep) and not self._workers.blocking:
                result = self._recording.perform(call, started_at)
            else:
                run = partial(context.copy().run, self._recording.perform, call, started_at)
                thread = self._workers.bodies.submit(run)
                self.threads.add(thread)
                thread.add_done_callback(self.threads.discard)
                result = await asyncio.wrap_future(thread)
        except asyncio.CancelledError:  # handed over: no record, it runs again
            self._came(call, None)
            raise
        except BaseException as error:  # noqa: BLE001 - the backend failed
            session.fail(Aborted(error))
        self._came(call, result)

    def _came(self, call: Call, result: Result | None) -> None:
        """A step's function is over; None: it is to run again."""
        session = self.session
        self.bodies.pop(call.key, None)
        if result is None or session.fatal is not None:
            session.pending[call.key] = call
            self.stir()
        elif self._is_alone() and not session.closed and not call.future.done():
            self._give(call, result)  # one task: nothing to settle, and it stirs by itself once it has moved
        else:
            self._offer(call, result)

    def _reach(self, call: Call, reach: Callable[[Call], Result | None]) -> None:
        """Arms or expires a call, in a thread where the backend blocks."""
        if self._has_the_loop(set()):
            self._reached(call, _attempt(reach, call))
            return
        self._start(call, self._reach_in_thread(call, reach), contextvars.Context())

    async def _reach_in_thread(self, call: Call, reach: Callable[[Call], Result | None]) -> None:
        answer = await self._workers.io(partial(_attempt, reach, call), self.calls)
        del self.bodies[call.key]
        self._reached(call, answer)

    def _reached(self, call: Call, answer: Result | BaseException | None) -> None:
        match answer:
            case None:
                self.session.pending[call.key] = call
            case Result():
                self._offer(call, answer)
            case ConfigError() | StepError():  # the user's mistake goes to the user, at the call
                if not call.future.done():
                    call.future.set_exception(answer)
            case error:  # the backend's goes to the driver
                self.session.fail(Aborted(error))
        self.stir()

    # -- settling and giving -----------------------------------------------------------------------
    def _is_alone(self) -> bool:
        return len(self.tasks) == 1 and not self._ready and not self.bodies and not self.session.inflight

    def _has_the_loop(self, bodies: set[str]) -> bool:
        """Whether a call of the backend may be made on the loop: it does not block, or nobody else waits for a turn.

        A thread takes as much CPU as a third of the call. It is needed where another message, task, timeout or
        step is under way, or where the call might outlast the time that this invocation has.
        """
        if not self._workers.blocking:
            return True
        now = self._loop.time()
        self.timeouts = [timer for timer in self.timeouts if not timer.cancelled() and timer.when() > now]
        others = self.strays or self.timeouts or len(self.tasks) > 1 or len(self._workers.handling) > 1
        return not others and self.bodies.keys() <= bodies and now + CALL_LONGEST.total_seconds() < self.deadline

    def _offer(self, call: Call, result: Result) -> None:
        heapq.heappush(self._ready, (result.rank, call.key, call, result))
        self.stir()

    def _give(self, call: Call, result: Result) -> None:
        self.session.note_given(result)
        if not call.future.done():
            call.future.set_result(result.register)

    def stir(self) -> None:
        """Something moved: settle anew."""
        if not self._ticking and not self.session.closed and self._is_due():
            self._ticking = True
            self._loop.call_soon(self._tick, context=self._blank)

    def _is_due(self) -> bool:
        """Whether settling would come to anything; if not, what is under way stirs when it ends."""
        session = self.session
        return bool(self._ready) or session.fatal is not None or not (self.bodies or session.inflight)

    def _again(self) -> None:
        self._loop.call_soon(self._tick, context=self._blank)

    def _tick(self) -> None:
        session = self.session
        if session.closed:
            return
        if not self._is_due():
            self._ticking = False
            self._quiet = self._turns = 0
            return
        if not self._has_settled() and session.fatal is None:
            self._again()
            return
        self._quiet = self._turns = 0
        if session.fatal is None and self._ready and self._is_next(self._ready[0][0]):
            _, _, call, result = heapq.heappop(self._ready)
            self._give(call, result)
            self._again()
            return
        self._ticking = False
        if session.fatal is not None:
            self._end_fatally(session.fatal)
        elif not (self.main.done() or self.bodies or session.inflight or self._ready):
            self._pause()

    def _has_settled(self) -> bool:
        self._turns += 1
        if self.activity != self._seen_activity:
            self._seen_activity, self._quiet = self.activity, 0
        else:
            self._quiet += 1
        return self._quiet >= _SETTLE_TURNS or self._turns >= _SETTLE_CAP

    def _is_next(self, rank: int) -> bool:
        """Whether no record with a lower rank is still being written."""
        return not (self.session.inflight and min(self.session.inflight) < rank)

    def _end_fatally(self, outcome: Outcome) -> None:
        """Once the step functions that run have been stopped."""
        if not self.bodies:
            self._end(outcome)
        for body in self.bodies.values():
            body.cancel()

    def _pause(self) -> None:
        """Nothing is left to give: hand over, go on with what has come due, or suspend."""
        if self.session.handing_over:
            self._end(HandOver())
        elif self.session.pending and self.holding():
            self._look_again()
        elif self.session.pending and not self._continue_inline():
            self._end(SuspendedOutcome())

    def _look_again(self) -> None:
        """In a moment: what a gather holds that is no task, a call in an executor say, ends without waking a task."""
        if self._glance is None:
            self._glance = self._loop.call_later(_GLANCE_SECONDS, self._glanced, context=self._blank)

    def _glanced(self) -> None:
        self._glance = None
        self.stir()

    def _continue_inline(self) -> bool:
        """Whether something that is waited for has come due meanwhile; it goes on in this invocation."""
        session = self.session
        now = session.now()
        if session.probing:
            return False
        due = [call for call in session.pending.values() if call.due_at is not None and call.due_at <= now]
        for call in sorted(due, key=lambda call: (call.due_at or now, call.key)):
            del session.pending[call.key]
            if isinstance(call.step, BodyStep):
                self._begin_body(call)
            else:
                self._reach(call, self._arming.expire)
        return bool(due)

    def holding(self) -> list[str]:
        """Lines of the handler that something outside the run may still wake; empty: it may be suspended."""
        now = self._loop.time()
        worth = min(self.deadline, now + _TIMEOUT_WORTH_SECONDS)
        if any(not timer.cancelled() and now < timer.when() < worth for timer in self.timeouts):
            return ["an asyncio timeout"]
        futures: set[asyncio.Future[Any]] = {tracked.task for tracked in self.tasks}
        return [
            where(tracked.coroutine)
            for tracked in self.tasks
            if not is_blocked(tracked, tasks=futures, package=self._package, deadline=worth)
        ]

    # -- beginning and end -------------------------------------------------------------------------
    async def advance(self) -> Outcome:
        """Runs the handler as far as it goes."""
        context = contextvars.copy_context()
        context.run(RUN.set, self)
        self.main = context.run(self._loop.create_task, self._handler())
        if not self.tasks:  # somebody's code has replaced the loop's factory, for this run and all after it
            self.session.warn("the event loop's task factory was replaced; it is put back. Mend: wrap it instead.")
            self.main.cancel()
            track_tasks(self._loop)
            self.main = context.run(self._loop.create_task, self._handler())
        self.root = next(iter(self.tasks))
        self.main.add_done_callback(self._finished)
        soft = self._loop.call_at(self.deadline, self._hand_over)
        hint = self._loop.call_later(_IO_WARNING_SECONDS, self._warn_of_io)
        try:
            outcome = await self._outcome
        finally:
            for timer in (soft, hint, self._glance):
                if timer is not None:
                    timer.cancel()
        self.session.closed = True
        await dispose(self, outcome)
        return outcome

    async def _handler(self) -> Any:
        session = self.session
        context: Context[Any] = Context(session, self, session.trigger)
        try:
            return await session.function.handler(context)
        except SystemExit as error:  # would end the process, and other runs with it
            raise RuntimeError(f"the handler called sys.exit({error.code!r})") from error

    def _finished(self, task: asyncio.Task[Any]) -> None:
        if self.session.closed:
            return
        try:
            outcome = self._outcome_of(task)
        except Exception as error:  # noqa: BLE001 - else nobody would ever hear of the handler's end
            outcome = Aborted(error)
        self._end(outcome)

    def _outcome_of(self, task: asyncio.Task[Any]) -> Outcome:
        if task.cancelled():
            error: BaseException | None = asyncio.CancelledError("the handler cancelled itself")
        else:
            error = task.exception()
        if error is not None:
            error = decisive(sound(error))
        if isinstance(error, LEAVING):
            return Aborted(error)
        return self.session.outcome_of(None if error is not None else task.result(), error)

    def _end(self, outcome: Outcome) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)
            self.session.closed = True

    def _warn_of_io(self) -> None:
        if self.session.pending and not self.session.closed and (lines := self.holding()):
            self.session.warn(
                f"the run waits on its steps, but is held awake by other awaits at {', '.join(lines)}."
                " Mend: put I/O into steps, and endless background tasks outside the handler."
            )

    def _hand_over(self) -> None:
        session = self.session
        session.handing_over = True
        if not self.bodies and not session.inflight:
            lines = self.holding()
            if lines:
                session.warn(f"handed over while the handler awaits at {lines[0]}; that await is repeated")
            self._end(HandOver(lines[0] if lines else ""))
            return
        if not self.threads:  # a thread cannot be stopped; it must not be left running either
            for body in list(self.bodies.values()):
                self._loop.call_later(HAND_OVER_GRACE.total_seconds(), self._cut_off, body)
        self.stir()

    def _is_cutting_off(self) -> bool:
        """Whether a cancelled step was cut off by us: at the hand-over, or because the run's fate is decided."""
        return self.session.closed or self.session.handing_over or self.session.fatal is not None

    def _cut_off(self, body: asyncio.Task[Any]) -> None:
        """Not one that must not be repeated: it is let finish, as a thread is."""
        calls = [key for key, task in self.bodies.items() if task is body]
        if not any(key in self._once for key in calls):
            body.cancel()


def _attempt(reach: Callable[[Call], Result | None], call: Call) -> Result | BaseException | None:
    try:
        return reach(call)
    except BaseException as error:  # noqa: BLE001 - sorted by who must act in `_reached`
        return error
