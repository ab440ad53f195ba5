"""A run as it goes on, in a terminal: its steps as bars on one line of time."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from stepbridge.cli import words
from stepbridge.cli.output import STYLES, Output
from stepbridge.cli.timeline import run_note, step_note

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live as RichLive

_BAR: Final = 32
"""Characters."""


class Live:
    """Shows where people look on; elsewhere nothing.

    Args:
        output: Of the command: not for JSON, nor where it is no terminal.
    """

    def __init__(self, output: Output) -> None:
        self.is_shown = not output.as_json and sys.stdout.isatty()
        self._live: RichLive | None = None

    def __enter__(self) -> Self:
        """Begins to show."""
        if self.is_shown:
            from rich.live import Live as RichLive

            self._live = RichLive(auto_refresh=False, vertical_overflow="visible")
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """What was shown last stays."""
        if self._live is not None:
            self._live.stop()

    def show(self, run: dict[str, Any], now: datetime) -> None:
        """The run as it is now."""
        if self._live is not None:
            self._live.update(frame(run, now), refresh=True)


def frame(run: dict[str, Any], now: datetime) -> Group:
    """A run as a headline and a table of its steps, each with a bar from its beginning to its end."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    begun = words.moment(run["created_at"]) or now
    end = words.moment(run["ended_at"]) or now
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in ("STEP", "KIND", "STATUS", f"{words.length(max((end - begun).total_seconds(), 0.0)):>{_BAR}}", ""):
        table.add_column(column, overflow="fold")
    for step in run["steps"]:
        style = STYLES.get(step["status"], "")
        name = words.clean(step["step_id"]) + (f" #{step['occurrence'] + 1}" if step["occurrence"] else "")
        bar = Text(_bar(step, begun, end), style)
        table.add_row(Text(name), step["kind"], Text(step["status"], style), bar, Text(step_note(step, now), "dim"))
    headline = Text.assemble(
        (words.clean(run["function_id"]), "bold"),
        f"  {run['run_id']}  ",
        (run["status"], STYLES.get(run["status"], "")),
        f"  {run_note(run)}",
    )
    return Group(headline, table)


def _bar(step: dict[str, Any], begun: datetime, end: datetime) -> str:
    """From when a step began to when it ended, or to now; at least one character."""
    whole = max((end - begun) / timedelta(seconds=1), 1e-3)
    first = words.moment(step["started_at"]) or begun
    last = words.moment(step["ended_at"]) or end
    left = min(int((first - begun) / timedelta(seconds=1) / whole * _BAR), _BAR - 1)
    right = min(int((last - begun) / timedelta(seconds=1) / whole * _BAR), _BAR - 1)
    left = max(left, 0)
    return " " * left + "━" * max(right - left + 1, 1)
