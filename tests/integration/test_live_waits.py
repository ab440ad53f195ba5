"""A crowd of waiting runs on the running dev server: one event each, by AWS's own SDK."""

from __future__ import annotations

import json
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.integration.test_cli_dev import dev
from tests.integration.waiting import eventually

RUNS = 2_000
APP = """
import asyncio
from pathlib import Path

from stepbridge import App, Context, event

app = App("crowd")
bodies = Path("bodies.txt").open("a", buffering=1)

@app.function("await-payment", trigger=event("order/created"))
async def await_payment(ctx: Context) -> int:
    bodies.write(ctx.event.data["orderId"] + "\\n")
    paid = await ctx.step.wait_for_event("payment", event="payment/completed", match="data.orderId", timeout="24h")
    assert paid is not None
    return await ctx.step.run("book", lambda: paid.data["cents"])
"""


def put(events: Any, name: str, **more: Any) -> None:
    """One such event for each run, ten a call."""
    for first in range(0, RUNS, 10):
        details = [json.dumps({"orderId": f"o-{n}", **more}) for n in range(first, first + 10)]
        answer = events.put_events(Entries=[{"Source": "t", "DetailType": name, "Detail": one} for one in details])
        assert answer["FailedEntryCount"] == 0


def counts(url: str) -> dict[str, int]:
    """How many runs have which status."""
    connection = HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        connection.request("GET", "/api/functions")
        (function,) = json.loads(connection.getresponse().read())["functions"]
        return dict(function["runs"])
    finally:
        connection.close()


@pytest.mark.slow
def test_two_thousand_waiting_runs_are_each_resumed_once_by_their_own_event(tmp_path: Path) -> None:
    """A process of its own, real time: each handler begins twice, to wait and to go on, and each run ends."""
    (tmp_path / "crowd.py").write_text(APP)
    with dev(tmp_path, "crowd:app", "--no-first-event") as running:
        url = running.says("http://").split("http://")[1].split()[0].rstrip("/.,")
        events = boto3.client(
            "events",
            region_name="us-east-1",
            endpoint_url=f"http://{url}",
            aws_access_key_id="any",
            aws_secret_access_key="any",  # pragma: allowlist secret
            config=Config(retries={"max_attempts": 1}),
        )
        put(events, "order/created")
        eventually(lambda: counts(url).get("SLEEPING") == RUNS, seconds=60)
        put(events, "payment/completed", cents=42)
        eventually(lambda: counts(url).get("COMPLETED") == RUNS, seconds=60)
        events.close()
        assert counts(url) == {"COMPLETED": RUNS}
        assert running.end() == 0
    begun = Counter((tmp_path / "bodies.txt").read_text().split())
    assert begun == {f"o-{n}": 2 for n in range(RUNS)}
