"""Rows of the memory backend: what the engine itself takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from stepbridge.testing import Simulation
from tests.bench.programs import app
from tests.bench.rows import Row, best

SECTION = "engine, memory"


def rows(scale: int = 1) -> Iterator[Row]:
    """Steps, fan-outs, many runs, replay. Ten times `scale` smaller is enough for a test."""
    yield from _steps(scale)
    yield from _many(scale)
    yield from _fan_out(scale)
    yield from replays(scale)


def _steps(scale: int) -> Iterator[Row]:
    per_step = {}
    for number in (10, 100, 1_000):
        n = max(number // scale, 2)
        seconds = _run("bench/steps", n)
        per_step[number] = seconds / n
        target = 0.1 if number == 100 else per_step[100] * 1_000 if number == 1_000 else None
        yield _row(f"1 run x {number:,} steps", seconds / n * 1e3, "ms/step", target)
    yield _row(
        "1 run x 100 sync steps in threads", _run("bench/threads", 100 // scale) / 100 * scale * 1e3, "ms/step", 0.4
    )
    yield _row("1 run x 100 steps, sync handler", _run("bench/sync", 100 // scale) / 100 * scale * 1e3, "ms/step")


def _many(scale: int) -> Iterator[Row]:
    for runs in (50, 200):
        count = max(runs // scale, 2)
        with Simulation(app()) as sim:
            events = [{"name": "bench/steps", "data": {"n": 10}} for _ in range(count)]

            def send(sim: Simulation = sim, events: list[dict[str, Any]] = events) -> None:
                for one in events:
                    sim.send(one)

            seconds = best(send)
        yield Row(
            section=SECTION,
            what=f"{runs} runs x 10 steps",
            value=count * 10 / seconds,
            unit="steps/s",
            kind="memory",
        )


def _fan_out(scale: int) -> Iterator[Row]:
    for number, target in ((100, 10.0), (1_000, 100.0)):
        yield _row(f"fan-out {number:,} in one invocation", _run("bench/fan", number // scale) * 1e3, "ms", target)


def replays(scale: int) -> Iterator[Row]:
    """A run with so many recorded steps goes on after a wait: all are replayed once."""
    costs = {}
    for number in (250, 500, 1_000):
        n = max(number // scale, 2)
        with Simulation(app()) as sim:
            spent = []
            for turn in range(8):
                sim.send("bench/recorded", {"n": n, "key": turn})
                began = time.process_time()
                sim.send("bench/wake", {"key": turn})
                spent.append(time.process_time() - began)
                assert sim.run("recorded").status == "COMPLETED"
        costs[number] = min(spent[1:])
    yield _row("replay of 1,000 recorded steps", costs[1_000] * 1e3, "ms CPU", 15.0)
    yield _row("… cost of 1,000 over twice that of 500", costs[1_000] / costs[500] / 2, "times", 1.15)


def _run(name: str, n: int) -> float:
    with Simulation(app()) as sim:
        seconds = best(lambda: sim.send(name, {"n": n}), times=5)
        assert {run.status for run in sim.runs()} == {"COMPLETED"}
    return seconds


def _row(what: str, value: float, unit: str, target: float | None = None) -> Row:
    return Row(section=SECTION, what=what, value=value, unit=unit, kind="memory", target=target)
