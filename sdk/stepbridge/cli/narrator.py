"""What `dev` says: the first event's run step by step, then what to try, then every run while it happens.

A thread of its own: neither a slow terminal holds the engine up, nor a handler that blocks the loop the lines.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from stepbridge.cli import words
from stepbridge.cli.hints import next_commands
from stepbridge.cli.output import Output
from stepbridge.cli.timeline import ENDED, Line, Timeline

if TYPE_CHECKING:
    from stepbridge.local.server import LocalServer

_LOG = logging.getLogger("stepbridge")

Json = dict[str, Any]

_PAUSE_SECONDS: Final = 0.02
_SHARE: Final = 5
"""The pause is this many times what the last look took, so that telling costs little of what is told."""
_RUNS_PER_LOOK: Final = 20
_CHANGED_MAX: Final = 200
"""Changed runs that wait to be looked at; under load the others are only counted."""
_FOLLOW_SECONDS: Final = 20.0
"""How long the first event's runs are followed before the hints come."""
_SOON: Final = timedelta(seconds=10)
"""What comes due within this is waited for before the hints come."""


class Narrator:
    """Tells what happens on a server.

    Args:
        server: Whose runs.
        output: Where to.
        event: Name and data of an event that starts a function; None: no event does.
        send: Whether to send it at the start.
        broken: Called when nobody reads the output any more.
    """

    def __init__(
        self, server: LocalServer, output: Output, event: Json | None, *, send: bool, broken: Callable[[], object]
    ) -> None:
        self._server = server
        self._service = server.service
        self._output = output
        self._event = event
        self._send = send
        self._broken = broken
        self._timeline = Timeline()
        self._changed: dict[str, None] = {}
        self._untold: set[str] = set()
        self._lock = threading.Lock()
        self._stir = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._tell, name="stepbridge-narrator", daemon=True)

    def start(self) -> None:
        """Begins to listen and to tell."""
        self._service.runs.listen(self._note)
        self._thread.start()

    def stop(self) -> None:
        """Says the last lines, and ends."""
        self._stopping = True
        self._stir.set()
        self._thread.join(timeout=1)

    def _note(self, run_id: str) -> None:
        """In the engine's threads: must be quick."""
        with self._lock:
            if len(self._changed) < _CHANGED_MAX:
                self._changed[run_id] = None
            elif run_id not in self._changed and len(self._untold) < 100_000:  # noqa: PLR2004 - a bound of memory
                self._untold.add(run_id)
        if not self._stir.is_set():
            self._stir.set()

    # -- the thread --------------------------------------------------------------------------------
    def _tell(self) -> None:
        try:
            self._hints(self._tell_first(self._event) if self._event is not None and self._send else [])
            while not self._stopping:
                self._stir.wait()
                self._look()
            self._look()
        except OSError:  # a pipe whose reader has gone
            self._broken()

    def _look(self) -> None:
        """Prints what is new of the runs that have changed, then rests in proportion."""
        self._stir.clear()
        began = time.perf_counter()
        with self._lock:
            chosen = list(self._changed)[:_RUNS_PER_LOOK]
            for run_id in chosen:
                del self._changed[run_id]
            more = bool(self._changed)
            untold = 0 if more else len(self._untold)
            if untold:
                self._untold.clear()
        lines = [line for run_id in chosen for line in self._new_lines(run_id)]
        for line in sorted(lines, key=lambda line: line.at):
            self._output.line(line)
        if untold:
            self._output.text(f"... and {untold} more runs have moved on, too many to tell of", "dim")
        if more:
            self._stir.set()
        if not self._stopping:
            time.sleep(max(_PAUSE_SECONDS, _SHARE * (time.perf_counter() - began)))

    def _new_lines(self, run_id: str) -> list[Line]:
        try:
            return self._timeline.feed(self._service.run(run_id), _now())
        except LookupError:
            return []  # written, but not listed yet: it will be touched again
        except Exception:  # noqa: BLE001 - one run that cannot be shown silences no other
            _LOG.exception("run %s cannot be shown", run_id)
            return []

    # -- the first event ---------------------------------------------------------------------------
    def _tell_first(self, event: Json) -> list[Json]:
        """Sends the event and tells of its runs until nothing more is to be seen for a while; the runs."""
        self._output.text()
        self._output.text(f"First event: {event['name']} {words.value(event['data'])}", "bold")
        (event_id,) = self._service.send(event)["ids"]
        if (nothing := words.no_trigger(event["name"], self._service.functions()["functions"])) is not None:
            self._output.text(f"{nothing} It is named in pyproject.toml, under [tool.stepbridge.first-event].")
            return []
        until = time.monotonic() + _FOLLOW_SECONDS
        runs: list[Json] = []
        while not self._stopping and time.monotonic() < until:
            self._stir.wait(0.05)
            self._look()
            runs = [self._service.run(row["run_id"]) for row in self._service.started_by(event_id)]
            if runs and all(self._is_settled(run) for run in runs):
                break
        self._look()
        return runs

    def _is_settled(self, run: Json) -> bool:
        """Whether nothing more is to be seen of the run, or of the runs that it waits for, for a while."""
        if run["status"] in ENDED or run["status"] == "PARKED":
            return True
        if run["status"] != "SLEEPING":
            return False
        going_on = [step for step in run["steps"] if step["status"] in {"SLEEPING", "WAITING", "RETRYING"}]
        dues = [words.moment(due) for due in (run["retry_at"], *(step["due_at"] for step in going_on))]
        if any(due is not None and due <= _now() + _SOON for due in dues):
            return False
        if not going_on and run["retry_at"] is None:  # what it slept for is over: it moves in a moment
            return False
        children = [step["child_run_id"] for step in going_on if step["child_run_id"] is not None]
        return all(self._service.is_there(child) and self._is_settled(self._service.run(child)) for child in children)

    def _hints(self, runs: list[Json]) -> None:
        wanted = [want for run in runs for step in run["steps"] for want in step["waits_for"] if "event" in want]
        functions = [row["function_id"] for row in self._service.functions()["functions"]]
        commands = next_commands(
            self._server.url, self._event, functions[0] if functions else None, wanted[0] if wanted else None
        )
        if self._output.as_json:
            self._output.record({"next": [command for _, command in commands]})
            return
        self._output.text()
        self._output.text("Try next, in another terminal:", "bold")
        for what, command in commands:
            self._output.text(f"  {what}:", "dim")
            self._output.text(f"    {command}")
        self._output.text()
        self._output.text("Ctrl-C ends it. Until then runs show here.", "dim")


def _now() -> datetime:
    return datetime.now(UTC).astimezone()
