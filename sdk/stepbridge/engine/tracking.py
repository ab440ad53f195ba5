"""What the tasks of a run wait on: the test that tells a blocked run from a busy one.

Every task that a handler makes is driven through `Tracked`, which sees the future that the task yields.
A run may be suspended once all its tasks are blocked on the run itself: on steps, on each other, or on a
lock or queue of the user's own package. Everything else (sockets, threads, `asyncio.sleep`, client
libraries, futures of unknown make) counts as the handler's own I/O and is let finish.

Rejected: asyncio's `_fut_waiter` (private), a loop per run (an idle connection holds it for ever), a loop
without a selector (no I/O at all), counters of runnable bodies (TaskGroup, wait_for, semaphores break them),
eager tasks (the order of calls would depend on the Python version).
"""

from __future__ import annotations

import asyncio
import gc
import types
from collections.abc import Coroutine, Generator, Iterator
from contextvars import ContextVar
from typing import Any, Final, Protocol

from stepbridge.step import CURRENT


class Suspended(asyncio.CancelledError):
    """What `finally` blocks of a handler see when its run suspends. Let it pass; it is no error."""


class StepFuture(asyncio.Future[Any]):
    """The one thing that a step's coroutine awaits."""


class Watcher(Protocol):
    """The run that tracked tasks belong to."""

    tasks: dict[Tracked, None]
    strays: set[asyncio.Task[Any]]
    timeouts: list[asyncio.TimerHandle]
    activity: int

    def stir(self) -> None:
        """Something moved: look again whether the run has settled."""

    @property
    def closed(self) -> bool:
        """The invocation is over for this run; its tasks are being ended."""


RUN: Final[ContextVar[Watcher | None]] = ContextVar("stepbridge_run", default=None)


class Tracked(Coroutine[Any, Any, Any]):
    """Drives one coroutine of a run. `waits` is the future that it is blocked on, None while runnable."""

    __slots__ = ("__weakref__", "coroutine", "dead", "kicks", "line", "run", "task", "waits")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], run: Watcher) -> None:
        self.coroutine = coroutine
        self.run = run
        self.waits: asyncio.Future[Any] | None = None
        self.task: asyncio.Task[Any]
        self.line = ""
        self.kicks = 0
        self.dead = False
        run.tasks[self] = None
        run.stir()

    def _drive(self, step: Any, *args: Any) -> Any:
        run = self.run
        run.activity += 1
        self.waits = None
        try:
            future = step(*args)
        except BaseException:
            run.tasks.pop(self, None)
            run.stir()
            raise
        self.waits = future
        run.stir()
        return future

    def send(self, value: Any) -> Any:
        """One turn of the coroutine."""
        return self._drive(self.coroutine.send, value)

    def throw(self, typ: Any, val: Any = None, tb: Any = None) -> Any:  # noqa: ARG002 - the protocol's signature
        """An exception into the coroutine; a cancellation of a suspended run arrives as `Suspended`."""
        if self.dead:  # its coroutine has been closed: just end the task
            self.run.tasks.pop(self, None)
            raise typ if isinstance(typ, BaseException) else typ(val)
        if self.run.closed and (isinstance(typ, asyncio.CancelledError) or typ is asyncio.CancelledError):
            self.line = self.line or where(self.coroutine)
            typ = Suspended("the run is suspended")
        return self._drive(self.coroutine.throw, typ)

    def close(self) -> None:
        """Ends the coroutine without another turn."""
        self.run.tasks.pop(self, None)
        self.coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        """Itself: asyncio drives it through `send` and `throw`."""
        return self  # type: ignore[return-value]


def frames(coroutine: Any) -> Iterator[types.FrameType]:
    """Frames of a suspended coroutine, outermost first; follows generators and async generators too."""
    while coroutine is not None:
        for kind in ("cr", "gi", "ag"):
            if hasattr(coroutine, kind + "_frame"):
                frame = getattr(coroutine, kind + "_frame")
                if frame is not None:
                    yield frame
                coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else kind + "_await")
                break
        else:  # asend() objects do not name their generator; the collector does
            generators = (types.AsyncGeneratorType, types.CoroutineType)
            coroutine = next((o for o in gc.get_referents(coroutine) if isinstance(o, generators)), None)


def module_of(frame: types.FrameType) -> str:
    """The name of the module that a frame runs in."""
    return str(frame.f_globals.get("__name__", ""))


def where(coroutine: Any) -> str:
    """The user's innermost line in a suspended coroutine."""
    own = [f for f in frames(coroutine) if not module_of(f).startswith(("asyncio", "stepbridge."))]
    return f"{own[-1].f_code.co_filename}:{own[-1].f_lineno}" if own else "an unknown line"


class RunLoop(asyncio.SelectorEventLoop):
    """The event loop of the engine: tracks the tasks of runs, and the asyncio timeouts that they arm."""

    def __init__(self) -> None:
        super().__init__()
        track_tasks(self)

    def call_at(  # type: ignore[override]  # the stub's variadic types gain nothing here
        self, when: float, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        """As in asyncio; notes the timers of `asyncio.timeout` that runs arm."""
        handle = super().call_at(when, callback, *args, context=context)
        run = RUN.get()
        if run is not None and isinstance(getattr(callback, "__self__", None), asyncio.Timeout):
            run.timeouts.append(handle)
        return handle


def track_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """From now on the loop tracks the tasks of runs."""
    loop.set_task_factory(_make_task)


def _make_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    run = RUN.get()
    if run is None:
        return asyncio.Task(coroutine, loop=loop, **options)
    if CURRENT.get() is not None:  # made by a step's function: no part of the test
        task = asyncio.Task(coroutine, loop=loop, **options)
        run.strays.add(task)
        task.add_done_callback(run.strays.discard)
        return task
    tracked = Tracked(coroutine, run)
    tracked.task = asyncio.Task(tracked, loop=loop, **options)
    return tracked.task


def is_blocked(tracked: Tracked, *, tasks: set[asyncio.Future[Any]], package: str, deadline: float | None) -> bool:
    """Whether nothing but the run itself can wake this task; `deadline` in the loop's time."""
    waits = tracked.waits
    if waits is None or waits.done():
        return False
    if _is_inner(waits, tasks):
        return True
    stack = list(frames(tracked.coroutine))
    if not stack or not module_of(stack[-1]).startswith("asyncio."):
        return False  # an executor, a client library: I/O
    innermost = module_of(stack[-1])
    if innermost in {"asyncio.tasks", "asyncio.taskgroups"}:
        return stack[-1].f_code.co_name != "sleep" and _is_join(stack[-1], waits, tasks, deadline)
    if innermost in {"asyncio.locks", "asyncio.queues"}:
        outer = next((f for f in reversed(stack) if not module_of(f).startswith("asyncio.")), stack[0])
        return module_of(outer).split(".")[0] == package  # elsewhere it is a client waiting for its socket
    return False  # streams, sockets, subprocesses


def _is_join(
    frame: types.FrameType,
    waits: asyncio.Future[Any],
    tasks: set[asyncio.Future[Any]],
    deadline: float | None,
) -> bool:
    """`asyncio.wait`, `wait_for`, `as_completed`, a TaskGroup: blocked if all that it joins is."""
    local = frame.f_locals
    timeout = local.get("timeout_handle")
    if timeout is not None and not timeout.cancelled():
        return deadline is not None and timeout.when() > deadline
    members = (
        member for value in local.values() for member in (value if isinstance(value, set | list | tuple) else (value,))
    )
    joined = [m for m in members if isinstance(m, asyncio.Future) and m is not waits and not m.done()]
    return all(_is_inner(member, tasks) for member in joined)


def _is_inner(future: asyncio.Future[Any], tasks: set[asyncio.Future[Any]]) -> bool:
    """A step, a task of the run, or a gather or shield of nothing else."""
    if isinstance(future, StepFuture) or future in tasks:
        return True
    if isinstance(future, asyncio.Task):
        return False
    children = getattr(future, "_children", None)  # of a gather; not public: where it is missing, it is I/O
    if children is not None:
        return all(_is_inner(child, tasks) for child in children if not child.done())
    shielded = [
        cell.cell_contents
        for callback in gc.get_referents(future)
        if isinstance(callback, types.FunctionType) and callback.__module__ == "asyncio.tasks"
        for cell in callback.__closure__ or ()
        if isinstance(cell.cell_contents, asyncio.Future)
    ]
    return bool(shielded) and all(_is_inner(inner, tasks) for inner in shielded)
