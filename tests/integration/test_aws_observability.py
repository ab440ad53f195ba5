"""What the dispatcher tells: lines of JSON with all ids, and metrics of few dimensions."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepbridge import App, Context, ContextSync, event
from stepbridge import Cancel as Cancelled
from stepbridge.aws.entry import Dispatcher
from stepbridge.aws.observability import NAMESPACE, Observer, log_as_json
from stepbridge.aws.wiring import ports
from stepbridge.core.messages import Cancel, message_text
from stepbridge.engine.store import Store
from stepbridge.local.moto import MotoStack, MotoWorld
from stepbridge.memory.clock import VirtualClock
from stepbridge.ports import Outgoing
from tests.integration.test_aws_entry import LambdaLike

START = datetime(2025, 1, 1, tzinfo=UTC)
SECRET = "4111-1111"


class Bench:
    """One app in moto, observed; time passes by hand."""

    def __init__(self, app: App, world: MotoWorld, clock: VirtualClock) -> None:
        self.clock = clock
        self.said: list[str] = []
        self.stack: MotoStack = world.stack(app)
        self.observer = Observer(app.id, self.said.append)
        made = ports(self.stack.settings, self.stack.counted.clients, clock, self.observer)
        self.stack.handler.close()
        self.stack.handler = Dispatcher(app, made, observer=self.observer)
        self.world = world
        self._calls = 0

    def put(self, name: str, /, **data: Any) -> None:
        """An event."""
        self.world.bus.put_raw([{"DetailType": name, "Source": "test", "Detail": json.dumps(data)}])

    def deliver(self) -> None:
        """All that is there now, a message an invocation."""
        self.stack.timers.fire_due()
        while messages := self.stack.queue.receive(1):
            self._calls += 1
            self.stack.invoke(messages, f"request-{self._calls}")

    def pass_time(self, duration: timedelta) -> None:
        """Time passes."""
        self.clock.move_to(self.clock.now() + duration)
        self.deliver()

    def totals(self) -> dict[str, Counter[str]]:
        """What was counted, by function."""
        found: dict[str, Counter[str]] = {}
        for row in map(json.loads, self.said):
            (told,) = row["_aws"]["CloudWatchMetrics"]
            assert (told["Namespace"], told["Dimensions"], row["app"]) == (NAMESPACE, [["app", "function"]], "shop")
            for metric in told["Metrics"]:
                found.setdefault(row["function"], Counter())[metric["Name"]] += int(sum(row[metric["Name"]]))
        return found


@pytest.fixture
def clock() -> VirtualClock:
    """Of the world and of moto."""
    return VirtualClock(START)


@pytest.fixture
def world(clock: VirtualClock) -> Iterator[MotoWorld]:
    """An account without apps."""
    with MotoWorld(clock=clock) as world:
        yield world


def shop() -> App:
    """A function of each kind of ending."""
    app = App("shop")

    @app.function("pay", trigger=event("order/created"), retries=1)
    async def pay(ctx: Context) -> None:
        ctx.logger.info("begun")
        await ctx.step.run("first", tell, ctx)
        ctx.logger.info("paid with %s", "a card")
        await ctx.step.sleep("nap", "20m")
        ctx.logger.info("woken")

    @app.function("refuse", trigger=event("order/refused"), retries=1)
    def refuse(ctx: ContextSync) -> None:
        ctx.step.run("flaky", int, ctx.event.data["card"])

    @app.function("übrig", trigger=event("order/left"))
    def left(ctx: ContextSync) -> None:
        ctx.step.sleep("nap", "1h")

    def tell(ctx: Context) -> None:
        ctx.logger.warning("in the step")

    return app


# -- metrics -------------------------------------------------------------------------------------------
def test_endings_retries_and_lateness_are_counted_for_each_function(world: MotoWorld, clock: VirtualClock) -> None:
    """By app and function, and nothing else; a wake that is late tells by how much."""
    bench = Bench(shop(), world, clock)
    bench.put("order/created")
    bench.put("order/refused", card=SECRET)
    bench.put("order/left")
    bench.deliver()
    (left,) = [item["pk"] for item in bench.stack.table.items() if item.get("fn") == "übrig"]
    bench.stack.readable.queue.send([Outgoing(body=message_text(Cancel(run_id=str(left)[2:], reason="test")))])
    bench.pass_time(timedelta(minutes=19, seconds=59))
    bench.pass_time(timedelta(seconds=4))
    totals = bench.totals()
    assert totals["pay"] == Counter(RunsStarted=1, RunsCompleted=1, TimerLateness=3000)
    assert totals["refuse"]["RunsStarted"] == totals["refuse"]["RunsFailed"] == totals["refuse"]["StepRetries"] == 1
    assert totals["\\xfcbrig"] == Counter(RunsStarted=1, RunsCancelled=1)


def test_a_message_that_meets_a_lease_is_counted(world: MotoWorld, clock: VirtualClock) -> None:
    """By the function of the run that another invocation holds."""
    bench = Bench(shop(), world, clock)
    bench.put("order/left")
    (message,) = bench.stack.queue.receive(1)
    batch = bench.stack.queue.event([message])
    bench.stack.handler(batch, LambdaLike())
    (head,) = [item for item in bench.stack.table.items() if "fn" in item]
    store, until = Store(bench.stack.readable.table), START + timedelta(minutes=9)
    store.claim(str(head["pk"])[2:], birth=None, holder="another", deadline=until, now=START)
    bench.stack.handler(batch, LambdaLike())
    assert bench.totals()["\\xfcbrig"] == Counter(RunsStarted=1, LeaseBounces=1)


def test_a_wait_without_an_equality_is_counted_when_it_is_armed(world: MotoWorld, clock: VirtualClock) -> None:
    """Once each, a canceller too; not the ones that the index finds by a value, nor one that is armed again."""
    app = App("shop")

    @app.function("f", trigger=event("go"), cancel=[Cancelled("stop", if_exp="async.data.level > 3")])
    def handler(ctx: ContextSync) -> None:
        ctx.step.wait_for_event("scan", event="paid", if_exp="async.data.total > 100", timeout="1h")
        ctx.step.wait_for_event("keyed", event="paid", match="data.k", timeout="1h")
        ctx.step.wait_for_event("both", event="paid", if_exp="async.data.k == event.data.k", timeout="1h")

    bench = Bench(app, world, clock)
    bench.put("go", k=1)
    bench.deliver()
    bench.pass_time(timedelta(minutes=30))
    assert bench.totals()["f"]["ScanWaits"] == 2
    bench.pass_time(timedelta(minutes=31))
    bench.pass_time(timedelta(minutes=61))
    assert bench.totals()["f"]["ScanWaits"] == 2


def test_an_invocation_without_news_says_nothing(world: MotoWorld, clock: VirtualClock) -> None:
    """Not even an empty line."""
    bench = Bench(shop(), world, clock)
    bench.stack.handler({"Records": []}, LambdaLike())
    assert bench.said == []


# -- lines ---------------------------------------------------------------------------------------------
@pytest.fixture
def bench(world: MotoWorld, clock: VirtualClock) -> Iterator[Bench]:
    """The shop, its log as JSON."""
    made = Bench(shop(), world, clock)
    undo = log_as_json("shop", "INFO", made.observer)
    yield made
    undo()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What was printed."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_each_line_carries_all_ids(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """Of function, run, event, message and request, and in a step of step and attempt; a replay says nothing."""
    bench.put("order/created", card=SECRET)
    bench.deliver()
    bench.pass_time(timedelta(minutes=30))
    begun, step, paid, woken = lines(capsys)
    assert [one["message"] for one in (begun, step, paid, woken)] == [
        "begun",
        "in the step",
        "paid with a card",
        "woken",
    ]
    (head,) = [item for item in bench.stack.table.items() if "fn" in item]
    event_id = json.loads(str(head["ev"]))[1]
    for one in (begun, step, paid, woken):
        assert (one["service"], one["function_id"], one["event_id"]) == ("shop", "pay", event_id)
        assert one["run_id"] == str(head["pk"])[2:]
        assert one["message_id"]
    assert (step["level"], step["step_id"], step["attempt"]) == ("WARNING", "first", 0)
    assert "step_id" not in begun
    assert (begun["function_request_id"], woken["function_request_id"]) == ("request-1", "request-2")
    assert begun["message_id"] != woken["message_id"]


def test_payloads_are_in_no_line(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that fails over its data says nothing of it; that is in the run's record."""
    bench.put("order/refused", card=SECRET)
    bench.deliver()
    bench.pass_time(timedelta(minutes=30))
    assert bench.totals()["refuse"]["RunsFailed"] == 1
    assert SECRET not in capsys.readouterr().out


def test_the_log_is_put_back_as_it_was(bench: Bench) -> None:
    """A process that goes on has its own handlers again."""
    before = logging.getLogger("stepbridge").handlers[:-1]
    undo = log_as_json("shop", "ERROR", bench.observer)
    undo()
    logger = logging.getLogger("stepbridge")
    assert (logger.handlers[:-1], logger.level) == (before, logging.INFO)
