"""`stepbridge dev`: an app on this machine, from its import to Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from pdb import Pdb
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from stepbridge.cli import words
from stepbridge.cli.narrator import Narrator
from stepbridge.cli.output import Output
from stepbridge.cli.problems import USAGE, CommandError
from stepbridge.cli.project import Project, find_project

if TYPE_CHECKING:
    from stepbridge.app import App
    from stepbridge.local.reload import Reloader
    from stepbridge.local.server import LocalServer

_PATIENCE_SECONDS: Final = 3.0
"""What a Ctrl-C leaves to threads of steps; a thread cannot be stopped, so the process is then ended."""


def serve(  # noqa: PLR0913 - the command's options
    wanted: str | None, *, port: int, first_event: bool, reload: bool, state: Path | None, backend: str, output: Output
) -> None:
    """Runs the app until Ctrl-C or SIGTERM.

    Raises:
        CommandError: The app cannot be imported, or the port, the state file or the backend cannot be used.
    """
    began = time.monotonic()
    _log_to_stderr()
    project = find_project(Path.cwd())
    app = project.load(wanted)

    from stepbridge.console.web import console_routes
    from stepbridge.errors import ConfigError
    from stepbridge.local.server import LocalServer

    try:
        server = LocalServer(app, port=port, state=state, backend=backend, routes=console_routes)
    except ConfigError as error:
        raise CommandError(str(error), USAGE) from error
    narrator = Narrator(server, output, _event(project, app), send=first_event, broken=server.stop)
    _stop_on_signals(server.stop)
    _leave_ctrl_c_alone()
    reloader = _reloader(project, wanted, server, output)
    _greet(app, server.url, time.monotonic() - began, state, backend, output)
    narrator.start()
    if reload:
        reloader.start()
    server.run()
    reloader.stop()
    narrator.stop()
    output.text("Stopped.")


def _reloader(project: Project, wanted: str | None, server: LocalServer, output: Output) -> Reloader:
    from stepbridge.local.reload import Reloader, Sources

    def tell(files: list[str], error: BaseException | None) -> None:
        names = ", ".join(os.path.relpath(file, project.root) for file in files)
        functions = [name for site in server.service.sites for name in site.app.functions]
        if output.as_json:
            output.record({"changed": files, "error": None if error is None else str(error), "functions": functions})
        elif error is None:
            output.text(f"{names} changed: {words.count(len(functions), 'function')} loaded anew", "bold")
        else:
            output.text(f"{names} changed, and the code before it goes on: {error}", "bold red")

    return Reloader(Sources(project.root), lambda: project.load(wanted), server.call, server.adopt, tell)


def _greet(app: App, url: str, seconds: float, state: Path | None, backend: str, output: Output) -> None:
    if output.as_json:
        output.record({"ready": url, "app_id": app.id, "functions": list(app.functions)})
        return
    output.text(f"stepbridge dev  app {app.id}, {words.count(len(app.functions), 'function')}, at {url}", "bold")
    kept = f"in {backend}, until this ends" if state is None else f"in {state}"
    output.text(f"Ready in {words.length(seconds)}. Runs are kept {kept}.", "dim")


def _event(project: Project, app: App) -> dict[str, Any] | None:
    """The event of the project's settings, else one that starts the app's first function; None: there is none."""
    from stepbridge.local.starting import first_event_name

    names = (first_event_name(function) for function in app.functions.values())
    name = project.first_event.get("name") or next((name for name in names if name), None)
    return None if name is None else {"name": name, "data": project.first_event.get("data", {})}


def _stop_on_signals(stop: Callable[[], None]) -> None:
    """The first signal stops; a second one, or too long a wait, ends the process as it is."""
    signals = 0

    def handle(_signal: int, _frame: FrameType | None) -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            _leave("ended at once")
        timer = threading.Timer(_PATIENCE_SECONDS, _leave, ["a step was still running; it is cut off"])
        timer.daemon = True
        timer.start()
        stop()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)


def _leave_ctrl_c_alone() -> None:
    """`breakpoint()` is pdb's as ever; but once it goes on, Ctrl-C ends the server and is not pdb's."""
    if sys.breakpointhook is sys.__breakpointhook__ and not os.environ.get("PYTHONBREAKPOINT"):
        sys.breakpointhook = _breakpoint


def _breakpoint(*_args: object, **_options: object) -> None:
    Pdb(nosigint=True).set_trace(sys._getframe(1))  # noqa: SLF001 - the caller's, as pdb takes it


def _leave(why: str) -> None:
    sys.stderr.write(f"stepbridge: {why}\n")
    sys.stdout.flush()
    os._exit(0)


class _Plain(logging.Formatter):
    """Time, level and message; what is in the message is data, so no terminal obeys it."""

    def format(self, record: logging.LogRecord) -> str:
        """A record as lines."""
        return words.clean_lines(super().format(record))


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain("%(asctime)s.%(msecs)03d  %(levelname)s  %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("stepbridge").setLevel(logging.INFO)
