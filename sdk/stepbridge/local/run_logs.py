"""What the runs have logged: the last lines of each, kept in this process."""

from __future__ import annotations

import logging
import traceback
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

from stepbridge.local.shapes import Json, instant
from stepbridge.ports import Clock
from stepbridge.step import CURRENT

LINES_MAX: Final = 500
"""Lines of one run."""
TEXT_MAX: Final = 8_000
"""Characters of one line's message, and of its traceback."""
CHARACTERS_MAX: Final = 16 * 1024 * 1024
"""All lines together; the runs that logged longest ago are forgotten first."""


@dataclass(slots=True)
class _Kept:
    lines: deque[Json] = field(default_factory=deque)
    dropped: int = 0
    characters: int = 0


class RunLogs(logging.Handler):
    """A handler of the root logger: keeps what belongs to a run.

    That is what `ctx.logger` and the engine say, which bear the run's id, and what any logger says inside a
    step's function.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._runs: OrderedDict[str, _Kept] = OrderedDict()
        self._characters = 0
        self._guard = Lock()

    def of(self, run_id: str) -> Json:
        """`lines`, oldest first, each `{at, level, logger, message, step_id, attempt, stack}`; and `dropped`."""
        with self._guard:
            kept = self._runs.get(run_id, _Kept())
            return {"lines": list(kept.lines), "dropped": kept.dropped}

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a record that belongs to a run; called by `logging`, in whichever thread."""
        inside = CURRENT.get()
        run_id = getattr(record, "run_id", None) or (None if inside is None else inside.run_id)
        if not isinstance(run_id, str):
            return
        step_id = getattr(record, "step_id", None if inside is None else inside.step_id)
        attempt = getattr(record, "attempt", None if inside is None else inside.attempt)
        self._keep(
            run_id,
            {
                "at": instant(self._clock.now()),
                "level": record.levelname,
                "logger": record.name,
                "message": _message(record)[:TEXT_MAX],
                "step_id": step_id if isinstance(step_id, str) else None,
                "attempt": attempt if isinstance(attempt, int) else None,
                "stack": _stack(record)[-TEXT_MAX:],
            },
        )

    def _keep(self, run_id: str, line: Json) -> None:
        with self._guard:
            kept = self._runs.setdefault(run_id, _Kept())
            self._runs.move_to_end(run_id)
            kept.lines.append(line)
            self._count(kept, _size(line))
            while len(kept.lines) > LINES_MAX:
                self._count(kept, -_size(kept.lines.popleft()))
                kept.dropped += 1
            while self._characters > CHARACTERS_MAX and len(self._runs) > 1:
                self._characters -= self._runs.popitem(last=False)[1].characters

    def _count(self, kept: _Kept, characters: int) -> None:
        kept.characters += characters
        self._characters += characters


def _size(line: dict[str, Any]) -> int:
    return len(line["message"]) + len(line["stack"]) + 100


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - `%` and its arguments are the user's
        return f"{record.msg!r} with {record.args!r} cannot be shown: {error}"


def _stack(record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    return "".join(traceback.format_exception(record.exc_info[1]))
