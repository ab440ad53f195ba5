"""Code that kills its process, in AWS's own runtime client: its run is parked, its batch unharmed, `resume` goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stepbridge.aws.settings import variable
from stepbridge.aws.wiring import SystemClock
from stepbridge.core.conditions import Change, Key
from stepbridge.core.items import head_of
from stepbridge.core.keys import HEAD_SK
from stepbridge.core.limits import CRASH_LIMIT
from stepbridge.core.messages import Resume, message_text
from stepbridge.engine.reader import Reader
from stepbridge.local.moto import MotoStack, MotoWorld
from stepbridge.ports import Message, Outgoing
from stepbridge.views import RunView
from tests.integration.lambda_runtime import moto_served, sandbox
from tests.poison.envelopes import envelope
from tests.poison.killers_app import app

pytestmark = pytest.mark.slow
LONG = pytest.mark.long
"""Of `make poison`: the others of the same kind."""


OWN = "own-"
"""How the receipts of messages begin that no queue has."""


def record(message: Message) -> dict[str, Any]:
    """As Lambda's event source mapping hands it over."""
    marks = {"stepbridge": {"dataType": "String", "stringValue": "1"}} if message.internal else {}
    return {
        "messageId": message.id,
        "receiptHandle": message.receipt,
        "body": message.body,
        "attributes": {"ApproximateReceiveCount": str(message.receives), "SentTimestamp": "1735689600000"},
        "messageAttributes": marks,
        "eventSource": "aws:sqs",
    }


class Cloud:
    """The app's resources in moto, and sandboxes that are replaced when they die; time passes as it must."""

    def __init__(self, world: MotoWorld, endpoint: str, folder: Path) -> None:
        self.stack: MotoStack = world.stack(app)
        self.folder = folder
        self.deaths = 0
        given = {variable(name): value for name, value in self.stack.settings.texts().items()}
        self.environment = {
            **given,
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
            "KILLERS_FOLDER": str(folder),
        }
        (folder / "poison").touch()
        (folder / "entry.py").write_text(
            "import stepbridge.aws\n"
            "from tests.poison.killers_app import app\n"
            "handler = stepbridge.aws.dispatcher(app)\n"
        )

    def play(self, *bodies: str) -> None:
        """Hands the messages over as one batch, until each is acknowledged; then what the engine has sent, too."""
        pending = [Message(id=f"m{n}", body=body, receipt=f"{OWN}{n}") for n, body in enumerate(bodies)]
        while pending:
            pending = self._sandbox(pending)
            held = {one.id for one in pending}  # SQS hands out no message twice at once
            pending += [one for one in self.stack.queue.receive(10) if one.id not in held]

    def _sandbox(self, pending: list[Message]) -> list[Message]:
        """One sandbox's life, or one answer; what comes back."""
        with sandbox(self.folder, "entry.handler", self.environment) as held:
            while pending:
                held.hand({"Records": [record(one) for one in pending]})
                answer = held.survives(until=(self.folder / "begun").exists)
                again = [replace(one, receives=one.receives + 1) for one in pending]
                if answer is None:
                    self.deaths += 1
                    (self.folder / "begun").unlink(missing_ok=True)
                    self._leases_end()
                    return again
                assert answer.kind == "response", answer.body
                failed = {one["itemIdentifier"] for one in answer.body["batchItemFailures"]}
                done = [one for one in pending if one.id not in failed and not one.receipt.startswith(OWN)]
                self.stack.queue.acknowledge(done)
                pending = [one for one in again if one.id in failed]
        return pending

    def _leases_end(self) -> None:
        """Two minutes pass."""
        table = self.stack.readable.table
        for item in self.stack.table.items():
            if item["sk"] == HEAD_SK and item["st"] == "RUNNING":
                table.update(Key(str(item["pk"]), HEAD_SK), Change(set={"lx": 0}))

    def runs(self) -> dict[str, RunView]:
        """The latest run of each function."""
        reader = Reader(self.stack.readable)
        heads = [head_of(item) for item in self.stack.table.items() if item["sk"] == HEAD_SK]
        return {head.function_id: reader.view(head) for head in heads}

    def mend(self, run_id: str) -> None:
        """The code is mended; a person resumes the run."""
        (self.folder / "poison").unlink()
        self.stack.ports.queue.send([Outgoing(body=message_text(Resume(run_id=run_id)))])
        pending = self.stack.queue.receive(10)
        assert self._sandbox(pending) == []


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """In real time."""
    with MotoWorld(clock=SystemClock(), is_virtual=False) as world, moto_served() as (endpoint, _):
        yield Cloud(world, endpoint, tmp_path)


def sent(name: str, number: int, detail: str = "{}") -> str:
    """An event of its own."""
    return envelope(name, detail, id=f'"e{number}"', time=f'"{SystemClock().now().isoformat()}"')


def error(run: RunView) -> dict[str, Any]:
    """Of a run that has one."""
    assert run.error is not None
    return run.error


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("kill", "exits"),
        pytest.param("kill", "is_killed", marks=LONG),
        pytest.param("kill", "never_returns", marks=LONG),
        pytest.param("kill sync", "exits", marks=LONG),
        pytest.param("kill sync", "is_killed", marks=LONG),
        pytest.param("kill sync", "never_returns", marks=LONG),
    ],
)
def test_a_killer_is_parked_and_its_batch_is_unharmed(cloud: Cloud, name: str, way: str) -> None:
    """After five; what it had recorded stands, and once the code is mended it ends."""
    mates = [sent("well", number) for number in range(4)]
    cloud.play(*mates[:2], sent(name, 9, f'{{"way":"{way}"}}'), *mates[2:])
    killer = cloud.runs()["killer" if name == "kill" else "killer-sync"]
    statuses = {head_of(item).status for item in cloud.stack.table.items() if item.get("fn") == "well"}
    assert (killer.status, error(killer)["name"], statuses) == ("PARKED", "CrashLoopError", {"COMPLETED"})
    assert killer.steps["before"].output == "recorded"
    assert cloud.deaths <= CRASH_LIMIT + 1  # the one that recorded something was none of the five
    cloud.mend(killer.run_id)
    ended = cloud.runs()[killer.function_id]
    assert (ended.status, ended.output) == ("COMPLETED", "unharmed")


def test_a_killing_item_fails_and_its_map_goes_on(cloud: Cloud) -> None:
    """After five executions, as a run would be parked after five; the other items have their results."""
    cloud.play(sent("map", 1))
    run = cloud.runs()["mapper"]
    assert (run.status, run.output) == ("COMPLETED", ["a", "CrashLoopError", "b"])
    assert cloud.deaths == CRASH_LIMIT


def test_memory_that_python_misses_is_an_error_like_any_other(cloud: Cloud) -> None:
    """The sandbox lives, and so does what it does beside it."""
    cloud.play(sent("kill", 1, '{"way":"eats"}'), sent("well", 2))
    runs = cloud.runs()
    assert (runs["killer"].status, error(runs["killer"])["name"]) == ("FAILED", "MemoryError")
    assert (runs["well"].status, cloud.deaths) == ("COMPLETED", 0)
