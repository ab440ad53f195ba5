"""Roles in both directions: what is called is allowed, and what is allowed is called."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stepbridge import App, ConfigError, Context, Event, event, invoke_only
from stepbridge.aws.clients import Clients
from stepbridge.aws.settings import Settings
from stepbridge.aws.stacks import deployed
from stepbridge.aws.wiring import ports
from stepbridge.client import _Stack
from stepbridge.core.messages import Go, message_text
from stepbridge.events import drafts_of
from stepbridge.local.moto import Invoked, MotoStack, MotoWorld
from stepbridge.testing import Simulation
from tests.infra.templates import Json, Template
from tests.privileges import Asked, Log, Role, note_into

pytestmark = pytest.mark.slow

LAMBDAS_OWN = {
    *(("Queue", f"sqs:{name}") for name in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")),
    *(("Logs", f"logs:{name}") for name in ("CreateLogStream", "PutLogEvents")),
}
"""Called with the function's role by Lambda itself: its pollers, and what writes its log."""
ANSWERS_404 = ("BlobsList", "s3:ListBucket")
"""Called by nobody: with it S3 says that a key is missing, and not that it is forbidden. Source: GetObject, 2026."""

ALL = "all-there-is"
app = App(ALL)
other = App("other")


def large() -> str:
    return "".join(chr(33 + n * n % 90) + str(n * 7919) for n in range(6_000))


@app.function("all", trigger=event("all/asked"))
async def everything(ctx: Context) -> int:
    """Every kind of step, and a value for the bucket that a later invocation reads."""
    text = await ctx.step.run("large", large)
    await ctx.step.sleep("by-queue", "30s")
    await ctx.step.sleep("by-scheduler", "2h")
    await ctx.step.wait_for_event("paid", event="all/paid", match="data.id", timeout="24h")
    await ctx.step.invoke("abroad", app="other", function="child", timeout="1h")
    await ctx.step.map("each", len, ["a", "bb"])
    await ctx.step.send_event("tell", Event(name="all/told"))
    return len(text)


@other.function("child", trigger=invoke_only())
async def child(ctx: Context) -> int:
    return 1


@pytest.fixture(scope="module")
def log() -> Log:
    """Of a run of everything, of two messages of one run in one batch, and of a message that is no event."""
    log = Log()
    with log.open(), Simulation(app, other, backend="moto") as sim:
        sim.send("all/asked", {"id": 1})
        sim.advance("3h")
        sim.send("all/paid", {"id": 1})
        sim.run_until_idle()
        assert sim.run("all").status == "COMPLETED"
        sim.send("all/asked", {"id": 2})
        wake = message_text(Go(run_id=sim.run("all").run_id, why="wake"))
        records = [_record("1", wake), _record("2", wake), _record("3", "no event")]
        answer = _own(log).handler({"Records": records}, Invoked("batch"))
        assert len(answer["batchItemFailures"]) == 1
    return log


def _record(message_id: str, body: str) -> Json:
    return {
        "messageId": message_id,
        "receiptHandle": message_id,
        "body": body,
        "attributes": {},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
    }


def _own(log: Log) -> MotoStack:
    return next(stack for table, stack in log.stacks.items() if table.endswith("all-there-is"))


def _role(template: Template, log: Log) -> tuple[Role, set[Asked]]:
    settings = _own(log).settings
    return Role.of_dispatcher(template, settings), log.asked[settings.table]


def test_what_the_dispatcher_calls_it_may(plain: Template, log: Log) -> None:
    """Action, resource and condition."""
    role, asked = _role(plain, log)
    assert len(asked) > 10
    assert [one for one in asked if not role.granting(one)] == []


def test_what_the_dispatcher_may_something_calls(plain: Template, log: Log) -> None:
    """But for what Lambda does in its name."""
    role, asked = _role(plain, log)
    called = {grant for one in asked for grant in role.granting(one)}
    assert role.granted() - called == {*LAMBDAS_OWN, ANSWERS_404}


@pytest.fixture(scope="module")
def of_client() -> tuple[Settings, set[Asked]]:
    """Whose app it is, and what somebody asks for who uses all of the client, a rerun from a step included."""
    asked: set[Asked] = set()
    with Simulation(app, other, backend="moto") as sim:
        sim.send("all/asked", {"id": 1})
        assert isinstance(sim._world, MotoWorld)
        world, run_id = sim._world, sim.run("all").run_id
        settings = world.stacks[ALL].settings
        clients = Clients.of(settings)
        note_into(asked, clients)
        client = _Stack(ALL, ports(settings, clients, world.clock), ("all",))
        client.send(drafts_of(Event(name="all/told"), what="a test"))
        assert client.list_runs(function_id="all", status=None, since=None, limit=9, cursor=None).runs
        assert len(client.get_run(run_id).steps["large"].output) > 8_192
        client.cancel(run_id)
        client.resume(run_id)
        sim.run_until_idle()
        client.rerun(run_id, "by-queue")
        answer: Any = (SimpleNamespace(status_code=200), {"Stacks": [{"Outputs": []}]})  # moto's ask for more packages
        clients.cloudformation().meta.events.register("before-call.cloudformation", lambda **_: answer)
        with pytest.raises(ConfigError, match="'Full'"):
            deployed("Full", clients=clients)
    return settings, asked


def test_what_a_client_calls_it_may(full: Template, of_client: tuple[Settings, set[Asked]]) -> None:
    """Every method of `Client`, by the role that `grant_client` was called with."""
    settings, asked = of_client
    role = Role.of_client(full, settings)
    assert [one for one in asked if not role.granting(one)] == []


def test_what_a_client_may_something_calls(full: Template, of_client: tuple[Settings, set[Asked]]) -> None:
    """But for what makes S3 say 404."""
    settings, asked = of_client
    role = Role.of_client(full, settings)
    assert role.granted() - {grant for one in asked for grant in role.granting(one)} == {ANSWERS_404}


@pytest.mark.parametrize(
    "asked",
    [
        Asked("dynamodb:Scan", "arn:aws:dynamodb:us-east-1:123456789012:table/{table}"),
        Asked("dynamodb:GetItem", "arn:aws:dynamodb:us-east-1:123456789012:table/other"),
        Asked("scheduler:CreateSchedule", "arn:aws:scheduler:us-east-1:123456789012:schedule/default/x"),
        Asked("s3:GetObject", "arn:aws:s3:::other/x"),
        Asked("iam:PassRole", "{role}", "lambda.amazonaws.com"),
    ],
    ids=lambda asked: str(asked.action),
)
def test_nothing_else_is_allowed(plain: Template, log: Log, asked: Asked) -> None:
    """The evaluator can say no."""
    role, own = _role(plain, log)[0], _own(log).settings
    resource = asked.resource.format(table=own.table, role=own.scheduler_role_arn)
    assert role.granting(Asked(asked.action, resource, asked.passed_to)) == set()
