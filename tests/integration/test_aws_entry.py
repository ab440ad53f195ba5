"""The Lambda handler, called as Lambda calls it: events in, partial batch responses out."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.session import Session
from moto.core.botocore_stubber import MockRawResponse

from stepbridge import App, Cancel, ConfigError, Context, ContextSync, event, invoke_only
from stepbridge.aws import dispatcher
from stepbridge.aws.clients import Clients
from stepbridge.aws.entry import Dispatcher
from stepbridge.aws.settings import Settings, variable
from stepbridge.aws.wiring import SystemClock
from stepbridge.core.ids import child_run_id, step_key
from stepbridge.core.items import head_of
from stepbridge.core.keys import HEAD_SK
from stepbridge.core.limits import LEASE_MARGIN
from stepbridge.core.messages import Cancel as CancelRun
from stepbridge.core.messages import Start, message_text, work_of
from stepbridge.core.records import EventRecord, Head, Status
from stepbridge.engine.reader import Reader
from stepbridge.engine.store import Store
from stepbridge.local.moto import MotoStack, MotoWorld
from stepbridge.local.moto_stack import arn_of, settings_of
from stepbridge.memory.clock import VirtualClock
from stepbridge.ports import Message, Outgoing
from stepbridge.views import RunView
from tests.integration.waiting import eventually

START = datetime(2025, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@dataclass
class LambdaLike:
    """Lambda's context."""

    aws_request_id: str = "8f5d2b1e-0c4a-5e2f-9d61-6f3a1c8f0b77"
    left_ms: int = 120_000

    def get_remaining_time_in_millis(self) -> int:
        """As on AWS."""
        return self.left_ms


class Bench:
    """One app in moto, whose handler is called by hand."""

    def __init__(self, app: App, world: MotoWorld, clock: VirtualClock) -> None:
        self.world = world
        self.clock = clock
        self.stack: MotoStack = world.stack(app)
        self.handler: Dispatcher = self.stack.handler

    def put(self, name: str, /, **data: Any) -> None:
        """An event, as any AWS service puts it."""
        self.world.bus.put_raw([{"DetailType": name, "Source": "test", "Detail": json.dumps(data)}])

    def receive(self, limit: int = 10) -> list[Message]:
        """What Lambda's poller takes."""
        return self.stack.queue.receive(limit)

    def call(self, messages: list[Message], context: LambdaLike | None = None) -> list[str]:
        """Calls the handler with the messages; those that must come back."""
        answer = self.handler(self.stack.queue.event(messages), context or LambdaLike())
        assert set(answer) == {"batchItemFailures"}
        return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]

    def runs(self) -> list[RunView]:
        """All runs."""
        reader = Reader(self.stack.readable)
        return [reader.view(head_of(item)) for item in self.stack.table.items() if item["sk"] == HEAD_SK]

    def hold(self, start: str) -> None:
        """Another invocation begins the run of this start message, and is busy with it."""
        work = work_of(start)
        assert isinstance(work, Start)
        birth = Head(
            run_id=work.run_id,
            function_id=work.function_id,
            status=Status.RUNNING,
            event=work.event,
            created_at=work.created_at,
        )
        Store(self.stack.readable.table).claim(
            work.run_id, birth=birth, holder="another", deadline=self.clock.now() + MINUTE, now=self.clock.now()
        )


@pytest.fixture
def clock() -> VirtualClock:
    """Of the world and of moto."""
    return VirtualClock(START)


@pytest.fixture
def world(clock: VirtualClock) -> Iterator[MotoWorld]:
    """An account without apps."""
    with MotoWorld(clock=clock) as world:
        yield world


@pytest.fixture
def calm(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """The engine's log."""
    caplog.set_level(logging.INFO, logger="stepbridge")
    return caplog


def recorded(name: str) -> dict[str, Any]:
    """An event as AWS sends it."""
    event_: dict[str, Any] = json.loads((Path(__file__).parent / "events" / f"{name}.json").read_text())
    return event_


def greeter() -> App:
    """Greets who was created, by an event, an object or a call."""
    app = App("shop")

    @app.function("greet", trigger=[event("user/created"), event("Object Created", source="aws.s3")])
    async def greet(ctx: Context) -> str:
        return await ctx.step.run("say", str.upper, ctx.event.data.get("name", "nobody"))

    return app


# -- what comes in -------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", ["eventbridge", "eventbridge_from_our_client", "engine"])
def test_every_way_into_the_queue_starts_the_run(world: MotoWorld, clock: VirtualClock, shape: str) -> None:
    """EventBridge's whole envelope, with our client's key and without, and the engine's own message."""
    bench = Bench(greeter(), world, clock)
    assert bench.handler(recorded(shape), LambdaLike()) == {"batchItemFailures": []}
    (run,) = bench.runs()
    assert (run.status, run.output) == ("COMPLETED", "ADA")


def test_an_event_of_an_aws_service_starts_the_run(world: MotoWorld, clock: VirtualClock) -> None:
    """Its detail as it is; its id and time are EventBridge's."""
    bench = Bench(greeter(), world, clock)
    assert bench.handler(recorded("aws_service"), LambdaLike()) == {"batchItemFailures": []}
    (run,) = bench.runs()
    assert (run.status, run.event.source, run.event.data["object"]["key"]) == ("COMPLETED", "aws.s3", "a b")
    assert (run.event.id, run.event.ts) == ("6a7e8feb-b491-4cf7-a9f1-bf3703467718", 1735689600000)


def test_a_schedules_message_is_known_without_an_attribute(world: MotoWorld, clock: VirtualClock) -> None:
    """Scheduler sets none. The run that it is for is not there any more: nothing to do, and no failure."""
    bench = Bench(greeter(), world, clock)
    assert bench.handler(recorded("scheduler"), LambdaLike()) == {"batchItemFailures": []}
    assert (bench.runs(), bench.stack.queue.dead) == ([], [])


def test_an_event_cannot_pass_for_the_engines_own(world: MotoWorld, clock: VirtualClock) -> None:
    """Whatever its detail holds, it is an event: the run is the one that its id makes, not the one it names."""
    bench = Bench(greeter(), world, clock)
    bench.handler(recorded("forged"), LambdaLike())
    (run,) = bench.runs()
    assert (run.event.name, run.event.data["k"]) == ("user/created", "start")
    assert run.run_id != "a" * 26


def test_what_nobody_can_read_is_buried(world: MotoWorld, clock: VirtualClock) -> None:
    """It would come back for ever: it goes to the dead-letter queue, and is acknowledged."""
    bench = Bench(greeter(), world, clock)
    assert bench.handler(recorded("not_json"), LambdaLike()) == {"batchItemFailures": []}
    assert bench.stack.queue.dead == ["Hello from SQS!"]


def half(**fields: Any) -> dict[str, Any]:
    """An event of one record that is not as SQS makes it."""
    whole = {"eventSource": "aws:sqs", "messageId": "m", "receiptHandle": "r", "body": "{}"}
    return {"Records": [{**whole, **fields}]}


WRONG: list[Any] = [
    {},
    {"key1": "value1"},
    {"Records": [{"eventSource": "aws:s3"}]},
    {"Records": [{"eventSource": "aws:sqs"}, {"eventSource": "aws:s3"}]},
    None,
    [],
    "Records",
    {"Records": None},
    {"Records": [None]},
    {"Records": ["record"]},
    half(body=None),
    half(body={}),
    half(messageId=7),
    half(receiptHandle=None),
    half(attributes=[]),
    half(messageAttributes="stepbridge"),
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_an_event_of_another_service_is_refused(world: MotoWorld, clock: VirtualClock, wrong: dict[str, Any]) -> None:
    """The console's test event, say: an error that tells what is expected."""
    with pytest.raises(ValueError, match="takes events of its SQS queue"):
        Bench(greeter(), world, clock).handler(wrong, LambdaLike())


# -- a batch -------------------------------------------------------------------------------------------
@pytest.mark.parametrize("colour", ["async", "sync"])
def test_the_runs_of_a_batch_go_side_by_side(world: MotoWorld, clock: VirtualClock, colour: str) -> None:
    """Three runs whose steps wait for each other end together."""
    app = App("shop")
    together = threading.Barrier(3, timeout=10)

    def meet() -> int:
        return together.wait()

    async def handle(ctx: Context) -> int:
        return await ctx.step.run("meet", meet)

    def handle_sync(ctx: ContextSync) -> int:
        return ctx.step.run("meet", meet)

    app.function("f", trigger=event("go"))(handle if colour == "async" else handle_sync)
    bench = Bench(app, world, clock)
    for number in range(3):
        bench.put("go", k=number)
    assert bench.call(bench.receive()) == []
    assert sorted(run.output for run in bench.runs()) == [0, 1, 2]


def test_one_message_that_comes_back_takes_no_other_with_it(world: MotoWorld, clock: VirtualClock) -> None:
    """The run of the first is held by another invocation: it alone is listed, and it alone comes back."""
    bench = Bench(greeter(), world, clock)
    held = recorded("engine")["Records"][0]["body"]
    bench.hold(held)
    bench.stack.readable.queue.send([Outgoing(body=held)])
    bench.put("user/created", name="Bob")
    messages = bench.receive()
    (back,) = [message.id for message in messages if message.body == held]
    assert bench.call(messages) == [back]
    assert [run.output for run in bench.runs() if run.status == "COMPLETED"] == ["BOB"]


def test_a_message_that_comes_back_does_so_when_the_engine_says(world: MotoWorld, clock: VirtualClock) -> None:
    """After a second at first, not when its visibility of minutes is over."""
    bench = Bench(greeter(), world, clock)
    held = recorded("engine")["Records"][0]["body"]
    bench.hold(held)
    bench.stack.readable.queue.send([Outgoing(body=held)])
    assert len(bench.call(bench.receive())) == 1
    clock.move_to(START + timedelta(milliseconds=999))
    assert bench.receive() == []
    clock.move_to(START + timedelta(seconds=1))
    assert [message.receives for message in bench.receive()] == [2]


# -- time ----------------------------------------------------------------------------------------------
def test_the_lease_ends_with_the_invocation(world: MotoWorld, clock: VirtualClock) -> None:
    """At Lambda's deadline and a margin, in the name of request and message."""
    seen: list[dict[str, Any]] = []
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handle(ctx: Context) -> None:
        await ctx.step.run("look", lambda: seen.extend(dict(item) for item in bench.stack.table.items()))

    bench = Bench(app, world, clock)
    bench.put("go")
    (message,) = bench.receive()
    bench.call([message], LambdaLike("request-1", 60_000))
    assert seen[0]["lx"] == (START + MINUTE + LEASE_MARGIN).timestamp() * 1000
    assert seen[0]["ho"] == f"request-1:{message.id}"


def test_a_run_goes_on_in_the_next_invocation_when_time_is_short(world: MotoWorld, clock: VirtualClock) -> None:
    """No step begins within the last seconds: the next invocation's message is sent first."""
    app = App("shop")

    @app.function("f", trigger=event("go"))
    def handle(ctx: ContextSync) -> str:
        return ctx.step.run("say", str.upper, "ada")

    bench = Bench(app, world, clock)
    bench.put("go")
    (message,) = bench.receive()
    assert bench.call([message], LambdaLike(left_ms=9_000)) == []
    bench.stack.queue.acknowledge([message])
    assert [run.status for run in bench.runs()] == ["SLEEPING"]
    assert bench.call(bench.receive()) == []
    assert [(run.status, run.output) for run in bench.runs()] == [("COMPLETED", "ADA")]


def test_parallel_steps_go_on_in_the_next_invocation_each_once(world: MotoWorld, clock: VirtualClock) -> None:
    """Lambda leaves hardly more than the margin, again and again: what was recorded is not done again."""
    effects: Counter[int] = Counter()
    app = App("shop")

    async def note(number: int) -> int:
        effects[number] += 1
        return number

    @app.function("f", trigger=event("go"))
    async def handle(ctx: Context) -> int:
        limit = asyncio.Semaphore(5)

        async def branch(number: int) -> int:
            async with limit:
                return await ctx.step.run(f"s{number}", note, number)

        return sum(await asyncio.gather(*(branch(number) for number in range(100))))

    bench = Bench(app, world, clock)
    bench.put("go")
    calls = 0
    while messages := bench.receive():
        calls += 1
        assert bench.call(messages, LambdaLike(f"request-{calls}", left_ms=10_000 + 20 * calls)) == []
        bench.stack.queue.acknowledge(messages)
    assert [run.output for run in bench.runs()] == [sum(range(100))]
    assert effects == dict.fromkeys(range(100), 1)
    assert calls > 1


@pytest.mark.parametrize("colour", ["async", "sync"])
def test_the_child_of_a_dead_invocation_ends_with_its_cancelled_parent(
    world: MotoWorld, clock: VirtualClock, colour: str
) -> None:
    """Whose message comes back to a cancelled run: the child that it had begun is found by a replay, and cancelled."""
    app = App("shop")

    @app.function("child", trigger=invoke_only())
    def child(ctx: ContextSync) -> None: ...

    async def handle(ctx: Context) -> None:
        await ctx.step.invoke("ask", function=child)

    def handle_sync(ctx: ContextSync) -> None:
        ctx.step.invoke("ask", function=child)

    handlers: dict[str, Any] = {"async": handle, "sync": handle_sync}
    app.function("f", trigger=event("go"), cancel=[Cancel("stop")])(handlers[colour])
    bench = Bench(app, world, clock)
    event_record = EventRecord(name="go", id="e", ts=0, source="t", data="{}")
    start = message_text(Start(run_id="run", function_id="f", event=event_record, created_at=START))
    bench.hold(start)
    bench.stack.readable.queue.send([Outgoing(body=message_text(CancelRun(run_id="run", reason="by hand")))])
    messages = bench.receive()
    assert bench.call(messages) == []
    bench.stack.queue.acknowledge(messages)
    bench.stack.readable.queue.send([Outgoing(body=start)])
    messages = bench.receive()
    assert bench.call(messages) == []
    bench.stack.queue.acknowledge(messages)
    (told,) = [work_of(message.body) for message in bench.receive()]
    assert told == CancelRun(run_id=child_run_id("run", step_key("ask", 0)), reason="its parent has ended")


def test_nothing_runs_on_after_the_return(world: MotoWorld, clock: VirtualClock) -> None:
    """No task in the loop and no busy thread: branches that wait, one that lingers, and a suspended run."""
    app = App("shop")
    running: list[int] = []

    def dwell() -> None:
        running.append(1)
        time.sleep(0.05)
        running.pop()

    @app.function("f", trigger=event("go"))
    async def handle(ctx: Context) -> None:
        lingering = asyncio.create_task(asyncio.sleep(0.05))
        await asyncio.gather(
            ctx.step.sleep("nap", "1h"),
            ctx.step.run("quick", dwell),
            ctx.step.wait_for_event("never", event="never", timeout="2h"),
            lingering,
        )

    @app.function("g", trigger=event("go"))
    def handle_sync(ctx: ContextSync) -> None:
        ctx.group.parallel((lambda: ctx.step.sleep("nap", "1h"), lambda: ctx.step.run("quick", dwell)))

    bench = Bench(app, world, clock)
    for number in range(2):
        bench.put("go", k=number)
    while messages := bench.receive():
        assert bench.call(messages) == []
        assert asyncio.all_tasks(bench.handler._loop) == set()
        assert running == []
        eventually(lambda: busy_threads() == [])
        bench.stack.queue.acknowledge(messages)
    assert [run.status for run in bench.runs()] == ["SLEEPING"] * 4


# -- a deployment that is wrong ------------------------------------------------------------------------
def test_without_its_table_every_message_stays_and_the_log_says_why(
    world: MotoWorld, clock: VirtualClock, calm: pytest.LogCaptureFixture
) -> None:
    """The resource, the cause and the mend; nothing is lost."""
    bench = Bench(greeter(), world, clock)
    table = bench.stack.settings.table
    world.clients.dynamodb().delete_table(TableName=table)
    bench.put("user/created", name="Ada")
    (message,) = bench.receive()
    assert bench.call([message]) == [message.id]
    assert f"The DynamoDB table {table} does not exist" in calm.text
    assert "Mend: deploy the stack, or correct STEPBRIDGE_TABLE" in calm.text


NOISE = "".join(sha256(str(index).encode()).hexdigest() for index in range(1_000))
"""Above what the table keeps, however it is packed."""


def needy() -> App:
    """Functions that each need one thing more than the table."""
    app = App("shop", publish_finished=True)

    @app.function("tells", trigger=event("tells"))
    async def tells(ctx: Context) -> None:
        """Its end is told on the bus."""

    @app.function("sends", trigger=event("sends"), retries=0)
    async def sends(ctx: Context) -> None:
        await ctx.step.send_event("send", {"name": "sent"})

    @app.function("waits", trigger=event("waits"))
    async def waits(ctx: Context) -> None:
        await ctx.step.wait_for_event("wait", event="sent", timeout="1h")

    @app.function("invokes", trigger=event("invokes"))
    async def invokes(ctx: Context) -> None:
        await ctx.step.invoke("ask", function="tells")

    @app.function("records", trigger=event("records"), retries=0)
    async def records(ctx: Context) -> None:
        await ctx.step.run("record", lambda: NOISE)

    @app.function("sleeps", trigger=event("sleeps"))
    async def sleeps(ctx: Context) -> None:
        await ctx.step.sleep("nap", "2 days")

    @app.function("delays", trigger=event("delays"))
    async def delays(ctx: Context) -> None:
        await ctx.step.sleep("nap", "1m")

    @app.function("keeps", trigger=event("keeps"))
    async def keeps(ctx: Context) -> str:
        return NOISE

    return app


def _name_of(arn: str) -> str:
    return arn.rpartition("/")[2]


def _without_bus(clients: Clients, settings: Settings) -> None:
    bus = _name_of(settings.bus_arn)
    for rule in ("log", "shop"):
        clients.events().remove_targets(Rule=rule, EventBusName=bus, Ids=["queue"])
        clients.events().delete_rule(Name=rule, EventBusName=bus)
    clients.events().delete_event_bus(Name=bus)


MISSING: dict[str, tuple[Callable[[Clients, Settings], object], Sequence[str], str, str]] = {
    "bus": (_without_bus, ("tells", "sends"), "The event bus", "bus_arn"),
    "schedule group": (
        lambda clients, settings: clients.scheduler().delete_schedule_group(Name=settings.schedule_group),
        ("sleeps", "waits"),
        "The schedule group",
        "schedule_group",
    ),
    "queue": (
        lambda clients, settings: clients.sqs().delete_queue(QueueUrl=settings.queue_url),
        ("delays", "invokes"),
        "The SQS queue",
        "queue_url",
    ),
    "bucket": (
        lambda clients, settings: clients.s3().delete_bucket(Bucket=settings.blobs_bucket),
        ("keeps", "records"),
        "The S3 bucket",
        "blobs_bucket",
    ),
}
"""Resources, and the functions that need each."""


@pytest.mark.parametrize(("missing", "name"), [(missing, name) for missing in MISSING for name in MISSING[missing][1]])
def test_what_is_missing_is_named_and_the_message_stays(
    world: MotoWorld, clock: VirtualClock, calm: pytest.LogCaptureFixture, missing: str, name: str
) -> None:
    """The resource, that it does not exist, and the variable that says which one it is; no attempt is spent."""
    remove, _, what, setting = MISSING[missing]
    bench = Bench(needy(), world, clock)
    bench.put(name)
    (message,) = bench.receive()
    remove(world.clients, bench.stack.settings)
    assert bench.call([message]) == [message.id]
    assert f"{what} {getattr(bench.stack.settings, setting)} does not exist" in calm.text
    assert f"Mend: deploy the stack, or correct {variable(setting)}" in calm.text
    assert attempts_of(bench) <= {1}


def attempts_of(bench: Bench) -> set[int]:
    """How many attempts the steps have had, of all runs."""
    return {step.attempts for run in bench.runs() for step in run.steps.values()}


DENIED: dict[str, tuple[Sequence[str], bytes]] = {
    "dynamodb:UpdateItem": (("tells",), b'{"__type": "AccessDeniedException"}'),
    "dynamodb:PutItem": (("sends", "waits", "records"), b'{"__type": "AccessDeniedException"}'),
    "events:PutEvents": (("tells", "sends"), b'{"__type": "AccessDeniedException"}'),
    "sqs:SendMessage": (("delays", "invokes"), b'{"__type": "com.amazonaws.sqs#AccessDenied"}'),
    "scheduler:CreateSchedule": (("sleeps", "waits"), b'{"__type": "AccessDeniedException"}'),
    "s3:PutObject": (("keeps", "records"), b"<Error><Code>AccessDenied</Code></Error>"),
}
"""Permissions, the functions that need each, and how the service says that it is missing."""


@pytest.mark.parametrize(
    ("permission", "name"), [(permission, name) for permission in DENIED for name in DENIED[permission][0]]
)
def test_a_missing_permission_is_named_and_the_message_stays(
    world: MotoWorld, clock: VirtualClock, calm: pytest.LogCaptureFixture, permission: str, name: str
) -> None:
    """Once it is given, the run goes on with what came back; no attempt has been spent."""
    service, _, operation = permission.partition(":")
    body = DENIED[permission][1]
    headers = {"x-amzn-errortype": "AccessDeniedException"} if service == "scheduler" else {}

    def deny(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        return AWSResponse(request.url, 403, HTTPHeaders.from_dict(headers), MockRawResponse(body))

    bench = Bench(needy(), world, clock)
    bench.put(name)
    (message,) = bench.receive()
    emitter = getattr(bench.stack.counted.clients, service)().meta.events
    emitter.register_first(f"before-send.{service}.{operation}", deny)
    try:
        assert bench.call([message]) == [message.id]
    finally:
        emitter.unregister(f"before-send.{service}.{operation}", deny)
    assert "refuses this role" in calm.text
    assert f"Mend: allow the role {permission}" in calm.text
    while (at := world.next_at()) is not None:
        clock.move_to(max(at, clock.now()))
        world.fire_due()
        if messages := bench.receive():
            back = bench.call(messages)
            bench.stack.queue.acknowledge([one for one in messages if one.id not in back])
    assert {run.status for run in bench.runs()} == {"COMPLETED"}
    assert attempts_of(bench) <= {1}


def test_a_missing_setting_fails_the_start_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda then reports a failed init; no message is taken."""
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(variable("table"))
    with pytest.raises(ConfigError, match="STEPBRIDGE_TABLE is not set"):
        dispatcher(greeter())


@pytest.mark.parametrize("switch", [gc.enable, gc.disable])
def test_what_a_start_makes_is_never_collected(monkeypatch: pytest.MonkeyPatch, switch: Callable[[], None]) -> None:
    """It lives as long as the process does; the collector itself goes on as it was."""
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    seen: list[str] = []
    gc.collect()
    gc.callbacks.append(lambda phase, _: seen.append(phase))
    switch()
    is_on = gc.isenabled()
    try:
        handler = dispatcher(greeter())
        handler.close()
        assert seen == []
        assert gc.isenabled() is is_on
        assert handler not in [one for one in gc.get_objects() if isinstance(one, Dispatcher)]
    finally:
        gc.callbacks.pop()
        gc.unfreeze()
        gc.enable()


def test_the_environment_makes_the_handler(
    world: MotoWorld, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the stack sets is enough: the one line of a user's module. The client that all need is made at the start."""
    bench = Bench(greeter(), world, clock)
    for name, value in replace(bench.stack.settings, retention_days=7, log_level="DEBUG").texts().items():
        monkeypatch.setenv(variable(name), value)
    made: list[str] = []
    make, logger = Session.create_client, logging.getLogger("stepbridge")
    before = logger.level, logger.propagate, logger.handlers[:]

    def noted(session: Session, service: str, **options: Any) -> Any:
        made.append(service)
        return make(session, service, **options)

    monkeypatch.setattr(Session, "create_client", noted)
    handler = dispatcher(greeter())
    assert made == ["dynamodb"]
    assert (logger.level, logger.propagate, len(logger.handlers)) == (logging.DEBUG, False, len(before[2]) + 1)
    (record,) = recorded("eventbridge")["Records"]
    of_now = {**json.loads(record["body"]), "time": SystemClock().now().isoformat()}
    try:
        assert handler({"Records": [{**record, "body": json.dumps(of_now)}]}, LambdaLike()) == {"batchItemFailures": []}
    finally:
        handler.close()
    assert (logger.level, logger.propagate, logger.handlers) == before
    (run,) = bench.runs()
    assert run.output == "ADA"
    (head,) = [item for item in bench.stack.table.items() if "fn" in item]
    gone_at = datetime.fromtimestamp(int(head["ttl"]), UTC)
    assert run.ended_at is not None
    assert timedelta(days=7) - timedelta(seconds=1) < gone_at - run.ended_at <= timedelta(days=7)


def busy_threads() -> list[str]:
    """The engine's threads that are not waiting for work; what they last did they have told before."""
    frames = sys._current_frames()
    ours = [thread for thread in threading.enumerate() if thread.name.startswith("stepbridge-")]
    return [one.name for one in ours if frames[one.ident or 0].f_code.co_name != "_worker"]


def environment() -> Mapping[str, str]:
    """A whole one."""
    settings = settings_of("shop", arn_of("events", "event-bus/shop"))
    return {variable(name): value for name, value in settings.texts().items()}
