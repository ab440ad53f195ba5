"""The same done to many runs: which ones, a question first, progress, and what became of each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import typer

from stepbridge.cli import words
from stepbridge.cli.output import Output
from stepbridge.cli.problems import FAILED, USAGE, CommandError
from stepbridge.cli.remote import Json, Remote
from stepbridge.cli.target import Target

_PAGE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which runs; None: whatever it is."""

    function: str | None
    statuses: tuple[str, ...]
    """Empty: whatever it is."""
    since: datetime | None

    def only(self, allowed: tuple[str, ...]) -> Filter:
        """The same among runs of these statuses.

        Raises:
            CommandError: Nothing is named at all, or another status is.
        """
        if self.function is None and self.since is None and not self.statuses:
            raise CommandError("of which runs? Mend: a run's id, or --function, --status or --since.", USAGE)
        if not set(self.statuses) <= set(allowed):
            raise CommandError(f"--status {self.statuses[0]}: not for this. Mend: {', '.join(sorted(allowed))}.", USAGE)
        return replace(self, statuses=self.statuses or allowed)

    def page(self, target: Target, *, limit: int, cursor: str | None, status: str | None = None) -> Json:
        """A page of the list."""
        since: Any = self.since
        if since is not None and isinstance(target, Remote):
            since = int(since.timestamp() * 1000)
        wanted = status or (self.statuses[0] if self.statuses else None)
        return target.get("runs", function_id=self.function, status=wanted, since=since, limit=limit, cursor=cursor)

    def check_function(self, target: Target) -> None:
        """Where nothing was found, that may be because of a slip.

        Raises:
            CommandError: There is no such function.
        """
        from stepbridge.engine.operations import no_function

        known = [row["function_id"] for row in target.get("functions")["functions"]]
        if self.function is not None and self.function not in known:
            raise CommandError(str(no_function(self.function, known)), FAILED)

    def rows(self, target: Target) -> Iterator[Json]:
        """All of them, newest first within a status."""
        for status in self.statuses:
            cursor = None
            while True:
                page = self.page(target, limit=_PAGE, cursor=cursor, status=status)
                yield from page["runs"]
                if (cursor := page["cursor"]) is None:
                    break


def filter_of(function: str | None, status: str | None, since: str | None, run_id: str | None = None) -> Filter:
    """The filter that options name.

    Raises:
        CommandError: `since` cannot be read, or a run is named beside a filter.
    """
    if run_id is not None and (function or status or since):
        raise CommandError("a run's id and a filter are two answers to one question. Mend: leave one out.", USAGE)
    return Filter(function=function, statuses=(status.upper(),) if status else (), since=_instant(since))


def _instant(since: str | None) -> datetime | None:
    if since is None:
        return None
    from stepbridge.core.durations import parse_duration, parse_instant
    from stepbridge.errors import ConfigError

    try:
        return datetime.now(UTC) - parse_duration(since, what="--since")
    except ConfigError:
        try:
            return parse_instant(since, what="--since")
        except ConfigError as error:
            raise CommandError(f"--since {since!r}. Mend: 90s, 2h, 7d, or 2026-01-31T08:00Z.", USAGE) from error


def each(target: Target, output: Output, wanted: Filter, what: str, do: Callable[[Json], Json], *, sure: bool) -> None:
    """Does it to each run that the filter finds; ends the command with 1 where one of them refuses.

    What has changed its status meanwhile refuses, and is told of; the others are done.
    """
    rows = list(wanted.rows(target))
    if not rows:
        wanted.check_function(target)
    if rows and not sure:
        _ask(what, rows)
    done: list[Json] = []
    refused: list[Json] = []
    for row in output.progress(f"{what}: {words.count(len(rows), 'run')}", rows):
        try:
            done.append({"run_id": row["run_id"], "result": do(row).get("run_id", row["run_id"])})
        except CommandError as error:
            if error.code != FAILED:
                raise
            refused.append({"run_id": row["run_id"], "reason": str(error)})
    if output.as_json:
        output.document({"done": done, "refused": refused})
    else:
        for one in refused:
            output.text(one["reason"], "red")
        output.text(f"{what}: {len(done)} done, {len(refused)} refused")
    if refused:
        raise typer.Exit(FAILED)


def _ask(what: str, rows: list[Json]) -> None:
    functions = ", ".join(sorted({row["function_id"] for row in rows}))
    if not sys.stdin.isatty():
        raise CommandError(
            f"{what} {words.count(len(rows), 'run')} of {functions}? Mend: --yes, where nobody can be asked.", USAGE
        )
    typer.confirm(f"{what} {words.count(len(rows), 'run')} of {functions}?", abort=True, err=True)
