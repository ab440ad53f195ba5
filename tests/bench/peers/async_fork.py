"""The asyncio fork of AWS's durable SDK on its own local runner, in memory."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Any

from async_durable_execution import create_local_runner, durable_execution, step
from measuring import FANS, RUNS, STEPS, say, say_fan, say_runs, say_steps, seconds_async

logging.disable(logging.CRITICAL)


async def work(index: int) -> dict[str, int]:
    return {"index": index}


@durable_execution
async def steps(event: Any) -> int:
    for index in range(event["n"]):
        await step(partial(work, index), name=f"step {index}")
    return 0


@durable_execution
async def fan(event: Any) -> int:
    await asyncio.gather(*(step(partial(work, index), name=f"step {index}") for index in range(event["n"])))
    return 0


async def run(handler: Any, n: int) -> None:
    async with create_local_runner(handler=handler, poll_interval=0.005, input={"n": n}, timeout=120) as runner:
        await runner.run()


async def main() -> None:
    async def many(count: int) -> None:
        await asyncio.gather(*(run(steps, 10) for _ in range(count)))

    for number in STEPS:
        say_steps(number, await seconds_async(partial(run, steps, number)))
    for number in RUNS:
        say_runs(number, await seconds_async(partial(many, number), times=1))
    for number in FANS:
        say_fan(number, await seconds_async(partial(run, fan, number), times=1))
    say("1,000 sleepers, lateness p95", None, "s", "its runner scales time")


asyncio.run(main())
