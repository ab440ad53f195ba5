"""Where commands print: text and tables for people, or JSON for scripts. rich is loaded only for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from stepbridge.cli import words
from stepbridge.cli.timeline import Line

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

STYLES: Final = {
    "COMPLETED": "green",
    "FAILED": "bold red",
    "PARKED": "bold red",
    "CANCELLED": "yellow",
    "RETRYING": "yellow",
    "SLEEPING": "cyan",
    "WAITING": "cyan",
    "QUEUED": "cyan",
    "RUNNING": "blue",
    "STARTED": "blue",
}
_PROGRESS_FROM: Final = 10
"""Rows; fewer are done before a bar is read."""
_PIPE_WIDTH: Final = 10_000
"""Columns where there is no terminal: rows are never folded in a file."""


class Output:
    """One command's output.

    Args:
        as_json: For scripts.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    @cached_property
    def _console(self) -> Console:
        from rich.console import Console

        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        return Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=width)

    def document(self, content: Any) -> None:
        """The one JSON value that a command prints. ASCII, so that no terminal obeys it."""
        print(json.dumps(content, indent=2))

    def record(self, content: Any) -> None:
        """One JSON value of several, on a line."""
        print(json.dumps(content), flush=True)

    def text(self, text: str = "", style: str = "") -> None:
        """A line for people; nothing for scripts."""
        if not self.as_json:
            self._console.print(words.clean(text), style=style or None)

    def block(self, text: str, style: str = "") -> None:
        """Lines for people, their breaks kept."""
        for line in text.splitlines():
            self.text(line, style)

    def progress(self, what: str, rows: Sequence[T]) -> Iterator[T]:
        """The rows, one by one, with a bar on stderr where it is a terminal: it may take long."""
        if self.as_json or not sys.stderr.isatty() or len(rows) < _PROGRESS_FROM:
            yield from rows
            return
        from rich.console import Console
        from rich.progress import track

        yield from track(rows, words.clean(what), console=Console(stderr=True))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Rows for people; a cell that is a status has its colour."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(words.clean(cell), style=STYLES.get(cell, "")) for cell in row))
        self._console.print(table)

    def line(self, line: Line) -> None:
        """A line of a timeline."""
        if self.as_json:
            self.record(asdict(line))
            return
        from rich.text import Text

        at = words.moment(line.at)
        took = "" if line.seconds is None else words.length(line.seconds)
        style = STYLES.get(line.status, "")
        text = Text.assemble(
            ("" if at is None else words.clock(at), "dim"),
            f"  {words.clean(line.function_id):<16}",
            (f" {line.run_id[:5]}  ", "dim"),
            f"{words.clean(line.step_id):<18} ",
            (f"{line.kind:<14} ", "dim"),
            (f"{line.status:<9} ", style),
            f"{took:>7}",
            f"  {line.note}",
        )
        text.rstrip()
        self._console.print(text)
