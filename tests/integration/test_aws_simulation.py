"""`Simulation(backend="moto")`: as on memory, by real clients, real event shapes and the real handler."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.dynamodb.models.table import Table

from stepbridge import App, Cancel, ConfigError, Context, ContextSync, cron, event
from stepbridge.aws.schema import event_pattern
from stepbridge.core.keys import HEAD_SK
from stepbridge.engine.across import names_for
from stepbridge.engine.rule import wants
from stepbridge.local.moto import MotoWorld
from stepbridge.local.moto_process import is_mocked
from stepbridge.local.simulated import MotoSite
from stepbridge.memory.billing import item_bytes
from stepbridge.memory.clock import VirtualClock
from stepbridge.testing import Simulation

REGION = "us-east-1"


def app_of(*bodies: Any, **options: Any) -> App:
    """An app whose one function, `f`, runs the bodies as steps at each event `go`."""
    app = App("shop")

    @app.function("f", trigger=event("go"), **options)
    async def handle(ctx: Context) -> list[Any]:
        return [await ctx.step.run(f"step {index}", body) for index, body in enumerate(bodies)]

    return app


def world_of(sim: Simulation) -> MotoWorld:
    """What is behind the simulation."""
    assert isinstance(sim._world, MotoWorld)
    return sim._world


def test_the_clocks_of_user_code_stay_real() -> None:
    """Only moto's notion of time is virtual."""
    with Simulation(app_of(lambda: time.gmtime().tm_year), backend="moto") as sim:
        sim.send("go")
        assert sim.run("f").output == [time.gmtime().tm_year]
        assert sim.run("f").output > [2025]
        assert sim.now == datetime(2025, 1, 1, tzinfo=UTC)


def test_asyncio_sleep_stays_real() -> None:
    """A handler's own short sleep is let finish, and no virtual time passes."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handle(ctx: Context) -> None:
        await asyncio.sleep(0.01)

    with Simulation(app, backend="moto") as sim:
        sim.send("go")
        assert (sim.run("f").status, sim.now) == ("COMPLETED", datetime(2025, 1, 1, tzinfo=UTC))


def test_years_pass_in_no_time() -> None:
    """Schedules that moto keeps are fired when the virtual clock says so, to the second."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handle(ctx: Context) -> str:
        await ctx.step.sleep("long", "365 days")
        return ctx.now.isoformat()

    with Simulation(app, backend="moto") as sim:
        sim.send("go")
        assert len(world_of(sim).stacks["shop"].timers.names()) == 1
        sim.run_until_idle()
        assert sim.run("f").output == "2026-01-01T00:00:00+00:00"
        assert world_of(sim).stacks["shop"].timers.names() == []


def test_it_joins_a_mock_that_runs_already_and_leaves_it_as_it_was() -> None:
    """The user's own table is there for the steps, and after the simulation; of the simulation nothing is."""

    def count() -> int:
        table = boto3.resource("dynamodb", region_name=REGION).Table("mine")
        answer = table.update_item(
            Key={"id": "1"},
            UpdateExpression="ADD n :one",
            ExpressionAttributeValues={":one": 1},
            ReturnValues="ALL_NEW",
        )
        return int(str(answer["Attributes"]["n"]))

    with mock_aws():
        client = boto3.client("dynamodb", region_name=REGION)
        client.create_table(
            TableName="mine",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        )
        for number in (1, 2):
            with Simulation(app_of(count), backend="moto") as sim:
                sim.send("go")
                assert sim.run("f").output == [number]
        assert client.list_tables()["TableNames"] == ["mine"]
        assert boto3.client("sqs", region_name=REGION).list_queues().get("QueueUrls", []) == []
        assert boto3.client("s3", region_name=REGION).list_buckets()["Buckets"] == []
        buses = boto3.client("events", region_name=REGION).list_event_buses()["EventBuses"]
        assert [bus["Name"] for bus in buses] == ["default"]
    assert not is_mocked()


def test_user_code_may_start_a_mock_of_its_own_inside() -> None:
    """Ending it ends nothing of the simulation's."""
    with Simulation(app_of(lambda: 1), backend="moto") as sim:
        with mock_aws():
            boto3.client("s3", region_name=REGION).create_bucket(Bucket="inner")
        sim.send("go")
        assert sim.run("f").status == "COMPLETED"


def test_two_simulations_at_once_know_nothing_of_each_other() -> None:
    """Not their runs, not their events, not their requests."""
    with Simulation(app_of(lambda: 1), backend="moto") as one, Simulation(app_of(lambda: 2), backend="moto") as two:
        two.send("go")
        assert (one.runs(), one.events, one.requests) == ([], [], {})
        assert [run.output for run in two.runs()] == [[2]]


def test_each_of_two_simulations_has_its_own_time() -> None:
    """One goes on by days while the other stands, or goes back to it: of each the timers alone fire."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handle(ctx: Context) -> str:
        await ctx.step.sleep("short", "1m")
        await ctx.step.sleep("long", "2h")
        return ctx.now.isoformat()

    late = datetime(2030, 1, 1, tzinfo=UTC)
    with Simulation(app, backend="moto", start=late) as one, Simulation(app, backend="moto") as two:
        one.send("go")
        two.send("go")
        two.advance("10 days")
        assert (one.run("f").status, two.run("f").status) == ("SLEEPING", "COMPLETED")
        one.advance("2h1m")
        assert (one.run("f").output, two.run("f").output) == ("2030-01-01T02:01:00+00:00", "2025-01-01T02:01:00+00:00")


def test_simulations_may_end_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first to begin is the first to end; nothing of moto is left after the last, nor in the environment."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    sims = [Simulation(app_of(lambda: 1), backend="moto") for _ in range(3)]
    for sim in sims:
        sim.__enter__()
    for sim in sims:
        sim.__exit__(None, None, None)
        for other in sims[sims.index(sim) + 1 :]:
            other.send("go")
            assert other.run("f").status == "COMPLETED"
    assert not is_mocked()
    assert "AWS_ACCESS_KEY_ID" not in os.environ  # noqa: TID251 - what a user's next client would read


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ({"Detail": "[1]"}, "MalformedDetail"),
        ({"Detail": "null"}, "MalformedDetail"),
        ({"Detail": "{"}, "MalformedDetail"),
        ({"Detail": '{"n": NaN}'}, "MalformedDetail"),
        ({"DetailType": "n" * 129}, "InvalidArgument"),
        ({"Source": ""}, "InvalidArgument"),
    ],
    ids=str,
)
def test_the_bus_refuses_what_eventbridge_refuses(entry: dict[str, str], code: str) -> None:
    """Alone, and with the words of the memory backend; the entries beside it are taken. Moto takes some of them."""
    answers = []
    for backend in ("memory", "moto"):
        with Simulation(app_of(lambda: 1), backend=backend) as sim:
            good = {"DetailType": "go", "Source": "test", "Detail": "{}"}
            first, refused, last = sim._world.bus.put_raw([good, {**good, **entry}, good])
            assert set(first) == set(last) == {"EventId"}
            answers.append(refused)
            sim.advance(0)
            assert len(sim.runs("f")) == len(sim.events) == 2
    assert answers[0] == answers[1]
    assert answers[1]["ErrorCode"] == code


@pytest.mark.parametrize("name", ["go", 'go "quoted"', "go\\back", "<id>", "🚀"])
def test_an_event_comes_through_as_it_was_sent(name: str) -> None:
    """Moto makes it by filling a text, in which names and data like these were blanks, or broke it."""
    data = {"text": "<source> <time> <detail-type> <aws.events.event.json>", "n": [1.5, None, {"<id>": '"'}]}
    app = App("shop")

    @app.function("f", trigger=event(name))
    async def handle(ctx: Context) -> object:
        return [ctx.event.name, ctx.event.data]

    with Simulation(app, backend="moto") as sim:
        sim.send(name, data)
        assert sim.run("f").output == [name, data]


def test_a_large_table_makes_no_query_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query looks at its own partition, and one by the index finds what it should."""
    looked_at: list[int] = []
    all_items = Table.all_items

    def looking(table: Table) -> Any:
        found = all_items(table)
        looked_at.append(len(found))
        return found

    monkeypatch.setattr(Table, "all_items", looking)
    with Simulation(app_of(lambda: 1), backend="moto") as sim:
        for _ in range(30):
            sim.send("go")
        assert {run.status for run in sim.runs("f")} == {"COMPLETED"}
        assert max(looked_at) <= 2
        listed = world_of(sim).stacks["shop"].readable.table.query_index("f#2025-01-01#0")
        assert listed == []


def test_apps_share_the_bus() -> None:
    """An event starts a function of each."""
    other = App("other")

    @other.function("g", trigger=event("go"))
    def handle(ctx: ContextSync) -> str:
        return "other"

    with Simulation(app_of(lambda: "shop"), other, backend="moto") as sim:
        sim.send("go")
        assert (sim.run("f").output, sim.run("g").output) == (["shop"], "other")


def test_it_works_inside_a_running_loop() -> None:
    """The handler's own loop runs in a thread then."""

    async def play() -> str:
        with Simulation(app_of(lambda: 1), backend="moto") as sim:
            sim.send("go")
            return sim.run("f").status

    assert asyncio.run(play()) == "COMPLETED"


def test_user_threads_and_the_engine_share_moto_in_turn() -> None:
    """Sync steps side by side that write with clients of their own: no update is lost."""
    client = None

    def add() -> None:
        for _ in range(20):
            assert client is not None
            client.update_item(
                TableName="counter",
                Key={"id": {"S": "1"}},
                UpdateExpression="ADD n :one",
                ExpressionAttributeValues={":one": {"N": "1"}},
            )

    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handle(ctx: Context) -> None:
        await asyncio.gather(*(ctx.step.run(f"add {index}", add) for index in range(6)))

    with Simulation(app, backend="moto") as sim:
        client = boto3.client("dynamodb", region_name=REGION)
        client.create_table(
            TableName="counter",
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        )
        sim.send("go")
        assert sim.run("f").status == "COMPLETED"
        assert client.get_item(TableName="counter", Key={"id": {"S": "1"}})["Item"]["n"] == {"N": "120"}


def test_views_stay_good_after_the_end() -> None:
    """They are snapshots; the simulation itself then says that it has ended."""
    with Simulation(app_of(lambda: 1), backend="moto") as sim:
        sim.send("go")
        run = sim.run("f")
    assert (run.output, run.steps["step 0"].output) == ([1], 1)
    with pytest.raises(RuntimeError, match="moto does not run"):
        sim.send("go")


def test_outside_of_with_it_says_what_to_do() -> None:
    """Moto would otherwise stay on for whatever comes next in the process."""
    with pytest.raises(RuntimeError, match="in a `with` statement"):
        Simulation(app_of(lambda: 1), backend="moto").send("go")


def test_an_unknown_backend_is_a_clear_error() -> None:
    """Named, with those that there are."""
    with pytest.raises(ConfigError, match="'memory' or 'moto'"):
        Simulation(app_of(lambda: 1), backend="localstack")


def test_a_signal_of_the_environment_leads_no_request_astray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile, an endpoint or an account of the developer's shell: moto answers all the same."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCOUNT_ID", "999999999999")
    monkeypatch.setattr("stepbridge.local.moto_process._POOL", [])
    with Simulation(app_of(lambda: 1), backend="moto") as sim:
        sim.send("go")
        assert sim.run("f").status == "COMPLETED"


def test_large_values_lie_in_the_bucket() -> None:
    """By the real S3 adapter, and back."""
    noise = "".join(sha256(str(index).encode()).hexdigest() for index in range(1_000))
    with Simulation(app_of(lambda: noise), backend="moto") as sim:
        sim.send("go")
        assert sim.run("f").output == [noise]
        assert sim.requests["PutObject"] > 0


def test_data_of_an_event_of_the_future_expires_as_if_it_had_come_when_its_run_began() -> None:
    """A bucket's lifecycle counts from the last write; the run may last a year from its beginning."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handle(ctx: Context) -> int:
        await ctx.step.sleep("nap", "366 days")
        return len(ctx.event.data["text"])

    noise = "".join(sha256(str(index).encode()).hexdigest() for index in range(1_000))
    with Simulation(app, backend="moto") as sim:
        began = sim.now + timedelta(days=200)
        sim.send("go", {"text": noise}, ts=began)
        sim.advance("199 days")
        assert ages(sim) == [timedelta(days=199)]
        sim.advance("1 day")
        assert ages(sim) == [timedelta(0)]
        sim.run_until_idle()
        assert (sim.run("f").output, ages(sim)) == (len(noise), [timedelta(days=366)])


def ages(sim: Simulation) -> list[timedelta]:
    """Of what lies in the bucket, to the second."""
    (site,) = sim._sites
    assert isinstance(site, MotoSite)
    held = site.stack.counted.clients.s3().list_objects_v2(Bucket=site.stack.settings.blobs_bucket)["Contents"]
    return [sim.now - one["LastModified"] for one in held]


def test_the_head_stays_under_one_kilobyte() -> None:
    """Every update is billed on the whole item: data, output and all that is armed stand beside it."""
    app = App("shop")

    @app.function("f", trigger=event("go"), cancel=[Cancel("stop", match="data.k")])
    async def handle(ctx: Context) -> str:
        waits = (
            ctx.step.wait_for_event(f"wait number {n}", event="e", match="data.k", timeout="2 days") for n in range(20)
        )
        await asyncio.gather(*waits, ctx.step.sleep("nap", "1 day"))
        return str(ctx.event.data["text"])

    with Simulation(app, backend="moto") as sim:
        sizes: list[int] = []
        sim.send("go", {"k": 1, "text": "".join(map(str, range(300)))})
        for _ in range(3):
            heads = [item for item in sim._sites[0].stack.table.items() if item["sk"] == HEAD_SK]
            sizes += map(item_bytes, heads)
            sim.advance("1 day")
        assert sim.run("f").status == "COMPLETED"
    assert len(sizes) == 3
    assert max(sizes) < 1024


@pytest.mark.parametrize(
    "triggers",
    [
        ["go"],
        ["stepbridge/function.failed"],
        ["stepbridge/*"],
        ["stepbridge/function.*", "go"],
        ["shop/*", "stepbridge/function.finished", "stepbridge/function.failed"],
    ],
    ids=str,
)
def test_the_rule_lets_through_what_the_app_wants(triggers: list[str]) -> None:
    """The pattern, as EventBridge matches it, and the engine's own predicate agree on every name."""
    names = [
        *names_for("shop"),
        *names_for("other"),
        "go",
        "other",
        "shop/order",
        "stepbridge",
        "stepbridge/function.failed",
        "stepbridge/function.finished",
    ]
    app = App("shop")
    for index, name in enumerate(triggers):
        app.function(f"f{index}", trigger=event(name))(_idle)
    with MotoWorld(clock=VirtualClock(datetime(2025, 1, 1, tzinfo=UTC))) as world:
        stack = world.stack(app)
        for name in names:
            world.bus.put_raw([{"DetailType": name, "Source": "test", "Detail": "{}"}])
        through = {json.loads(message.body)["detail-type"] for _ in names for message in stack.queue.receive(10)}
    assert through == {name for name in names if wants(app, name)}


def test_the_rules_pattern_is_short() -> None:
    """It names system events that are wanted, and nothing else: EventBridge allows 2048 characters."""
    app = app_of(lambda: 1)
    app.function("g", trigger=[event("stepbridge/function.failed"), cron("0 9 * * *")])(_idle)
    pattern = event_pattern(app)["detail-type"]
    assert pattern[0] == {"anything-but": {"prefix": "stepbridge/"}}
    assert "stepbridge/function.failed" in pattern
    assert len(json.dumps(event_pattern(app))) < 300


async def _idle(ctx: Context) -> None:
    """Ends at once."""


def test_no_thread_outlives_the_simulation() -> None:
    """Nor does a loop."""
    before = set(threading.enumerate())
    with Simulation(app_of(lambda: 1), backend="moto") as sim:
        sim.send("go")
        sim.advance(timedelta(hours=1))
    assert set(threading.enumerate()) == before
