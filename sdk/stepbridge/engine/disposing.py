"""The end of an async handler's tasks, once its run has ended or is suspended: cancel, then close, never drop."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import TYPE_CHECKING, Final

from stepbridge.core.limits import CALL_LONGEST, HAND_OVER_GRACE
from stepbridge.engine.outcome import HandOver, Outcome
from stepbridge.engine.outcome import Suspended as SuspendedOutcome
from stepbridge.engine.tracking import StepFuture, Tracked, where

if TYPE_CHECKING:
    from stepbridge.engine.async_replay import AsyncReplay

_DISPOSE_SECONDS: Final = 2.0
"""How long `finally` blocks may take when a run is suspended."""
_CALLS_GRACE: Final = 2 * HAND_OVER_GRACE
"""After the time at which no step begins any more: the rest is for what settles the run."""


async def dispose(run: AsyncReplay, outcome: Outcome) -> None:
    """Ends the handler's tasks: cancel, then close, never drop.

    Cancel the main task first (gather, TaskGroup and timeouts unwind in their own way), then the rest,
    again where a task awaits a step; what will not end is closed.
    """
    _leave_unstarted(run, forgotten=not isinstance(outcome, SuspendedOutcome | HandOver))
    loop = asyncio.get_running_loop()
    until = loop.time() + _DISPOSE_SECONDS
    while (live := [t for t in run.tasks if not t.task.done()]) or run.strays or run.bodies:
        for stray in [*run.strays, *run.bodies.values()]:
            stray.cancel()
            if loop.time() > until:
                run.strays.discard(stray)
                run.bodies = {key: task for key, task in run.bodies.items() if task is not stray}
                run.session.warn(f"a task of a step would not end: {stray!r}")
        for tracked in [run.root] if run.root in live else live:
            _end_task(run, tracked, late=loop.time() > until)
        await asyncio.sleep(0 if loop.time() < until - _DISPOSE_SECONDS + 0.005 else 0.002)
    while run.threads:  # nothing may be left running when the invocation returns
        await asyncio.wait([asyncio.wrap_future(thread) for thread in run.threads])
    if run.calls:  # nor when it is settled: what a call arms has to be known by then
        patience = min(CALL_LONGEST.total_seconds(), run.deadline + _CALLS_GRACE.total_seconds() - loop.time())
        _, hanging = await asyncio.wait([asyncio.wrap_future(call) for call in run.calls], timeout=max(patience, 0))
        if hanging:
            run.session.warn(f"{len(hanging)} calls of the backend hang; the invocation ends without them")
    if run.main.done() and not run.main.cancelled():
        with contextlib.suppress(BaseException):
            run.main.exception()
        if isinstance(outcome, SuspendedOutcome | HandOver) and not run.root.dead:
            line = run.root.line or "an unknown line"
            run.session.warn(f"a suspension was swallowed near {line}; the run stays suspended")


def _leave_unstarted(run: AsyncReplay, *, forgotten: bool) -> None:
    """The user is told, or, where the handler has not ended, they are only not reached yet."""
    for coroutine in run.unstarted.values():
        if not forgotten:
            coroutine.close()
        elif inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
            run.session.warn(f"{coroutine.__qualname__} was never awaited, so it has not run. Mend: await it.")
    run.unstarted.clear()


def _end_task(run: AsyncReplay, tracked: Tracked, *, late: bool) -> None:
    stuck = isinstance(tracked.waits, StepFuture) and not tracked.waits.done()
    if tracked.kicks >= 3 or late:  # noqa: PLR2004
        tracked.dead = run.closing = True
        for _ in range(100):  # each close gets past one more swallowing `except`
            with contextlib.suppress(RuntimeError):
                tracked.coroutine.close()
                run.closing = False
                break
        else:  # and so again when it is collected
            run.session.warn(f"a coroutine would not end at {where(tracked.coroutine)}")
        if not tracked.task.cancel():
            run.tasks.pop(tracked, None)
    elif not tracked.kicks or stuck:
        tracked.kicks += 1
        tracked.task.cancel()
