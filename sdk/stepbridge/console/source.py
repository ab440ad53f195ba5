"""What the console shows and does, wherever the runs are: `Here` for this process, `OnAws` for a stack."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from stepbridge.core.records import Status
from stepbridge.local.shapes import Json


class Source(Protocol):
    """One world of runs. All methods block, and are safe in any thread.

    Rows and runs are those of `stepbridge.local.shapes`. Every method may raise `LookupError` (there is no such
    thing), `ConflictError` (the run is in no state for it) and `ConfigError` (what is asked for is malformed).
    """

    title: str
    """The app's id, or several."""
    place: str
    """Where the runs are, in a few words."""
    is_writable: bool
    is_local: bool
    """Events and log lines are kept, runs are counted, and time can be skipped."""
    looks_max: int
    """So many runs are looked at by one search."""
    poll_ms: int
    """How often an open page asks for news."""
    since_default: str
    """Of the list's choice of times."""

    troubles: tuple[type[Exception], ...]
    """What its calls raise where the world behind it cannot answer: the message names the cause and the mend."""

    def now(self) -> datetime:
        """Its clock's time, aware UTC."""

    def function_ids(self) -> list[str]:
        """Those that the list of runs can be filtered by."""

    def event_names(self) -> list[str]:
        """Events that start a function, as far as the code is at hand."""

    def functions(self) -> list[Json]:
        """All functions; of a stack, `runs` counts the last of each."""

    def runs(
        self,
        *,
        function_id: str | None,
        status: Status | None,
        since: datetime | None,
        until: datetime | None,
        limit: int,
        cursor: str | None,
    ) -> Json:
        """A page of `runs`, newest first, and the `cursor` of the next one."""

    def texts(self, run_ids: Sequence[str]) -> list[str]:
        """The triggers' data as JSON text, in order."""

    def run(self, run_id: str) -> Json:
        """All that there is to know of a run."""

    def around(self, run_id: str) -> Json:
        """`children`, `reruns` and `logs` of a run; logs None: they are kept elsewhere."""

    def events(self, *, limit: int, cursor: str | None) -> Json:
        """A page of `events`, newest first, with the `runs` they started, and the `cursor` of the next one."""

    def event(self, event_id: str) -> Json:
        """One event, and the waits it has `resolved`; None: that is not known."""

    def send(self, events: object) -> Json:
        """Puts events on the bus; their `ids`."""

    def invoke(self, function_id: str, data: object) -> Json:
        """Starts a run of a function; its `run_id`."""

    def cancel(self, run_id: str) -> None:
        """Asks for the run's end."""

    def resume(self, run_id: str) -> None:
        """Asks for a parked run to go on."""

    def wake(self, run_id: str) -> None:
        """Skips the time until the next thing comes due in the run."""

    def rerun(self, run_id: str, from_step: str | None) -> Json:
        """Starts a new run with the run's event; its `run_id`."""
