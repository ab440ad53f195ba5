"""What the peers' scripts share: they run in the peers' own environment, and print a line of JSON a figure."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable

STEPS = (10, 100, 1_000)
RUNS = (50, 200)
FANS = (100, 1_000)
TIMES = 3


def say(what: str, value: float | None, unit: str, note: str = "") -> None:
    """One figure, or why there is none."""
    print(json.dumps({"what": what, "value": value, "unit": unit, "note": note}), flush=True)


def seconds(call: Callable[[], object], times: int = TIMES) -> float:
    """The least time of a few."""
    call()
    least = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - began)
    return least


async def seconds_async(call: Callable[[], Awaitable[object]], times: int = TIMES) -> float:
    """The same of a coroutine function."""
    await call()
    least = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        await call()
        least = min(least, time.perf_counter() - began)
    return least


def percentile(values: list[float], percent: int) -> float:
    """The value that so many percent do not exceed."""
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


def say_steps(number: int, took: float) -> None:
    """Of one run."""
    say(f"1 run x {number:,} steps", took / number * 1e3, "ms/step")


def say_runs(number: int, took: float) -> None:
    """Of many runs at once."""
    say(f"{number} runs x 10 steps", number * 10 / took, "steps/s")


def say_fan(number: int, took: float) -> None:
    """Of a fan-out."""
    say(f"fan-out {number:,} in one invocation", took * 1e3, "ms")
