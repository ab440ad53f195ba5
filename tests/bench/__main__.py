"""`make bench`: one table, and the same as JSON.

Ratios hold within a run; figures of different machines do not compare.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import aws, counts, memory, peers_run, served, starts
from tests.bench.rows import US, Row

_ROOT = Path(__file__).parents[2]


def main() -> None:
    """Measures, prints, writes `build/bench.json`."""
    parser = argparse.ArgumentParser(prog="make bench", description="ARGS: ")
    parser.add_argument("--no-peers", action="store_true", help="leave the peers out")
    parser.add_argument("--long", action="store_true", help="the dispatcher's memory over 100,000 events, not 10,000")
    parser.add_argument("--scale", type=int, default=1, help="so many times smaller, to see that it runs")
    parser.add_argument("--only", choices=("counts", "memory", "served", "aws", "starts", "peers"))
    parser.add_argument("--json", type=Path, default=_ROOT / "build" / "bench.json")
    options = parser.parse_args()
    began = time.monotonic()
    rows: list[Row] = []
    for row in _measured(options.only, options.scale, long=options.long, peers=not options.no_peers):
        rows.append(row)
        print(f"{time.monotonic() - began:6.0f} s  {row.who}: {row.what}", file=sys.stderr)
    rows += list(_beside(rows))
    machine = _machine()
    _print(rows, machine)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": machine, "rows": [{**asdict(row), "met": row.is_met} for row in rows]}
    options.json.write_text(json.dumps(report, indent=1))
    options.json.with_suffix(".md").write_text(_markdown(rows))
    print(f"{options.json}, after {time.monotonic() - began:.0f} s")


def _measured(only: str | None, scale: int, *, long: bool, peers: bool) -> Iterator[Row]:
    sections: dict[str, Callable[[], Iterator[Row]]] = {
        "counts": counts.rows,
        "memory": lambda: memory.rows(scale),
        "served": lambda: served.rows(scale),
        "aws": lambda: aws.rows(scale),
        "starts": lambda: _starts(scale, long=long),
        "peers": lambda: peers_run.rows() if peers else iter(()),
    }
    for name, rows in sections.items():
        if only in {None, name}:
            yield from rows()


def _starts(scale: int, *, long: bool) -> Iterator[Row]:
    yield from starts.rows(scale)
    if scale == 1:
        yield from starts.sizes()
        yield from starts.memory(100_000 if long else 10_000)


def _beside(rows: Iterable[Row]) -> Iterator[Row]:
    """Ours over the peers', where the issue names a ratio."""
    value = {(row.who, row.what): row.value for row in rows if row.kind == "memory"}

    def ratio(what: str, who: str, target: float, *, at_least: bool = False) -> Iterator[Row]:
        ours, theirs = value.get((US, what)), value.get((who, what))
        if ours is not None and theirs is not None:
            yield Row(
                section="beside peers",
                what=f"{what}, over {who}",
                value=ours / theirs,
                unit="times",
                kind="memory, both",
                target=target,
                at_least=at_least,
            )

    yield from ratio("1 run x 100 steps", peers_run.AWS, 0.1)
    yield from ratio("1 run x 100 steps", peers_run.FORK, 0.5)
    yield from ratio("200 runs x 10 steps", peers_run.AWS, 10.0, at_least=True)


def _machine() -> dict[str, object]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "system": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def _print(rows: list[Row], machine: dict[str, object]) -> None:
    table = Table(title="stepbridge bench", caption=", ".join(f"{name} {value}" for name, value in machine.items()))
    for name in ("section", "what", "who", "state in"):
        table.add_column(name)
    table.add_column("figure", justify="right")
    for name in ("unit", "target", ""):
        table.add_column(name)
    for row in rows:
        mark = {True: "met", False: "[bold red]missed[/]", None: ""}[row.is_met]
        figure = "-" if row.value is None else _number(row.value)
        table.add_row(row.section, row.what, row.who, row.kind, figure, row.unit, _limit(row), mark or row.note)
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def _markdown(rows: list[Row]) -> str:
    """The table of docs/performance.md."""
    lines = ["| what | who | state in | figure | target |", "|---|---|---|---:|---|"]
    for row in rows:
        figure = row.note if row.value is None else f"{_number(row.value)} {row.unit}"
        lines.append(f"| {row.what} | {row.who} | {row.kind} | {figure} | {_limit(row)} |")
    return "\n".join(lines) + "\n"


def _limit(row: Row) -> str:
    return "" if row.target is None else f"{'≥' if row.at_least else '≤'} {_number(row.target)}"


def _number(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


if __name__ == "__main__":
    main()
