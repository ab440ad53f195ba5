"""The handler run by AWS's own Lambda runtime client, in a process of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from stepbridge.aws.settings import variable
from stepbridge.aws.wiring import SystemClock
from stepbridge.core.instants import to_ms
from stepbridge.core.items import head_of
from stepbridge.core.keys import HEAD_SK
from stepbridge.core.messages import Go, Start, message_text
from stepbridge.core.records import EventRecord, Head, Status
from stepbridge.engine.reader import Reader
from stepbridge.engine.store import Store
from stepbridge.local.moto import MotoStack, MotoWorld
from stepbridge.ports import Message
from stepbridge.views import RunView
from tests.integration.lambda_runtime import Answer, Sandbox, moto_served, sandbox
from tests.integration.orders_app import app

EVENTS = Path(__file__).parent / "events"


class Cloud:
    """An app's resources in moto, and the environment by which its handler finds them."""

    def __init__(self, world: MotoWorld, endpoint: str, asked: list[str]) -> None:
        self.stack: MotoStack = world.stack(app)
        self.asked = asked
        given = {variable(name): value for name, value in self.stack.settings.texts().items()}
        self.environment = {**given, "AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1"}

    def runs(self) -> list[RunView]:
        """All runs."""
        reader = Reader(self.stack.readable)
        return [reader.view(head_of(item)) for item in self.stack.table.items() if item["sk"] == HEAD_SK]

    def claims(self, run_id: str) -> int:
        """How many invocations have had the run."""
        (epoch,) = [i["ep"] for i in self.stack.table.items() if (i["pk"], i["sk"]) == (f"R#{run_id}", HEAD_SK)]
        return int(epoch)

    def hold(self, function_id: str) -> str:
        """Another invocation begins a run of the function and is busy with it; the message that asks for the run."""
        now = SystemClock().now()
        event = EventRecord(name="ping", id="e-1", ts=0, source="test", data="{}")
        start = Start(run_id="b" * 26, function_id=function_id, event=event, created_at=now)
        birth = Head(run_id=start.run_id, function_id=function_id, status=Status.RUNNING, event=event, created_at=now)
        until = now + timedelta(minutes=1)
        store = Store(self.stack.readable.table)
        store.claim(start.run_id, birth=birth, holder="another", deadline=until, now=now)
        return message_text(start)

    def receive(self) -> list[Message]:
        """The next messages, as soon as they are visible; empty: there are none."""
        at = self.stack.queue.next_at()
        if at is not None:
            time.sleep(max((at - SystemClock().now()).total_seconds(), 0) + 0.01)
        return self.stack.queue.receive(10)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """In real time."""
    with MotoWorld(clock=SystemClock(), is_virtual=False) as world, moto_served() as (endpoint, asked):
        yield Cloud(world, endpoint, asked)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is deployed: the one line."""
    (tmp_path / "entry.py").write_text(
        "import stepbridge.aws\n"
        "from tests.integration.orders_app import app\n"
        "handler = stepbridge.aws.dispatcher(app)\n"
    )
    return tmp_path


@pytest.fixture
def running(cloud: Cloud, folder: Path) -> Iterator[Sandbox]:
    """The handler, waiting for work."""
    with sandbox(folder, "entry.handler", cloud.environment) as held:
        yield held


def record(shape: str, message_id: str, body: str | None = None, **detail: Any) -> dict[str, Any]:
    """A record of SQS as AWS sends it, with this detail in its envelope."""
    (found,) = json.loads((EVENTS / f"{shape}.json").read_text())["Records"]
    if detail:
        name = detail.pop("name")
        new = {"id": message_id, "time": SystemClock().now().isoformat(), "detail-type": name, "detail": detail}
        envelope = {**json.loads(found["body"]), **new}
        body = json.dumps(envelope)
    return {**found, "messageId": message_id, "body": found["body"] if body is None else body}


def failures(answer: Answer) -> list[str]:
    """The messages that must come back."""
    assert answer.kind == "response", answer.body
    return [one["itemIdentifier"] for one in answer.body["batchItemFailures"]]


def test_a_run_completes_over_its_invocations(cloud: Cloud, running: Sandbox) -> None:
    """Started by EventBridge's envelope, resumed by the queue's own messages: a sleep and an invoked child."""
    play(cloud, running, {"Records": [record("eventbridge", "m1", name="order/created", orderId="o-1")]})
    outputs = {run.function_id: (run.status, run.output) for run in cloud.runs()}
    assert outputs["fulfil-order"] == ("COMPLETED", {"order": {"id": "o-1"}, "cents": 42})
    assert outputs["price"] == ("COMPLETED", 42)
    assert {line.partition(" ")[0] for line in cloud.asked} == {"dynamodb", "sqs"}


def test_of_a_batch_the_message_whose_run_is_held_alone_comes_back(cloud: Cloud, running: Sandbox) -> None:
    """Poison is buried, what concerns no run is dropped, a failed run and a waiting one are done with."""
    held = cloud.hold("ping")
    stray = message_text(Go(run_id="a" * 26, why="timer"))
    event = {
        "Records": [
            record("eventbridge", "m1", name="order/charged"),
            record("engine", "m-held", body=held),
            record("not_json", "m-poison"),
            record("engine", "m-stray", body=stray),
            record("eventbridge", "m2", name="order/unpaid", orderId="o-2"),
        ]
    }
    assert failures(running.invoke(event)) == ["m-held"]
    assert cloud.stack.queue.dead == ["Hello from SQS!"]
    statuses = {run.function_id: run.status for run in cloud.runs()}
    assert statuses == {"ping": "RUNNING", "charge": "FAILED", "await-payment": "SLEEPING"}


@pytest.mark.parametrize("missing", ["STEPBRIDGE_TABLE", "STEPBRIDGE_BUS_ARN"])
def test_a_missing_setting_fails_the_init_and_is_named(cloud: Cloud, folder: Path, missing: str) -> None:
    """Lambda is told so before any message is taken."""
    environment: Mapping[str, str] = {name: value for name, value in cloud.environment.items() if name != missing}
    with sandbox(folder, "entry.handler", environment) as held:
        answer = held.answer()
    assert (answer.kind, answer.body["errorType"]) == ("init", "ConfigError")
    assert f"{missing} is not set" in answer.body["errorMessage"]
    assert cloud.asked == []


def test_a_test_event_of_the_console_is_an_error_that_says_what_to_do(running: Sandbox) -> None:
    """The invocation fails; the sandbox goes on."""
    answer = running.invoke({"key1": "value1"})
    assert (answer.kind, answer.body["errorType"]) == ("error", "ValueError")
    assert "Mend: send events to the bus" in answer.body["errorMessage"]
    assert failures(running.invoke({"Records": [record("eventbridge", "m1", name="ping")]})) == []


SHAPES_APP = """
import sys
import stepbridge.aws
from stepbridge import App, Context, event

app = App("orders")

def loaded() -> list[str]:
    return sorted(sys.modules)

@app.function("greet", trigger=event("user/created"))
async def greet(ctx: Context) -> str:
    return await ctx.step.run("say", str.upper, ctx.event.data["name"])

@app.function("look", trigger=event("user/created"))
async def look(ctx: Context) -> list[str]:
    return await ctx.step.run("look", loaded)

@app.function("thumbnail", trigger=event("Object Created", source="aws.s3"))
async def thumbnail(ctx: Context) -> list[str]:
    return [ctx.event.id, ctx.event.data["bucket"]["name"], ctx.event.data["object"]["key"]]

@app.function("nap", trigger=event("Object Created", source="aws.s3"))
async def nap(ctx: Context) -> None:
    await ctx.step.sleep("nap", "2h")

handler = stepbridge.aws.dispatcher(app)
"""
NOT_FOR_A_FIRST_STEP = {
    "aws_cdk",
    "aws_lambda_powertools",
    "boto3",
    "celpy",
    "cryptography",
    "jinja2",
    "moto",
    "opentelemetry",
    "s3transfer",
    "starlette",
    "typer",
    "uvicorn",
    "stepbridge.aws.kms",
    "stepbridge.cdk",
    "stepbridge.cli",
    "stepbridge.client",
    "stepbridge.console",
    "stepbridge.local",
    "stepbridge.memory",
    "stepbridge.testing",
}


@pytest.fixture
def of_shapes(cloud: Cloud, tmp_path: Path) -> Iterator[Sandbox]:
    """An app with a function for each shape, waiting for work."""
    (tmp_path / "shapes.py").write_text(SHAPES_APP)
    with sandbox(tmp_path, "shapes.handler", cloud.environment) as held:
        yield held


def play(cloud: Cloud, running: Sandbox, event: dict[str, Any]) -> None:
    """Hands the event over, then all that the engine sends itself; nothing comes back."""
    assert failures(running.invoke(event)) == []
    while messages := cloud.receive():
        assert failures(running.invoke(cloud.stack.queue.event(messages))) == []
        cloud.stack.queue.acknowledge(messages)


def recorded(shape: str) -> dict[str, Any]:
    """An event as AWS sends it, but of today: a run may last 366 days."""
    now = SystemClock().now()
    text = (EVENTS / f"{shape}.json").read_text().replace("1735689600000", str(to_ms(now)))
    event: dict[str, Any] = json.loads(text.replace("2025-01-01T00:00:00Z", f"{now:%Y-%m-%dT%H:%M:%SZ}"))
    return event


def test_every_recorded_shape_is_understood(cloud: Cloud, of_shapes: Sandbox) -> None:
    """An S3 event by its bus, a plain `PutEvents`, our client's, the engine's own message, and Scheduler's."""
    shapes = ["aws_service", "eventbridge", "eventbridge_from_our_client", "engine"]
    for shape in shapes:
        play(cloud, of_shapes, recorded(shape))
    runs = cloud.runs()
    (thumbnail,) = [run for run in runs if run.function_id == "thumbnail"]
    assert thumbnail.output == ["6a7e8feb-b491-4cf7-a9f1-bf3703467718", "in", "a b"]
    assert [run.output for run in runs if run.function_id == "greet"] == ["ADA"] * 3
    (nap,) = [run for run in runs if run.function_id == "nap"]
    (scheduled,) = recorded("scheduler")["Records"]
    wake = {**json.loads(scheduled["body"]), "r": nap.run_id}
    before = cloud.claims(nap.run_id)
    play(cloud, of_shapes, {"Records": [{**scheduled, "body": json.dumps(wake)}]})
    assert (cloud.claims(nap.run_id), nap.status) == (before + 1, "SLEEPING")


def test_a_first_step_loads_what_it_needs_and_no_more(cloud: Cloud, of_shapes: Sandbox) -> None:
    """Seen from inside a step of the first run of a new sandbox."""
    play(cloud, of_shapes, recorded("eventbridge"))
    (look,) = [run for run in cloud.runs() if run.function_id == "look"]
    loaded = {name for module in look.output for name in (module, module.partition(".")[0])}
    assert {"stepbridge.aws.table", "botocore", "pydantic"} <= loaded
    assert loaded & NOT_FOR_A_FIRST_STEP == set()
