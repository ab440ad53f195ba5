"""`dev --backend moto`, as a process of its own: real clients in, the AWS adapters and the Lambda handler behind."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from stepbridge.cli.remote import Remote
from tests.integration.test_cli_dev import Dev, dev, run
from tests.integration.waiting import eventually

pytestmark = pytest.mark.slow

APP = """
from stepbridge import App, Context, event, invoke_only

app = App("story")

def square(number: int) -> int:
    return number * number

@app.function("double", trigger=invoke_only())
async def double(ctx: Context) -> int:
    return ctx.event.data["n"] * 2

@app.function("story", trigger=event("story/begun"))
async def story(ctx: Context) -> object:
    squares = await ctx.step.map("squares", square, list(range(8)))
    await ctx.step.sleep("breathe", "1200ms")
    doubled = await ctx.step.invoke("double", function=double, data={"n": sum(squares)})
    paid = await ctx.step.wait_for_event("paid", event="paid", match="data.k", timeout="1h")
    return {"doubled": doubled, "paid": paid and paid.data}

@app.function("late", trigger=event("late/begun"))
async def late(ctx: Context) -> object:
    return await ctx.step.wait_for_event("never", event="never", timeout="1500ms")
"""


class Running:
    """A `dev` on moto, and clients of it."""

    def __init__(self, process: Dev, folder: Path) -> None:
        self.process = process
        self.url: str = json.loads(process.says('{"ready"'))["ready"]
        self._folder = folder
        self._remote = Remote(self.url)
        self.events = boto3.client(
            "events",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",  # pragma: allowlist secret
        )

    def put(self, name: str, **data: Any) -> dict[str, Any]:
        """An event by boto3; what is answered."""
        detail = json.dumps(data)
        answer = self.events.put_events(Entries=[{"DetailType": name, "Source": "test", "Detail": detail}])
        return dict(answer)

    def cli(self, command: str) -> Any:
        """What a command prints, as JSON."""
        return json.loads(run(f"{sys.executable} -m stepbridge.cli {command} --url {self.url} --json", self._folder))

    def run_of(self, function_id: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The function's run, once it is so."""

        def look() -> dict[str, Any] | None:
            listed = self._remote.get("runs", function_id=function_id)["runs"]
            found = self._remote.get("runs", listed[0]["run_id"]) if listed else None
            return found if found is not None and is_so(found) else None

        return eventually(look, seconds=60)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """In a user's folder, on any free port; Ctrl-C ends it with 0."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "story.py").write_text(APP)
    (folder / "pyproject.toml").write_text('[tool.stepbridge]\napp = "story:app"\n')
    with dev(folder, "--backend", "moto", "--no-first-event", "--json") as process:
        yield Running(process, folder)
        assert process.end(signal.SIGINT) == 0


def _waits(view: dict[str, Any]) -> bool:
    return any(step["step_id"] == "paid" and step["status"] == "WAITING" for step in view["steps"])


def _has_ended(view: dict[str, Any]) -> bool:
    return view["ended_at"] is not None


def test_a_run_maps_sleeps_invokes_and_waits_for_an_event_of_the_cli(running: Running) -> None:
    """Begun by boto3, in real time; the event that it waits for comes by the command line."""
    assert running.put("story/begun", k="o-1")["FailedEntryCount"] == 0
    waiting = running.run_of("story", _waits)
    assert waiting["status"] == "SLEEPING"
    sent = running.cli("""send paid '{"k": "o-1"}'""")
    ended = running.run_of("story", _has_ended)
    squares = sum(number * number for number in range(8))
    assert (ended["status"], ended["output"]) == ("COMPLETED", {"doubled": 2 * squares, "paid": {"k": "o-1"}})
    (nap,) = [step for step in ended["steps"] if step["step_id"] == "breathe"]
    assert nap["ended_at"] >= nap["due_at"]
    assert sent["id"] in {event["id"] for event in running.cli("events")["events"]}


def test_a_timeout_fires_by_itself(running: Running) -> None:
    """Nothing comes: the driver polls."""
    running.put("late/begun")
    ended = running.run_of("late", _has_ended)
    assert (ended["status"], ended["output"]) == ("COMPLETED", None)


def test_what_eventbridge_refuses_is_refused_alone(running: Running) -> None:
    """By its own code, in boto3's answer."""
    good: Any = {"DetailType": "nobody/wants.this", "Source": "test", "Detail": "{}"}
    bad: Any = {**good, "Detail": "[1]"}
    answer = running.events.put_events(Entries=[good, bad])
    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][1]["ErrorCode"] == "MalformedDetail"


def test_a_backend_that_is_none_is_named(tmp_path: Path) -> None:
    """Exit code 2, and those that there are."""
    (tmp_path / "story.py").write_text(APP)
    with dev(tmp_path, "story:app", "--backend", "localstack") as process:
        assert process.process.wait(timeout=20) == 2
        process._reader.join()
        assert "Mend: 'memory' or 'moto'" in process.text
