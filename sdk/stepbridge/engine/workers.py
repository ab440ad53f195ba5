"""The threads and the loop that one process keeps for its runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from stepbridge.core.limits import BODY_THREADS, PORT_THREADS
from stepbridge.engine.tracking import RunLoop

T = TypeVar("T")


class Workers:
    """Threads for backend calls (where they block), for sync step functions, and for sync handlers."""

    def __init__(self, *, blocking: bool) -> None:
        self._blocking = blocking
        self.handling: set[str] = set()
        """Messages under way in this process, by their invocation's id and their own."""
        self.live: dict[str, Any] = {}
        """Sessions of the runs that this process executes now, by run id: to stop one that is cancelled."""
        self._calls = ThreadPoolExecutor(PORT_THREADS, thread_name_prefix="stepbridge-call")
        self.bodies = ThreadPoolExecutor(BODY_THREADS, thread_name_prefix="stepbridge-step")
        self.handlers = ThreadPoolExecutor(BODY_THREADS, thread_name_prefix="stepbridge-handler")

    @property
    def blocking(self) -> bool:
        """Whether backend calls wait for a network."""
        return self._blocking

    async def io(self, call: Callable[[], T], under_way: set[Future[Any]] | None = None) -> T:
        """The call's value; made in a thread where it blocks.

        A thread goes on where the waiting task is cancelled: until it has ended it stands in `under_way`.
        """
        if not self._blocking:
            return call()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        thread = self._calls.submit(_answered, call, loop, answer)
        if under_way is not None:
            under_way.add(thread)
            thread.add_done_callback(under_way.discard)
        return await answer

    def close(self) -> None:
        """Ends the threads; what runs in them is let finish."""
        for pool in (self._calls, self.bodies, self.handlers):
            pool.shutdown(wait=True)


def _answered(call: Callable[[], T], loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T]) -> None:
    """In a thread: `run_in_executor` without its second future, which costs a tenth of a step."""
    try:
        give = partial(_give, answer.set_result, call())
    except BaseException as error:  # noqa: BLE001 - it is the waiting task's
        give = partial(_give, answer.set_exception, error)
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(give, answer)


def _give(give: Callable[[Any], None], what: Any, answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        give(what)


def new_loop() -> RunLoop:
    """A loop for runs; the caller closes it."""
    return RunLoop()
