"""The local server: apps on the memory backend in real time, and HTTP on loopback before them.

Two threads. The caller's runs the engine's loop, so that a debugger in a handler has the terminal; a thread
of its own serves HTTP, so that events are taken and runs can be looked at while a handler blocks the loop.
Rejected: HTTP on the engine's loop. It is no faster (event to first step: p50 1.8 ms against 1.5 ms, p95 6 ms
against 4.5 ms), and one blocking handler takes the server away.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, cast

import uvicorn
from starlette.routing import BaseRoute

from stepbridge.app import App
from stepbridge.engine.tracking import RunLoop
from stepbridge.errors import ConfigError
from stepbridge.local.driver import Driver
from stepbridge.local.home import Home, MemoryHome
from stepbridge.local.log import EventLog
from stepbridge.local.runs import RunList
from stepbridge.local.service import Service
from stepbridge.local.simulated import require_moto
from stepbridge.local.state import StateFile
from stepbridge.local.web import web_app

if TYPE_CHECKING:
    from stepbridge.memory.world import World

_LOG = logging.getLogger("stepbridge")

HOST: Final = "127.0.0.1"
PORT: Final = 8787
_KEEP_ALIVE_SECONDS: Final = 75
"""AWS clients keep connections for about a minute."""
_GC_THRESHOLDS: Final = (20_000, 20, 20)
"""Of Python's collector. Its own, made for small heaps, add up to 0.1 s when 1,000 runs wake at once."""


class LocalServer:
    """Apps, driver and HTTP in one process. Either `run` it, or use it as a context manager in a thread.

    Args:
        apps: One or several; they share a bus.
        port: Of 127.0.0.1; 0: any that is free.
        routes: Makes further routes of HTTP, given the service.
        state: A file that keeps the runs for the next server; None: they end with this one.
        backend: `"memory"`, or `"moto"`: the AWS adapters and the Lambda handler; while it is open, moto
            answers all AWS clients of this process, the user's own too.

    Raises:
        ConfigError: The port is taken, or may not be used; the state file is, or cannot be read, or is not
            for this backend; or there is no such backend.
    """

    def __init__(
        self,
        *apps: App,
        port: int = PORT,
        routes: Callable[[Service], Sequence[BaseRoute]] | None = None,
        state: Path | None = None,
        backend: str = "memory",
    ) -> None:
        runs = RunList()
        with ExitStack() as undo:
            self._socket = undo.enter_context(_listening(port))
            self._state = None if state is None else undo.enter_context(closing(StateFile(state)))
            self._home = undo.enter_context(closing(_home_of(backend, apps, runs, self._state)))
            self._undo = undo.pop_all()
        world, sites = self._home.world, self._home.sites
        self.service = Service(world, sites, runs, EventLog(world.bus))
        self._loop = RunLoop()
        self._driver = Driver(world, sites)
        more = () if routes is None else routes(self.service)
        self._http = uvicorn.Server(
            uvicorn.Config(
                web_app(self.service, more),
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self._socket.getsockname()[1]}"

    def call(self, work: Callable[[], None]) -> None:
        """Has `work` done on the engine's loop, between two turns of the handlers. Safe in any thread."""
        with suppress(RuntimeError):  # the loop is closed: nothing is left to be done
            self._loop.call_soon_threadsafe(work)

    def adopt(self, app: App) -> None:
        """Runs go on with this app's code from their next invocation on; to be called on the engine's loop.

        What is executed meanwhile ends with the code that it began with, as after a deployment.

        Raises:
            ConfigError: The server has no app of this id.
        """
        sites = self.service.sites
        for index, site in enumerate(sites):
            if site.app.id == app.id:
                sites[index] = self._home.renewed(site, app)
                return
        raise ConfigError(f"the app's id is {app.id!r} now: another id, other runs. Mend: start the server again.")

    def run(self) -> None:
        """Serves until `stop`. What an app's code raises never ends it, `SystemExit` included."""
        http = threading.Thread(target=self._serve_http, name="stepbridge-http", daemon=True)
        http.start()
        driving = self._loop.create_task(self._driver.run())
        if self._state is not None:
            self.service.runs.listen(self._state.touch)
            self._loop.create_task(self._state.keep(cast("World", self._home.world)))
        try:
            with _patient_collector(), _kept_logs(self.service.run_logs):
                while not driving.done():
                    self._drive(driving)
        finally:
            self._http.should_exit = True
            http.join()
            self._close()

    def _drive(self, driving: asyncio.Task[None]) -> None:
        try:
            self._loop.run_until_complete(driving)
        except SystemExit:  # user code has left its sandbox; the message comes back, as on AWS
            _LOG.warning("a handler called sys.exit(); the local server goes on")

    def stop(self) -> None:
        """Ends `run`. Safe in any thread and in signal handlers."""
        self._driver.stop()

    def __enter__(self) -> Self:
        """Runs in a thread from now on."""
        self._thread = threading.Thread(target=self.run, name="stepbridge-local")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops, and waits for the end."""
        self.stop()
        if self._thread is not None:
            self._thread.join()

    def _serve_http(self) -> None:
        asyncio.run(self._http.serve(sockets=[self._socket]))

    def _close(self) -> None:
        with suppress(RuntimeError):
            self._loop.run_until_complete(_end_tasks())
        if self._state is not None:
            self._state.save(cast("World", self._home.world))
        self._undo.close()
        self._loop.close()


@contextmanager
def _kept_logs(handler: logging.Handler) -> Iterator[None]:
    """Whatever is logged meanwhile passes the handler."""
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _home_of(backend: str, apps: Sequence[App], runs: RunList, state: StateFile | None) -> Home:
    match backend:
        case "memory":
            return MemoryHome(apps, runs, state)
        case "moto" if state is not None:
            raise ConfigError("runs on moto cannot be kept in a file. Mend: leave the state out, or use 'memory'.")
        case "moto":
            require_moto()
            from stepbridge.local.moto_site import MotoHome

            return MotoHome(apps, runs)
        case _:
            raise ConfigError(f"backend={backend!r}. Mend: 'memory' or 'moto'.")


@contextmanager
def _patient_collector() -> Iterator[None]:
    """Collects seldom meanwhile, and leaves alone what is there already: modules and the app."""
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def _end_tasks() -> None:
    """Cancels what handlers have left running."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=1) if tasks else None


def _listening(port: int) -> socket.socket:
    listening = socket.socket(
        socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # by which asyncio knows to set NODELAY
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
        listening.listen(2048)
    except (OSError, OverflowError) as error:
        listening.close()
        cause = "another program uses it" if getattr(error, "errno", None) == errno.EADDRINUSE else str(error)
        raise ConfigError(
            f"the local server cannot listen on port {port}: {cause}. Mend: stop the other one, or choose a port"
            f" with --port {port + 1}."
        ) from error
    return listening
