"""DBOS on SQLite, as it comes: every step is on disk."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from typing import Any

from dbos import DBOS, DBOSConfig, SetWorkflowID
from measuring import FANS, RUNS, STEPS, percentile, say, say_fan, say_runs, say_steps, seconds_async

logging.disable(logging.CRITICAL)
SLEEPERS, SLEEP_SECONDS, WAITERS = 1_000, 10, 200
ENTERED: list[tuple[str, float]] = []


@DBOS.step()
async def work(index: int) -> dict[str, int]:
    return {"index": index}


@DBOS.workflow()
async def steps(n: int) -> int:
    for index in range(n):
        await work(index)
    return 0


@DBOS.workflow()
async def fan(n: int) -> int:
    await asyncio.gather(*(work(index) for index in range(n)))
    return 0


@DBOS.workflow()
async def sleeper() -> None:
    began = time.perf_counter()
    await DBOS.sleep_async(SLEEP_SECONDS)
    ENTERED.append(("", time.perf_counter() - began - SLEEP_SECONDS))


@DBOS.workflow()
async def waiter(key: str) -> None:
    await DBOS.recv_async("wake", timeout_seconds=600)
    ENTERED.append((key, time.perf_counter()))


@DBOS.workflow()
async def first(key: str) -> None:
    await enter(key)


@DBOS.step()
async def enter(key: str) -> None:
    ENTERED.append((key, time.perf_counter()))


async def many(count: int) -> None:
    handles = [await DBOS.start_workflow_async(steps, 10) for _ in range(count)]
    for handle in handles:
        await handle.get_result()


async def sleepers() -> None:
    ENTERED.clear()
    began = time.process_time()
    handles: list[Any] = [await DBOS.start_workflow_async(sleeper) for _ in range(SLEEPERS)]
    for handle in handles:
        await handle.get_result()
    say("1,000 sleepers, lateness p95", percentile([late for _, late in ENTERED], 95), "s")
    say("1,000 sleepers, CPU each", (time.process_time() - began) / SLEEPERS * 1e3, "ms CPU")


async def waiters() -> None:
    ENTERED.clear()
    handles: list[Any] = []
    for index in range(WAITERS):
        with SetWorkflowID(f"waiter-{index}"):
            handles.append(await DBOS.start_workflow_async(waiter, str(index)))
    await asyncio.sleep(2)
    sent = {}
    for index in range(WAITERS):
        sent[str(index)] = time.perf_counter()
        await DBOS.send_async(f"waiter-{index}", "go", "wake")
    for handle in handles:
        await handle.get_result()
    late = [at - sent[key] for key, at in ENTERED]
    say("200 waiters, each by its event, p50", percentile(late, 50) * 1e3, "ms")


async def firsts() -> None:
    late = []
    for index in range(50):
        ENTERED.clear()
        began = time.perf_counter()
        handle: Any = await DBOS.start_workflow_async(first, str(index))
        await handle.get_result()
        late.append(ENTERED[0][1] - began)
    say("event → first step, p50", percentile(late, 50) * 1e3, "ms", "a call in process, no event")


async def main(folder: str) -> None:
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": f"sqlite:///{folder}/bench.sqlite",
        "log_level": "CRITICAL",
        "run_admin_server": False,
    }
    DBOS(config=config)
    DBOS.launch()
    for number in STEPS:
        say_steps(number, await seconds_async(lambda n=number: steps(n), times=1 if number == STEPS[-1] else 2))
    for number in RUNS:
        say_runs(number, await seconds_async(lambda n=number: many(n), times=1))
    for number in FANS:
        say_fan(number, await seconds_async(lambda n=number: fan(n), times=1))
    await firsts()
    await waiters()
    await sleepers()
    DBOS.destroy()


with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(folder))
