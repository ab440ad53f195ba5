"""Restate: its server from npm on its own disk, the Python SDK behind hypercorn, calls over HTTP on loopback."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import restate
from hypercorn.asyncio import serve
from hypercorn.config import Config
from measuring import FANS, RUNS, STEPS, percentile, say, say_fan, say_runs, say_steps, seconds

SERVER = Path(__file__).parents[3] / ".venvs" / "restate" / "node_modules" / ".bin" / "restate-server"
SLEEPERS, SLEEP_SECONDS, WAITERS = 1_000, 10, 200
ENTERED: list[tuple[str, float]] = []
service = restate.Service("bench")
waiters = restate.Workflow("waiters")


async def work(index: int) -> dict[str, int]:
    return {"index": index}


@service.handler()
async def steps(ctx: restate.Context, n: int) -> int:
    for index in range(n):
        await ctx.run_typed(f"step {index}", work, index=index)
    return 0


@service.handler()
async def fan(ctx: restate.Context, n: int) -> int:
    await restate.gather(*(ctx.run_typed(f"step {index}", work, index=index) for index in range(n)))
    return 0


@service.handler()
async def first(ctx: restate.Context, key: str) -> int:
    async def enter() -> int:
        ENTERED.append((key, time.perf_counter()))
        return 0

    return await ctx.run_typed("enter", enter)


@service.handler()
async def sleeper(ctx: restate.Context, key: str) -> int:
    BEGUN.setdefault(key, time.perf_counter())
    await ctx.sleep(timedelta(seconds=SLEEP_SECONDS))
    ENTERED.append((key, time.perf_counter() - BEGUN[key] - SLEEP_SECONDS))
    return 0


@waiters.main()
async def run(ctx: restate.WorkflowContext) -> int:
    await ctx.promise("wake").value()
    ENTERED.append((ctx.key(), time.perf_counter()))
    return 0


@waiters.handler()
async def wake(ctx: restate.WorkflowSharedContext) -> int:
    await ctx.promise("wake").resolve("go")
    return 0


BEGUN: dict[str, float] = {}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Ingress:
    """Calls over one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def call(self, path: str, body: Any = None) -> None:
        """The answer is there, and good, when it returns."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        self._connection.request("POST", path, None if body is None else json.dumps(body), headers)
        response = self._connection.getresponse()
        text = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{path}: {response.status} {text!r:.200}")


def measure(port: int, server: int) -> None:
    one = Ingress(port)
    for number in STEPS:
        say_steps(number, seconds(lambda n=number: one.call("/bench/steps", n), times=2))

    def lane(share: int) -> None:
        mine = Ingress(port)
        for _ in range(share):
            mine.call("/bench/steps", 10)

    for number in RUNS:
        with ThreadPoolExecutor(number) as pool:
            say_runs(number, seconds(lambda n=number, pool=pool: list(pool.map(lane, [1] * n)), times=1))
    for number in FANS:
        say_fan(number, seconds(lambda n=number: one.call("/bench/fan", n), times=1))
    late = []
    for index in range(50):
        ENTERED.clear()
        began = time.perf_counter()
        one.call("/bench/first", str(index))
        late.append(ENTERED[0][1] - began)
    say("event → first step, p50", percentile(late, 50) * 1e3, "ms", "a request over HTTP")
    ENTERED.clear()
    for index in range(WAITERS):
        one.call(f"/waiters/{index}/run/send")
    time.sleep(2)
    sent = {}
    for index in range(WAITERS):
        sent[str(index)] = time.perf_counter()
        one.call(f"/waiters/{index}/wake/send")
    until(WAITERS)
    say("200 waiters, each by its event, p50", percentile([at - sent[key] for key, at in ENTERED], 50) * 1e3, "ms")
    ENTERED.clear()
    began = spent(server)
    for index in range(SLEEPERS):
        one.call("/bench/sleeper/send", str(index))
    until(SLEEPERS)
    say("1,000 sleepers, lateness p95", percentile([late for _, late in ENTERED], 95), "s")
    say("1,000 sleepers, CPU each", (spent(server) - began) / SLEEPERS * 1e3, "ms CPU", "with its server's")


def until(number: int) -> None:
    end = time.monotonic() + 60
    while len(ENTERED) < number:
        if time.monotonic() > end:
            raise TimeoutError(f"{len(ENTERED)} of {number}")
        time.sleep(0.001)


def spent(server: int) -> float:
    """CPU of this process and of the server."""
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ready(port: int, path: str) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status < 500:
                return
        except OSError:
            pass
        if time.monotonic() > end:
            raise TimeoutError("restate-server does not answer")
        time.sleep(0.1)


def start(folder: str, *, ingress: int, admin: int, node: int) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "RESTATE_BASE_DIR": folder,
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_LOG_FILTER": "error",
        "RESTATE_LISTEN_MODE": "tcp",
        "DO_NOT_TRACK": "1",
    }
    executable = next(Path(SERVER).resolve().parents[2].glob("restate-server-*/bin/restate-server"))
    return subprocess.Popen([executable], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - from npm, by its lock


async def main(folder: str) -> None:
    app, ingress, admin, node = (free_port() for _ in range(4))
    config = Config()
    config.bind = [f"127.0.0.1:{app}"]
    config.loglevel = "CRITICAL"
    stop = asyncio.Event()
    serving = asyncio.create_task(
        serve(restate.app([service, waiters]), config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]
    )
    server = start(folder, ingress=ingress, admin=admin, node=node)
    try:
        await asyncio.to_thread(ready, admin, "/health")

        def register() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", admin, timeout=30)
            body = json.dumps({"uri": f"http://127.0.0.1:{app}"})
            connection.request("POST", "/deployments", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            if response.status >= 300:
                raise RuntimeError(f"{response.status} {response.read()!r:.300}")

        await asyncio.to_thread(register)
        await asyncio.to_thread(measure, ingress, server.pid)
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
        stop.set()
        await serving


logging.disable(logging.CRITICAL)
if not SERVER.exists():
    sys.exit("@restatedev/restate-server could not be installed from npm")
with tempfile.TemporaryDirectory() as folder:
    asyncio.run(main(folder))
