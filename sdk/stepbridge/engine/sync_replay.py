"""Replay of plain `def` handlers, in a thread of their own.

A step that has to wait raises `Suspended` at once, through the handler. In `ctx.group.parallel` a baton lets
one branch at a time run handler code, so that calls have one order; it is given away while a step's function
runs and is recorded, and handed on in the order of the results.
"""

from __future__ import annotations

import contextvars
import heapq
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NoReturn

from stepbridge.context import ContextSync
from stepbridge.core.history import Result
from stepbridge.core.limits import BRANCH_THREADS
from stepbridge.core.steps import BodyStep, MapStep, Step
from stepbridge.engine.arming import Arming
from stepbridge.engine.calls import Call
from stepbridge.engine.failures import LEAVING
from stepbridge.engine.outcome import Aborted, HandOver, Outcome
from stepbridge.engine.outcome import Suspended as SuspendedOutcome
from stepbridge.engine.recording import Recording
from stepbridge.engine.session import Session
from stepbridge.engine.tracking import Suspended, module_of
from stepbridge.errors import ConfigError, StepError
from stepbridge.step import CURRENT


@dataclass(slots=True)
class _Group:
    """One `parallel` call: branches not begun, their results, how many threads still work."""

    todo: list[tuple[int, Callable[[], Any]]]
    results: list[Any]
    workers: int
    done: threading.Lock = field(default_factory=threading.Lock)


class SyncReplay:
    """One sync handler in one invocation."""

    def __init__(self, session: Session, recording: Recording, arming: Arming, deadline: float) -> None:
        self.session = session
        self._recording = recording
        self._arming = arming
        self._deadline = deadline
        """By `time.monotonic`: no step begins after it."""
        self._lock = threading.Lock()
        self._held = True
        self._starting: list[threading.Lock] = []
        self._waiting: list[tuple[int, int, threading.Lock]] = []
        self._threads: set[int] = set()
        self._suspended: set[int] = set()
        self._line = ""
        """The user's line at which the run was suspended."""
        self._has_warned = False

    # -- what a context calls ----------------------------------------------------------------------
    def call(self, step: Step) -> Any:
        """The step's value; raises `Suspended` where it has to be waited for."""
        thread = threading.get_ident()
        self.session.check_outside_steps(f"step {step.step_id!r}")
        if thread not in self._threads:
            message = (
                f"step {step.step_id!r} is called from a thread of your own. Mend: use ctx.group.parallel,"
                " whose branches may call steps."
            )
            raise RuntimeError(message)
        session = self.session
        if session.closed:  # a thread of the pool, in which another run's handler runs by now
            message = (
                f"step {step.step_id!r} is called by the context of run {session.run_id}, whose invocation is over."
                " Mend: use the context that the handler is given, and keep it nowhere."
            )
            raise RuntimeError(message)
        if thread in self._suspended:
            self._warn_swallowed()
            raise Suspended
        call = session.identify(step, 3)
        if session.fatal is not None:
            self._suspend(call)
        result = session.hit(call)
        if result is not None:
            self._arming.note_left(call, result.register)
        if result is None:
            result = self._carry_out(call)
        elif len(self._threads) > 1:
            self._await_baton(result.rank, passing=True)
        if session.fatal is not None:
            self._suspend(call)
        session.note_given(result)
        return session.value(call, result.register)

    def _carry_out(self, call: Call) -> Result:
        """Runs or arms the step without the baton, and takes it again when the result's turn has come."""
        session = self.session
        if session.probing:
            self._arming.note(call)
            self._suspend(call)
        waiting = session.resume_waiting(call)
        is_map = isinstance(call.step, MapStep)
        if waiting and not is_map and call.started_in is None and (call.due_at is None or call.due_at > session.now()):
            self._suspend(call)
        if isinstance(call.step, BodyStep) and time.monotonic() >= self._deadline:
            session.handing_over = True
            self._suspend(call)
        self._pass_baton()
        result: Result | None = None
        mistake: Exception | None = None
        try:
            result = self._reach(call, is_armed=waiting)
        except (ConfigError, StepError) as error:
            mistake = error
        except BaseException as error:  # noqa: BLE001 - the backend failed
            session.fail(Aborted(error))
        self._await_baton(session.take_rank() if result is None else result.rank)
        if mistake is not None:
            raise mistake
        if result is None:
            self._suspend(call)
        return result

    def _reach(self, call: Call, *, is_armed: bool) -> Result | None:
        """What the step comes to in this invocation; None: it waits."""
        if call.started_in is not None:
            return self._recording.interrupted(call)
        if isinstance(call.step, BodyStep):
            context = contextvars.copy_context()
            context.run(CURRENT.set, self._recording.begin(call))
            if self.session.fatal is not None:
                return None
            return context.run(self._recording.perform, call, self.session.now())
        if not is_armed:
            return self._arming.arm(call)
        return self._arming.collect(call) if isinstance(call.step, MapStep) else self._arming.expire(call)

    def _suspend(self, call: Call) -> NoReturn:
        self.session.pending[call.key] = call
        self._suspended.add(threading.get_ident())
        self._line = self._line or _user_line()
        message = f"the run is suspended at step {call.step.step_id!r}"
        raise Suspended(message)

    def _warn_swallowed(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            self.session.warn(f"a suspension was swallowed at {self._line}; the run stays suspended")

    # -- the baton ---------------------------------------------------------------------------------
    def _pass_baton(self) -> None:
        with self._lock:
            self._held = False
            self._grant()

    def _await_baton(self, rank: int, *, passing: bool = False) -> None:
        """Takes the baton when it is `rank`'s turn; `passing` it on by the same act, lest a later rank slips in."""
        gate = threading.Lock()
        gate.acquire()
        with self._lock:
            if passing:
                self._held = False
            heapq.heappush(self._waiting, (rank, id(gate), gate))
            self._grant()
        gate.acquire()

    def _grant(self) -> None:
        if self._held:
            return
        inflight = self.session.inflight
        if self._starting:
            self._held = True
            self._starting.pop(0).release()
        elif self._waiting and not (inflight and min(inflight) < self._waiting[0][0]):
            self._held = True
            heapq.heappop(self._waiting)[2].release()

    def parallel(self, branches: Sequence[Callable[[], Any]]) -> list[Any]:
        """Runs the branches in threads; an exception stands for the value of its branch."""
        self.session.check_outside_steps("ctx.group.parallel")
        if not branches:
            return []
        size = min(BRANCH_THREADS, len(branches))
        group = _Group(todo=list(enumerate(branches)), results=[None] * len(branches), workers=size)
        group.done.acquire()
        gates = [threading.Lock() for _ in range(size)]
        for gate in gates:
            gate.acquire()
        threads = [
            threading.Thread(
                target=contextvars.copy_context().run, args=(self._work, gate, group), name="stepbridge-branch"
            )
            for gate in gates
        ]
        for thread in threads:
            thread.start()
        with self._lock:
            self._starting[:0] = gates
            self._held = False
            self._grant()
        group.done.acquire()
        for thread in threads:
            thread.join()
        stopped = next((result for result in group.results if isinstance(result, Suspended)), None)
        if stopped is not None:
            self._suspended.add(threading.get_ident())
            raise Suspended(str(stopped))
        return group.results

    def _work(self, gate: threading.Lock, group: _Group) -> None:
        thread = threading.get_ident()
        self._threads.add(thread)
        gate.acquire()
        while group.todo:  # the next branch starts under the same baton: the order of calls is fixed
            index, branch = group.todo.pop(0)
            self._suspended.discard(thread)
            try:
                group.results[index] = branch()
            except BaseException as error:  # noqa: BLE001 - handed to the caller of parallel
                group.results[index] = error
            if thread in self._suspended:  # even if the branch swallowed it
                group.results[index] = Suspended()
        self._threads.discard(thread)  # while it lives: the next thread may bear the same number
        self._suspended.discard(thread)
        with self._lock:
            group.workers -= 1
            self._held = False
            if not group.workers:
                self._starting.insert(0, group.done)
            self._grant()

    # -- beginning and end -------------------------------------------------------------------------
    def advance(self) -> Outcome:
        """Runs the handler as far as it goes."""
        session = self.session
        self._threads.add(threading.get_ident())
        context: ContextSync[Any] = ContextSync(session, self, session.trigger)
        value, error, passed = None, None, False
        try:
            value = session.function.handler(context)
        except Suspended:
            passed = True
        except LEAVING as raised:
            session.fail(Aborted(raised))
        except BaseException as raised:  # noqa: BLE001 - whatever user code raises decides the run
            error = raised
        was_suspended = threading.get_ident() in self._suspended
        session.closed = True
        if session.fatal is not None:
            return session.fatal
        if was_suspended:
            if not passed:
                self._warn_swallowed()
            return HandOver() if session.handing_over else SuspendedOutcome()
        return session.outcome_of(value, error)


def _user_line() -> str:
    """The innermost line of the stack that is not ours."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the caller's line, cheaply
    while frame is not None and module_of(frame).startswith("stepbridge."):
        frame = frame.f_back
    return "an unknown line" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
