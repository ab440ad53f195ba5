"""The engine's own rules, message by message, on the memory backend."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepbridge import App, Context, ContextSync, event, invoke_only
from stepbridge.core.ids import run_id, step_key
from stepbridge.core.instants import to_ms
from stepbridge.core.keys import head_key
from stepbridge.core.limits import HAND_OVER_MARGIN, INVOCATION, MAX_RECEIVES, RESEND_AT_RECEIVE
from stepbridge.core.messages import Cancel, Go, Item, Resume, Start, Tick, Work, message_text
from stepbridge.core.records import EventRecord, Head, Kind, MapItem, Mark, Parent, Register, Status
from stepbridge.engine.answers import Invocation
from stepbridge.engine.engine import Engine
from stepbridge.engine.reader import Reader
from stepbridge.engine.rule import wants
from stepbridge.engine.store import Store
from stepbridge.engine.workers import Workers
from stepbridge.function import TypedTrigger
from stepbridge.memory.billing import item_bytes
from stepbridge.memory.clock import VirtualClock
from stepbridge.memory.world import World
from stepbridge.ports import Entry, Message, Outgoing
from stepbridge.views import RunView
from tests.faults.order import noted, place
from tests.waits.bench import HurriedLoop

START = datetime(2025, 1, 1, tzinfo=UTC)
GO = EventRecord(name="go", id="e", ts=to_ms(START), source="test", data="{}")


class Bench:
    """One app on one stack; messages are handed to the engine one by one."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.clock = VirtualClock(START)
        self.world = World(clock=self.clock)
        self.stack = self.world.stack(app.id, lambda entry: wants(app, entry.name))
        self.workers = Workers(blocking=False)
        self.loop = HurriedLoop()
        self.invocations = 0

    def close(self) -> None:
        """Ends its threads and its loop."""
        self.workers.close()
        self.loop.close()

    def put(self, name: str, data: str = "{}") -> None:
        """An event on the bus."""
        self.world.bus.put([Entry(name=name, source="test", detail=data)])

    def tell(self, work: Work) -> None:
        """A message of the engine to itself."""
        self.stack.queue.send([Outgoing(body=message_text(work))])

    def receive(self) -> Message:
        """The one message that is there."""
        (message,) = self.stack.queue.receive(1)
        return message

    def handle(self, message: Message, *, seconds: float = INVOCATION.total_seconds(), dies: bool = False) -> bool:
        """Whether the message was acknowledged."""
        self.invocations += 1
        engine = Engine(self.app, self.stack.ports, self.workers)
        deadline = self.clock.now() + timedelta(seconds=seconds)
        invocation = Invocation(id=f"i{self.invocations}", deadline=deadline)
        back = self.loop.run_until_complete(engine.handle_all([message], invocation=invocation))
        if not back and not dies:
            self.stack.queue.acknowledge([message])
        return not back

    def step(self) -> bool:
        """Receives a message and handles it."""
        return self.handle(self.receive())

    def run(self, function_id: str = "f") -> RunView:
        """The latest run."""
        reader = Reader(self.stack.ports)
        heads = [item for item in self.stack.table.items() if item["sk"] == "#" and item["fn"] == function_id]
        view = reader.run(str(heads[-1]["pk"])[2:])
        assert view is not None
        return view


@pytest.fixture
def benches() -> Iterator[list[Bench]]:
    made: list[Bench] = []
    yield made
    for bench in made:
        bench.close()


def of(benches: list[Bench], app: App) -> Bench:
    benches.append(Bench(app))
    return benches[-1]


def one_step_app(*, effects: list[str] | None = None) -> App:
    app = App("a")
    noted = [] if effects is None else effects

    def note() -> str:
        noted.append("s")
        return "done"

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> str:
        return await ctx.step.run("s", note)

    return app


def begun_elsewhere(bench: Bench, lease_until: datetime) -> str:
    """The id of a run that another invocation holds."""
    bench.put("go")
    bench.step()
    run_id = bench.run().run_id
    item = bench.stack.table.get(head_key(run_id))
    assert item is not None
    bench.stack.table.put({**item, "st": "RUNNING", "lx": to_ms(lease_until)})
    return run_id


class TestLease:
    """Only one invocation advances a run."""

    def test_a_message_that_meets_a_held_lease_comes_back(self, benches: list[Bench]) -> None:
        """Never acknowledged, never traded for a flag; it is hidden for a growing while."""
        bench = of(benches, one_step_app())
        bench.put("go")
        start = bench.receive()
        bench.handle(start, dies=True)
        run = bench.run()
        key = head_key(run.run_id)
        item = bench.stack.table.get(key)
        assert item is not None
        lease_ms = int((START + timedelta(seconds=122)).timestamp() * 1000)
        bench.stack.table.put({**item, "st": "RUNNING", "lx": lease_ms})
        bench.tell(Go(run_id=run.run_id, why="test"))
        assert bench.step() is False
        assert bench.stack.queue.receive(1) == []
        bench.clock.move_to(START + timedelta(seconds=1))
        assert bench.receive().receives == 2

    def test_a_wake_received_too_often_is_sent_anew(self, benches: list[Bench]) -> None:
        """So that no live wake reaches the dead-letter queue by bouncing."""
        bench = of(benches, one_step_app())
        bench.put("go")
        bench.handle(bench.receive(), dies=True)
        run = bench.run()
        item = bench.stack.table.get(head_key(run.run_id))
        assert item is not None
        bench.stack.table.put({**item, "st": "RUNNING", "lx": int((START + timedelta(minutes=2)).timestamp() * 1000)})
        body = message_text(Go(run_id=run.run_id, why="test"))
        worn = Message(id="m", body=body, receipt="r", receives=RESEND_AT_RECEIVE, internal=True)
        assert bench.handle(worn, dies=True) is True
        assert all(message.body != body for message in bench.stack.queue.receive(10))  # it would only bounce again
        bench.clock.move_to(START + timedelta(minutes=2))
        fresh = [message for message in bench.stack.queue.receive(10) if message.body == body]
        assert [message.receives for message in fresh] == [1]

    def test_no_wake_of_a_run_that_is_held_for_hours_is_given_up(self, benches: list[Bench]) -> None:
        """It bounces more often than the queue lets any message come back."""
        bench = of(benches, one_step_app())
        run_id = begun_elsewhere(bench, START + timedelta(hours=9))
        bench.tell(Go(run_id=run_id, why="test"))
        for _ in range(MAX_RECEIVES + 1):
            at = bench.stack.queue.next_at()
            assert at is not None
            bench.clock.move_to(at)
            bench.step()
        assert bench.stack.queue.dead == []

    def test_a_message_of_the_bus_received_too_often_stays_one(self, benches: list[Bench]) -> None:
        """Sent anew it would be one of the engine's own, and unreadable: the other app's reply would be lost."""
        bench = of(benches, one_step_app())
        run_id = begun_elsewhere(bench, START + timedelta(minutes=2))
        reply = json.dumps({"parent": [run_id, step_key("other", 0), "other", 0], "output": "1", "error": None})
        bench.put("stepbridge/reply.a", reply)
        worn = replace(bench.receive(), receives=RESEND_AT_RECEIVE)
        assert bench.handle(worn) is False
        assert bench.stack.queue.depth() == (0, 1)
        bench.clock.move_to(START + timedelta(minutes=1))
        assert bench.receive().body == worn.body

    @pytest.mark.parametrize(("lease_seconds", "back_seconds"), [(5, 5), (120, 60)])
    def test_a_worn_message_is_tried_within_a_minute_and_by_the_lease_s_end(
        self, lease_seconds: int, back_seconds: int, benches: list[Bench]
    ) -> None:
        """However often it has come back: a run that is free again does not wait for its wake."""
        bench = of(benches, one_step_app())
        run_id = begun_elsewhere(bench, START + timedelta(seconds=lease_seconds))
        bench.tell(Go(run_id=run_id, why="test"))
        assert bench.handle(replace(bench.receive(), receives=RESEND_AT_RECEIVE - 1)) is False
        assert bench.stack.queue.next_at() == START + timedelta(seconds=back_seconds)

    def test_a_message_that_is_handled_twice_at_a_time_takes_the_lease_once(self, benches: list[Bench]) -> None:
        """A second delivery of the same message is another invocation's, and meets the lease of the first."""
        bench = of(benches, one_step_app())
        run_id = begun_elsewhere(bench, START - timedelta(seconds=1))
        bench.tell(Go(run_id=run_id, why="test"))
        wake = bench.receive()
        assert bench.handle(wake, dies=True) is True
        item = bench.stack.table.get(head_key(run_id))
        assert item is not None
        bench.stack.table.put({**item, "st": "RUNNING", "lx": to_ms(START + INVOCATION)})
        assert bench.handle(wake) is False

    @pytest.mark.parametrize("sleeps", [False, True])
    def test_who_has_lost_the_lease_writes_no_head_and_keeps_its_message(
        self, benches: list[Bench], *, sleeps: bool
    ) -> None:
        """Whatever it came to: the run is another invocation's, and this message comes back to see."""
        app = App("a")

        def lose() -> None:
            item = table.get(key)
            assert item is not None
            table.put({**item, "ep": 2, "ho": "another"})

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            await ctx.step.run("s", lose)
            if sleeps:
                await ctx.step.sleep("z", "1h")

        bench = of(benches, app)
        table, key = bench.stack.table, head_key(run_id("a", "f", "go", "e"))
        bench.tell(Start(run_id=key.pk[2:], function_id="f", event=GO, created_at=START))
        assert bench.step() is False
        assert bench.run().status == "RUNNING"

    def test_a_message_twice_in_one_batch_is_handled_once(self, benches: list[Bench]) -> None:
        """Copies share the id, so both would take the lease for their own: the step would run twice at a time."""
        effects: list[str] = []
        bench = of(benches, one_step_app(effects=effects))
        bench.put("go")
        message = bench.receive()
        engine = Engine(bench.app, bench.stack.ports, bench.workers)
        invocation = Invocation(id="i", deadline=START + INVOCATION)
        batch = [message, replace(message, receipt="the copy's")]
        assert bench.loop.run_until_complete(engine.handle_all(batch, invocation=invocation)) == []
        assert effects == ["s"]
        assert bench.run().status == "COMPLETED"

    def test_a_wake_for_a_run_that_is_gone_is_forgotten(self, benches: list[Bench]) -> None:
        """Only a start message creates a run."""
        bench = of(benches, one_step_app())
        bench.tell(Go(run_id="nobody", why="test"))
        assert bench.step() is True
        assert bench.stack.table.items() == []

    def test_an_item_of_a_run_that_is_gone_is_forgotten(self, benches: list[Bench]) -> None:
        """Its records have expired: nobody waits for what the item would come to."""
        bench = of(benches, one_step_app())
        item = MapItem(index=0, count=1, lanes=0, source="", target="")
        parent = Parent(run_id="nobody", step_key=step_key("m", 0), step_id="m", occurrence=0, item=item)
        bench.tell(Item(parent=parent, target="builtins:abs", value="1", max_attempts=1))
        assert bench.step() is True
        assert bench.stack.table.items() == []

    def test_a_message_that_a_run_does_not_wait_for_is_forgotten(self, benches: list[Bench]) -> None:
        """Its start, where it sleeps; a wake, where it waits for a person: nothing of them is left in the queue."""
        app = App("a")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            await ctx.step.sleep("z", "10m")

        bench = of(benches, app)
        bench.put("go")
        start = bench.receive()
        bench.handle(start)
        assert bench.handle(start) is True
        bench.app = App("a")
        bench.clock.move_to(START + timedelta(minutes=10))
        bench.step()
        assert bench.run().status == "PARKED"
        bench.tell(Go(run_id=bench.run().run_id, why="test"))
        assert bench.step() is True
        assert bench.stack.queue.depth() == (0, 0)

    def test_a_wake_meanwhile_does_not_bring_the_body_s_next_attempt_forward(self, benches: list[Bench]) -> None:
        """A signal's or a child's that came late: the timer of the attempt still comes."""
        app, attempts = App("a"), []

        @app.function("f", trigger=event("go"), retries=1)
        async def handler(ctx: Context) -> None:
            attempts.append(ctx.attempt)
            raise ValueError("out of order")

        bench = of(benches, app)
        bench.put("go")
        bench.step()
        bench.tell(Go(run_id=bench.run().run_id, why="test"))
        assert bench.step() is True
        assert (attempts, bench.run().status) == ([0], "SLEEPING")
        at = bench.stack.queue.next_at()
        assert at is not None
        bench.clock.move_to(at)
        assert bench.step() is True
        assert (attempts, bench.run().status) == ([0, 1], "FAILED")

    def test_a_wake_long_before_its_time_is_sent_again_and_again(self, benches: list[Bench]) -> None:
        """The queue keeps a message back for 15 minutes at most."""
        bench = of(benches, one_step_app())
        bench.tell(Go(run_id="r", why="timer", due_at=START + timedelta(hours=1)))
        assert bench.step() is True
        assert bench.stack.queue.next_at() == START + timedelta(minutes=15)

    def test_a_wake_before_its_time_claims_nothing(self, benches: list[Bench]) -> None:
        """It is sent again with the rest of the delay."""
        bench = of(benches, one_step_app())
        bench.tell(Go(run_id="r", why="timer", due_at=START + timedelta(seconds=90)))
        assert bench.step() is True
        assert bench.stack.requests["UpdateItem"] == 0
        assert bench.stack.queue.next_at() == START + timedelta(seconds=90)


class BrokenTrigger(TypedTrigger[Any]):
    """Fails at every event."""

    def takes(self, event: Mapping[str, Any]) -> bool:
        """Raises."""
        raise RuntimeError("broken")


class TestPoison:
    """What cannot be handled is kept with a reason, and stops nobody else."""

    @pytest.mark.parametrize(
        "body", ["", "no json", "[]", '{"detail-type": "x", "detail": []}', "1" * 5000, "{" * 3000]
    )
    def test_what_is_no_event_goes_to_the_dead_letter_queue(self, benches: list[Bench], body: str) -> None:
        """With its body and the reason."""
        bench = of(benches, one_step_app())
        bench.stack.queue.deliver(body or " ", internal=False)
        assert bench.step() is True
        ((message, reason),) = bench.stack.queue.dead
        assert message.body == (body or " ")
        assert reason

    def test_an_event_cannot_pass_for_a_message_of_the_engine(self, benches: list[Bench]) -> None:
        """Its data may say what it likes."""
        bench = of(benches, one_step_app())
        bench.put("go", message_text(Cancel(run_id="r", reason="spoofed")))
        assert bench.step() is True
        assert bench.run().status == "COMPLETED"

    def test_a_trigger_that_fails_stops_no_other_function(
        self, benches: list[Bench], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nor does the event come back for it for ever; the log names it."""
        app = one_step_app()

        @app.function("broken", trigger=BrokenTrigger(name="go"))
        async def handler(ctx: Context) -> None:
            """Never begins."""

        bench = of(benches, app)
        bench.put("go")
        assert bench.step() is True
        assert bench.run("f").status == "COMPLETED"
        assert "of function broken failed" in caplog.text

    def test_a_wait_s_expression_that_fails_stops_no_other_wait(
        self, benches: list[Bench], caplog: pytest.LogCaptureFixture
    ) -> None:
        """One written by an older version, say; the log names the wait and its run, and nothing of the event."""
        app = App("a")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            await ctx.step.wait_for_event("w", event="paid", timeout="1h", if_exp="async.data.k == 1")

        bench = of(benches, app)
        for _ in range(2):
            bench.put("go")
            bench.step()
        broken, _ = [item for item in bench.stack.table.items() if str(item["pk"]).startswith("W#")]
        bench.stack.table.put({**broken, "ex": "async.data.("})
        bench.put("paid", '{"k": 1, "word": "xyzzy"}')
        assert bench.step() is True
        waits = [item for item in bench.stack.table.items() if str(item["pk"]).startswith("W#")]
        assert [item["sk"] for item in waits] == [broken["sk"]]
        assert f"of run {str(broken['sk']).partition('#')[0]} failed" in caplog.text
        assert "xyzzy" not in caplog.text

    def test_a_run_that_kills_its_sandbox_is_parked_and_resumes(self, benches: list[Bench]) -> None:
        """Five claims without a record; its state is kept, and `resume` goes on."""
        bench = of(benches, one_step_app())
        bench.put("go")
        start = bench.receive()
        for _ in range(5):  # as a killed sandbox leaves it: claimed, and nothing else
            claim(bench, "go")
            bench.clock.move_to(bench.clock.now() + timedelta(minutes=3))
        assert bench.handle(start) is True
        assert bench.run().status == "PARKED"
        error = bench.run().error
        assert error is not None
        assert "crash loop" in error["message"]
        bench.tell(Resume(run_id=bench.run().run_id))
        assert bench.step() is True
        assert bench.run().status == "COMPLETED"

    def test_a_run_that_gets_on_is_not_parked_however_often_it_is_killed(self, benches: list[Bench]) -> None:
        """Four times before a record and four times after it: five in a row is what parks."""
        bench = of(benches, one_step_app())
        bench.put("go")
        start = bench.receive()
        for killed in range(9):
            claim(bench, "go")
            if killed == 4:  # this one came to a record
                done = Register(
                    key=step_key("s", 0),
                    step_id="s",
                    kind=Kind.RUN,
                    mark=Mark.OK,
                    value='"done"',
                    order=(killed + 1, 0),
                    started_at=START,
                    ended_at=START,
                )
                Store(bench.stack.table).put_register(bench.run().run_id, done)
            bench.clock.move_to(bench.clock.now() + timedelta(minutes=3))
        assert bench.handle(start) is True
        assert (bench.run().status, bench.run().output) == ("COMPLETED", "done")

    def test_a_function_that_is_gone_parks_its_runs(self, benches: list[Bench]) -> None:
        """A deploy that brings it back, and `resume`, finish them."""
        app = App("a")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> str:
            await ctx.step.sleep("z", "1m")
            return "done"

        bench = of(benches, app)
        bench.put("go")
        bench.step()
        bench.app = App("a")
        bench.clock.move_to(START + timedelta(minutes=1))
        bench.step()
        assert bench.run().status == "PARKED"
        bench.app = app
        bench.tell(Resume(run_id=bench.run().run_id))
        bench.step()
        assert bench.run().output == "done"


def claim(bench: Bench, name: str) -> None:
    """Claims the run of the function `f` as an invocation does that is then killed."""
    envelope = bench.world.bus
    assert envelope is not None
    event_id = next(iter(bench.world.bus.log))[1]
    assert event_id.name == name
    start = bench.clock.now()
    run = run_id("a", "f", name, "fb378474-af59-53be-c611-fcb2602c5b61")
    head = Head(
        run_id=run,
        function_id="f",
        status=Status.RUNNING,
        event=EventRecord(name=name, id="x", ts=0, source="test", data="{}"),
        created_at=start,
    )
    Store(bench.stack.table).claim(run, birth=head, holder=str(start), deadline=start + timedelta(minutes=2), now=start)


class TestHandOver:
    """Before the invocation's deadline the run goes on in the next one, each step once."""

    def test_an_async_run_hands_over(self, benches: list[Bench], monkeypatch: pytest.MonkeyPatch) -> None:
        """What is recorded stands; a step that was cut off runs again."""
        monkeypatch.setattr("stepbridge.engine.async_replay.HAND_OVER_GRACE", timedelta(0))
        app = App("a")
        effects: list[str] = []

        async def quick() -> None:
            effects.append("quick")

        async def long() -> None:
            effects.append("long")
            if effects.count("long") == 1:
                bench.loop.ahead += 60
                await asyncio.sleep(3600)

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> str:
            await asyncio.gather(ctx.step.run("quick", quick), ctx.step.run("long", long))
            return "done"

        bench = of(benches, app)
        bench.put("go")
        assert bench.handle(bench.receive(), seconds=HAND_OVER_MARGIN.total_seconds() + 60) is True
        assert bench.run().status == "SLEEPING"
        assert bench.step() is True
        assert bench.run().status == "COMPLETED"
        assert effects.count("quick") == 1
        assert effects.count("long") == 2

    def test_the_message_that_goes_on_is_sent_before_the_run_is_let_go(self, benches: list[Bench]) -> None:
        """Triggers first, then the head: nobody ever sees a run asleep that nothing will wake."""
        bench = of(benches, one_step_app())
        asked: list[str] = []
        bench.stack = replace(bench.stack, ports=noted(bench.stack.ports, asked))
        bench.put("go")
        assert bench.handle(bench.receive(), seconds=HAND_OVER_MARGIN.total_seconds() - 1) is True
        assert place(asked, "send ", '"continue"') < place(asked, "update ", "SLEEPING")

    def test_a_sync_run_hands_over_between_steps(self, benches: list[Bench]) -> None:
        """No step begins without time for it."""
        app = App("a")
        effects: list[int] = []

        @app.function("f", trigger=event("go"))
        def handler(ctx: ContextSync) -> int:
            for number in range(3):
                ctx.step.run(f"s{number}", effects.append, number)
            return len(effects)

        bench = of(benches, app)
        bench.put("go")
        assert bench.handle(bench.receive(), seconds=HAND_OVER_MARGIN.total_seconds() - 1) is True
        assert effects == []
        assert bench.step() is True
        assert bench.run().output == 3

    def test_a_wait_of_the_handler_s_own_that_never_ends_fails_the_run(self, benches: list[Bench]) -> None:
        """Three invocations without a record; the error names the line."""
        app = App("a")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            bench.loop.ahead += 60
            await asyncio.sleep(3600)

        bench = of(benches, app)
        bench.put("go")
        for _ in range(3):
            bench.handle(bench.receive(), seconds=HAND_OVER_MARGIN.total_seconds() + 60)
        error = bench.run().error
        assert error is not None
        assert error["name"] == "HandOverLoopError"
        assert __file__ in error["message"]

    def test_a_suspension_between_two_of_them_counts_anew(self, benches: list[Bench]) -> None:
        """Two invocations are lost to the handler's own wait, the run sleeps, and two more are lost."""
        app = App("a")
        bodies: list[int] = []

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> str:
            bodies.append(len(bodies))
            if bodies[-1] in {0, 1}:
                await too_long()
            await ctx.step.sleep("z", "1m")
            if bodies[-1] in {3, 4}:
                await too_long()
            return "done"

        async def too_long() -> None:
            bench.loop.ahead += 60
            await asyncio.sleep(3600)

        bench = of(benches, app)
        bench.put("go")
        for minute in (0, 0, 0, 1, 1, 1):
            bench.clock.move_to(START + timedelta(minutes=minute))
            bench.handle(bench.receive(), seconds=HAND_OVER_MARGIN.total_seconds() + 60)
        assert bench.run().output == "done"


class TestEnding:
    """Terminal states absorb everything."""

    def test_the_world_is_told_of_an_end_once(self, benches: list[Bench]) -> None:
        """However often the message that led there is delivered."""
        app = App("a")

        @app.function("f", trigger=event("go"), retries=0)
        async def handler(ctx: Context) -> None:
            raise ConnectionError

        bench = of(benches, app)
        bench.put("go")
        start = bench.receive()
        for _ in range(3):
            assert bench.handle(start, dies=True) is True
        assert [entry.name for _, entry in bench.world.bus.log] == ["go", "stepbridge/function.failed"]

    def test_a_cancel_before_the_start_holds(self, benches: list[Bench]) -> None:
        """Run ids are known before the run is; it then never runs."""
        bench = of(benches, one_step_app())
        bench.put("go")
        start = bench.receive()
        identity = run_id("a", "f", "go", "fb378474-af59-53be-c611-fcb2602c5b61")
        bench.tell(Cancel(run_id=identity, reason="too early"))
        assert bench.step() is True
        assert bench.handle(start) is True
        view = Reader(bench.stack.ports).run(identity)
        assert view is not None
        assert view.status == "CANCELLED"
        assert len(view.steps) == 0

    def test_a_redelivered_end_tells_the_parent_again(self, benches: list[Bench]) -> None:
        """The child ended and its invocation died before the parent heard of it."""
        app = App("a")

        @app.function("child", trigger=invoke_only())
        async def child(ctx: Context) -> int:
            return 7

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> int:
            return await ctx.step.invoke("c", function=child)

        bench = of(benches, app)
        bench.put("go")
        bench.step()
        start_of_child = bench.receive()
        bench.handle(start_of_child, dies=True)
        bench.stack.queue.acknowledge([bench.receive()])  # the wake is lost with its sender
        registers = [item for item in bench.stack.table.items() if str(item["sk"]).startswith("S#")]
        for item in registers:
            bench.stack.table.delete(head_key("x"))
            bench.stack.table.delete(type(head_key("x"))(str(item["pk"]), str(item["sk"])))
        bench.clock.move_to(START + timedelta(minutes=5))
        while bench.stack.queue.next_at() is not None:
            bench.clock.move_to(max(bench.clock.now(), bench.stack.queue.next_at() or START))
            bench.step()
        assert bench.run().output == 7

    def test_a_tick_told_twice_starts_one_run(self, benches: list[Bench]) -> None:
        """One run for each scheduled time, whenever it is told; its event bears that time."""
        bench = of(benches, one_step_app())
        for seconds in (1, 2):
            bench.clock.move_to(START + timedelta(seconds=seconds))
            bench.tell(Tick(function_id="f", at=START))
            bench.step()
        heads = [item for item in bench.stack.table.items() if item["sk"] == "#"]
        assert len(heads) == 1
        assert bench.run().event.ts == to_ms(START)


class TestSizes:
    """The head stays under 1 KB, because every update is billed on all of it."""

    def test_a_head_with_large_data_and_output_is_small(self, benches: list[Bench]) -> None:
        """Both are kept beside it."""
        app = App("a")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> dict[str, Any]:
            await ctx.step.sleep("z", "1m")
            return {"length": len(ctx.event.data["text"]), "text": ctx.event.data["text"]}

        bench = of(benches, app)
        bench.put(
            "go",
            '{"text": "' + "".join(chr(33 + n * n % 60) for n in range(3000)).replace("\\", "").replace('"', "") + '"}',
        )
        bench.step()
        bench.clock.move_to(START + timedelta(minutes=1))
        bench.step()
        view = bench.run()
        assert view.output["length"] == len(view.output["text"])
        item = bench.stack.table.get(head_key(view.run_id))
        assert item is not None
        assert item_bytes(item) < 1024


class TestTrace:
    """One trace goes through all that an event sets off."""

    def test_children_sent_events_and_system_events_bear_the_trace(self, benches: list[Bench]) -> None:
        """W3C's traceparent, as the event brought it."""
        app = App("a", publish_finished=True)
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

        @app.function("child", trigger=invoke_only())
        async def child(ctx: Context) -> None:
            await ctx.step.send_event("s", {"name": "out"})

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            await ctx.step.invoke("c", function=child)

        bench = of(benches, app)
        bench.put("go", f'{{"_stepbridge": {{"id": "x", "ts": 0, "tp": "{trace}"}}}}')
        while bench.stack.queue.depth()[0]:
            bench.step()
        assert bench.run().status == "COMPLETED"
        told = [entry for _, entry in bench.world.bus.log if entry.name != "go"]
        assert {entry.name for entry in told} == {"out", "stepbridge/function.finished"}
        assert all(f'"tp":"{trace}"' in entry.detail for entry in told)
