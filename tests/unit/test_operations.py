"""What clients do with runs, over the memory backend: reruns, and the list of runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from stepbridge import (
    App,
    Cancel,
    ConfigError,
    Context,
    EventMatch,
    NonRetriableError,
    RetryAfterError,
    current_step,
    event,
    invoke_only,
)
from stepbridge.core.history import history_of
from stepbridge.core.instants import to_ms
from stepbridge.core.items import armed_of, armed_text
from stepbridge.core.limits import RETENTION, RUN_MAX
from stepbridge.core.records import RERUN, ArmedWait, Blob, Kind, Mark, Register
from stepbridge.engine.operations import Operations, UnknownError, new_run_id
from stepbridge.engine.store import Store
from stepbridge.memory.clock import VirtualClock
from stepbridge.memory.world import Stack, World
from stepbridge.testing import RunView, Simulation

START = datetime(2025, 1, 1, tzinfo=UTC)
LARGE = "".join(chr(0x4E00 + n * 7919 % 20_000) for n in range(20_000))
"""Too large for an item even when it is compressed."""


def stack_of(sim: Simulation) -> Stack:
    """The one app's stack."""
    stack: Stack = sim._sites[0].stack
    return stack


def operations_of(sim: Simulation, *function_ids: str) -> Operations:
    return Operations("a", stack_of(sim).ports, function_ids)


def rerun(sim: Simulation, run: RunView, from_step: str | None = None, chance: str = "1") -> RunView:
    """The rerun, once nothing is pending; events that it waits for are not sent."""
    operations = operations_of(sim)
    run_id = operations.rerun(run.run_id, new_run_id(run.run_id, chance), from_step)
    assert operations.get_run(run_id).status == "QUEUED"
    sim.run_until_idle()
    return operations.get_run(run_id)


class Journey:
    """An app whose one function has every kind of record, in an order that is not that of the calls."""

    def __init__(self) -> None:
        self.app = App("a")
        self.effects: list[str] = []
        self.fails = False

        @self.app.function("child", trigger=invoke_only())
        async def child(ctx: Context) -> int:
            return 42

        @self.app.function("journey", trigger=event("go"))
        async def journey(ctx: Context) -> list[Any]:
            order: list[Any] = []

            async def nap(step_id: str, duration: str) -> None:
                await ctx.step.sleep(step_id, duration)
                order.append(step_id)

            async def wait() -> None:
                paid = await ctx.step.wait_for_event("paid", event="paid", timeout="1h")
                order.append(None if paid is None else paid.data["by"])

            first = await ctx.step.run("first", self.effect, "first")
            await ctx.group.parallel((lambda: nap("long", "20m"), lambda: nap("short", "10m"), wait))
            cents = await ctx.step.invoke("price", function="child", data={})
            await ctx.step.sleep("rest", "1m")
            await ctx.step.run("last", self.last)
            return [first, *order, cents]

    def effect(self, what: str) -> str:
        """Something that must not happen twice."""
        self.effects.append(what)
        return what + LARGE

    def last(self) -> None:
        """Fails where it is told to."""
        self.effects.append("last")
        if self.fails:
            raise NonRetriableError("the bank says no")

    def play(self, sim: Simulation) -> RunView:
        """A run that has come to its end."""
        sim.send("go", {"n": 1, "text": LARGE})
        sim.advance("15m")
        sim.send("paid", {"by": "card"})
        sim.run_until_idle()
        return sim.run("journey")


class TestRerun:
    """A new run with the old one's event."""

    def test_a_rerun_does_everything_again(self) -> None:
        """Its id, its records and its effects are its own; the old run stays as it is."""
        journey = Journey()
        with Simulation(journey.app) as sim:
            run = journey.play(sim)
            again = rerun(sim, run)
            assert again.run_id != run.run_id
            assert again.event == run.event
            assert journey.effects == ["first", "last", "first", "last"]
            assert again.output == ["first" + LARGE, "short", "long", None, 42]
            assert operations_of(sim).get_run(run.run_id) == run

    @pytest.mark.parametrize("seed", [None, 1, 2])
    def test_records_before_the_step_stand_in_their_order(self, seed: int | None) -> None:
        """Sleeps and waits too: the output is the old run's, and only what comes after is done again."""
        journey = Journey()
        journey.fails = True
        with Simulation(journey.app, seed=seed) as sim:
            run = journey.play(sim)
            assert (run.status, list(run.steps)) == (
                "FAILED",
                ["first", "short", "paid", "long", "price", "rest", "last"],
            )
            journey.fails = False
            began = sim.now
            again = rerun(sim, run, "last")
            assert again.output == ["first" + LARGE, "short", "card", "long", 42]
            assert list(again.steps) == list(run.steps)
            assert journey.effects == ["first", "last", "last"]
            assert [again.steps[step] for step in list(run.steps)[:-1]] == list(run.steps.values())[:-1]
            assert sim.now - began < timedelta(minutes=1)

    def test_the_order_is_kept_by_the_second_pass_too(self) -> None:
        """A rerun of a rerun; and a rerun that replays its own records after those it was given."""
        journey = Journey()
        with Simulation(journey.app) as sim:
            run = journey.play(sim)
            again = rerun(sim, run, "price")
            third = rerun(sim, again, "rest", chance="2")
            expected = ["first" + LARGE, "short", "card", "long", 42]
            assert [run.output, again.output, third.output] == [expected] * 3
            assert journey.effects == ["first", "last", "last", "last"]
            assert sim._sites[0].store.head(third.run_id).extra == {RERUN: again.run_id}

    @pytest.mark.parametrize(("from_step", "kept"), [("first", 0), ("short", 1), ("paid", 2), ("long", 3), ("rest", 5)])
    def test_the_copies_rank_as_the_records_did(self, from_step: str, kept: int) -> None:
        """As epoch 0, whatever comes last; none of them is new to the run that is given them."""
        journey = Journey()
        with Simulation(journey.app) as sim:
            run = journey.play(sim)
            run_id = operations_of(sim).rerun(run.run_id, "new", from_step)
            past = Store(stack_of(sim).ports.table).past(run_id)
            history = history_of(past.registers, (), sim.now)
            ranked = sorted(history.ranked.values(), key=lambda hit: hit[0])
            assert [register.step_id for _, register in ranked] == list(run.steps)[:kept]
            assert history.unlisted == []
            assert {register.order[0] for register in past.registers if register.order} <= {0}

    def test_what_came_before_a_record_comes_before_it_again(self) -> None:
        """A race that an event has won is won by it in the rerun."""
        app = App("a")
        winners: list[str] = []

        def work_later() -> str:
            if not current_step().attempt:
                raise RetryAfterError("again", "10m")
            return "work"

        @app.function("f", trigger=event("go"))
        async def f(ctx: Context) -> None:
            order: list[str] = []

            async def wait() -> None:
                await ctx.step.wait_for_event("paid", event="paid", timeout="1h")
                order.append("paid")

            async def work() -> None:
                order.append(await ctx.step.run("work", work_later))

            await ctx.group.parallel((work, wait))
            await ctx.step.sleep("rest", "1m")
            await ctx.step.run("last", lambda: winners.append(order[0]))

        with Simulation(app) as sim:
            sim.send("go")
            sim.advance("5m")
            sim.send("paid")
            sim.run_until_idle()
            rerun(sim, sim.run("f"), "last")
            rerun(sim, sim.run("f"), "last", "2")
        assert winners == ["paid"] * 3

    def test_large_values_and_records_live_as_long_as_the_new_run(self) -> None:
        """Blobs are its own, and no copy expires with the old run."""
        journey = Journey()
        with Simulation(journey.app) as sim:
            run = journey.play(sim)
            sim.advance(timedelta(days=29))
            table = stack_of(sim).ports.table
            operations_of(sim).rerun(run.run_id, "new", "last")
            items = [item for item in stack_of(sim).table.items() if item["pk"] == "R#new" and item["sk"] != "#"]
            expires = to_ms(sim.now + RUN_MAX + RETENTION) // 1000
            assert {item["ttl"] for item in items} == {expires}
            store = Store(table)
            values = [register.value for register in store.past("new").registers]
            head = store.head("new")
            assert head is not None
            blobs = [value for value in (*values, head.event.data) if isinstance(value, Blob)]
            assert [blob.key.partition("/")[0] for blob in blobs] == ["new", "new"]

    def test_events_used_before_resolve_nothing_again(self) -> None:
        """An event that a kept wait has used comes once more: the next wait goes on waiting."""
        app = App("a")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> list[Any]:
            one = await ctx.step.wait_for_event("one", event="e", timeout="1h")
            two = await ctx.step.wait_for_event("two", event="e", timeout="1h")
            return [found and found.data for found in (one, two)]

        with Simulation(app) as sim:
            sim.send("go")
            sim.send("e", {"n": 1}, id="e-1")
            sim.run_until_idle()
            run_id = operations_of(sim).rerun(sim.run().run_id, "new", "two")
            sim.advance(0)
            sim.send("e", {"n": 1}, id="e-1")
            assert sim.run(run_id=run_id).steps["two"].status == "WAITING"
            sim.send("e", {"n": 2}, id="e-2")
            assert sim.run(run_id=run_id).output == [{"n": 1}, {"n": 2}]

    def test_a_step_that_has_no_result_keeps_all_results(self) -> None:
        """Of a run that waits, or was cancelled while it did; sleeps that were not over are not kept."""
        app = App("a")
        effects: list[int] = []

        @app.function("f", trigger=event("go"), cancel=[Cancel("stop")])
        async def handler(ctx: Context) -> None:
            await ctx.step.run("s", lambda: effects.append(1))

            async def nap() -> None:
                await ctx.step.sleep("nap", "10m")

            async def wait() -> None:
                await ctx.step.wait_for_event("w", event="e", timeout="1h")

            await ctx.group.parallel((nap, wait))

        with Simulation(app) as sim:
            sim.send("go")
            operations = operations_of(sim)
            run = sim.run()
            operations.rerun(run.run_id, "waiting", "w")
            operations.cancel(run.run_id)
            sim.advance("20m")
            operations.rerun(run.run_id, "cancelled", "nap")
            store = Store(stack_of(sim).ports.table)
            assert [register.step_id for register in store.past("cancelled").registers] == ["s"]
            sim.run_until_idle()
            assert [operations.get_run(name).status for name in ("waiting", "cancelled")] == ["COMPLETED"] * 2
            assert effects == [1]

    def test_an_unknown_step_names_the_known_ones(self) -> None:
        """In their order, each once; cancelling events are no steps."""
        journey = Journey()
        with Simulation(journey.app) as sim:
            run = journey.play(sim)
            known = "no step 'nope'; it has: first, short, paid, long, price, rest, last$"
            with pytest.raises(UnknownError, match=known):
                operations_of(sim).rerun(run.run_id, "new", "nope")
            assert operations_of(sim)._store.head("new") is None

    def test_an_unknown_run_is_named(self) -> None:
        """Nor is there anything to rerun of a run that was cancelled before it began."""
        with Simulation(App("a")) as sim:
            operations = operations_of(sim)
            for call in (operations.get_run, lambda run_id: operations.rerun(run_id, "new")):
                with pytest.raises(LookupError, match="no run 'nope'"):
                    call("nope")
            operations.cancel("early")
            sim.advance(0)
            with pytest.raises(UnknownError, match="cancelled before it began"):
                operations.rerun("early", "new")
            assert operations.get_run("early").status == "CANCELLED"

    def test_a_run_without_steps_says_so(self) -> None:
        """`none`."""
        app = App("a")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None: ...

        with Simulation(app) as sim:
            sim.send("go")
            with pytest.raises(UnknownError, match="it has: none"):
                operations_of(sim).rerun(sim.run().run_id, "new", "s")

    def test_a_rerun_that_has_begun_is_not_made_again(self) -> None:
        """A call repeated with the same new id starts nothing twice."""
        journey = Journey()
        with Simulation(journey.app) as sim:
            run = journey.play(sim)
            for _ in range(2):
                operations_of(sim).rerun(run.run_id, "new", "last")
                sim.run_until_idle()
            assert journey.effects == ["first", "last", "last"]
            assert len(sim.runs("journey")) == 2


class TestResume:
    """A parked run goes on."""

    def test_a_parked_run_goes_on(self) -> None:
        """Its code mended."""
        app = App("a")
        kinds = iter([False, True, False, False])

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> str:
            if next(kinds):
                await ctx.step.run("s", lambda: None)
            await ctx.step.sleep("s", "1m")
            return "mended"

        with Simulation(app) as sim:
            sim.send("go")
            sim.run_until_idle()
            assert sim.run().status == "PARKED"
            operations_of(sim).resume(sim.run().run_id)
            sim.run_until_idle()
            assert sim.run().output == "mended"


class TestWaiting:
    """What a run waits for is shown as what it is."""

    def test_each_kind_of_waiting_has_its_name(self) -> None:
        """Waits for an event, any of several, a signal; children and maps."""
        app = App("a")

        @app.function("child", trigger=event("never"))
        async def child(ctx: Context) -> None:
            await ctx.step.sleep("s", "1h")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            await ctx.group.parallel(
                (
                    lambda: ctx.step.wait_for_event("one", event="e", timeout="1h"),
                    lambda: ctx.step.wait_for_any("any", [EventMatch("e"), EventMatch("f")], timeout="1h"),
                    lambda: ctx.step.wait_for_signal("signal", "s", timeout="1h"),
                    lambda: ctx.step.invoke("invoke", function="child"),
                    lambda: ctx.step.map("map", child, [{}]),
                )
            )

        with Simulation(app) as sim:
            sim.send("go")
            steps = operations_of(sim).get_run(sim.run("f").run_id).steps
            assert {step.step_id: (step.kind, step.status) for step in steps.values()} == {
                "one": ("wait_for_event", "WAITING"),
                "any": ("wait_for_any", "WAITING"),
                "signal": ("wait_for_signal", "WAITING"),
                "invoke": ("invoke", "WAITING"),
                "map": ("map", "WAITING"),
            }

    def test_armed_waits_keep_their_kind(self) -> None:
        """Records of before, which had one tag for all, are waits for an event."""
        waits = tuple(
            ArmedWait(step_key="k", step_id="s", places=("p",), deadline=START, kind=kind)
            for kind in (Kind.WAIT, Kind.WAIT_ANY, Kind.SIGNAL)
        )
        assert [one.kind for one in armed_of(armed_text(waits)) if isinstance(one, ArmedWait)] == [
            Kind.WAIT,
            Kind.WAIT_ANY,
            Kind.SIGNAL,
        ]
        (old,) = armed_of('[["w","s",0,1735689600000,"p"]]')
        assert isinstance(old, ArmedWait)
        assert old.kind is Kind.WAIT

    def test_a_step_that_has_only_begun_is_running(self) -> None:
        """Its start is recorded, its end is not."""
        app = App("a")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            await ctx.step.sleep("s", "1h")

        with Simulation(app) as sim:
            sim.send("go")
            begun = Register(
                key="k", step_id="b", kind=Kind.RUN, mark=Mark.STARTED, order=(1, 9), started_at=START, ended_at=START
            )
            sim._sites[0].store.put_register(sim.run().run_id, begun)
            step = sim.run().steps["b"]
            assert (step.status, step.ended_at) == ("RUNNING", None)


class TestList:
    """The list of runs, read from the index."""

    @pytest.fixture
    def sim(self) -> Any:
        """Two functions, whose runs spread over days; `n` rises with time."""
        app = App("a")

        @app.function("even", trigger=event("go", if_exp="event.data.n % 2 == 0"))
        async def even(ctx: Context) -> None: ...

        @app.function("odd", trigger=event("go", if_exp="event.data.n % 2 == 1"))
        async def odd(ctx: Context) -> None:
            if ctx.event.data["n"] == 3:
                raise NonRetriableError
            await ctx.step.wait_for_event("w", event="w", timeout="100d")

        with Simulation(app, start=START) as sim:
            for n in range(9):
                sim.send("go", {"n": n}, id=str(n))
                sim.advance("7h")
            yield sim

    def listed(self, sim: Simulation, limit: int = 100, **query: Any) -> list[list[str]]:
        """The events' ids, by pages."""
        operations = operations_of(sim, "even", "odd")
        pages = [operations.list_runs(limit=limit, **query)]
        while pages[-1].cursor is not None:
            pages.append(operations.list_runs(limit=limit, cursor=pages[-1].cursor, **query))
        return [[run.event.id for run in page.runs] for page in pages]

    def test_newest_first_over_days_and_functions(self, sim: Simulation) -> None:
        """Whatever the functions, by pages of any size; the last one has no cursor."""
        newest = list("876543210")
        assert self.listed(sim) == [newest]
        assert self.listed(sim, 9) == [newest]
        assert self.listed(sim, 4) == [newest[:4], newest[4:8], newest[8:]]
        assert self.listed(sim, 1) == [[n] for n in newest]

    def test_of_one_function(self, sim: Simulation) -> None:
        """By pages."""
        assert self.listed(sim, 3, function_id="even") == [list("864"), list("20")]
        assert self.listed(sim, function_id="nope") == [[]]

    def test_of_one_status(self, sim: Simulation) -> None:
        """Of runs that go on, and of such as have ended."""
        assert self.listed(sim, status="FAILED") == [["3"]]
        assert self.listed(sim, status="SLEEPING") == [list("751")]
        assert self.listed(sim, 1, function_id="even", status="SLEEPING") == [[]]
        assert [n for page in self.listed(sim, 2, status="COMPLETED") for n in page] == list("86420")

    def test_since_an_instant_of_any_zone(self, sim: Simulation) -> None:
        """To the millisecond."""
        since = (START + timedelta(hours=21)).astimezone(timezone(timedelta(hours=14)))
        assert self.listed(sim, since=since) == [list("876543")]
        assert self.listed(sim, 2, since=since + timedelta(milliseconds=1)) == [list("87"), list("65"), list("4")]

    def test_what_is_older_than_30_days_is_asked_for(self, sim: Simulation) -> None:
        """By `since`; however far back that lies, the list ends."""
        sim.advance(timedelta(days=40))
        assert self.listed(sim) == [[]]
        assert self.listed(sim, status="SLEEPING", since=START) == [list("751")]
        assert self.listed(sim, since=datetime(1, 1, 2, tzinfo=UTC)) == [list("876543210")]

    def test_a_rare_status_is_found_behind_more_runs_than_a_page_of_the_index(self) -> None:
        """The index gives as many rows as are wanted, whatever their status; the day has more of them."""
        app = App("a")

        @app.function("even", trigger=event("go"), retries=0)
        async def handler(ctx: Context) -> None:
            if not ctx.event.data["n"]:
                raise ValueError("out of order")

        with Simulation(app) as sim:
            for n in range(5):
                sim.send("go", {"n": n}, id=str(n))
            (failed,) = operations_of(sim, "even").list_runs(status="FAILED", limit=1).runs
        assert failed.event.id == "0"

    def test_a_row_tells_what_the_head_tells(self, sim: Simulation) -> None:
        """No step, no data; and nothing but heads and index is read."""
        before = stack_of(sim).requests.snapshot()
        (failed,) = operations_of(sim, "odd").list_runs(status="FAILED", since=START).runs
        asked = stack_of(sim).requests.since(before)
        assert asked == {"Query": 3, "GetItem": 4}  # three days, four odd runs, none of which the index knows to differ
        assert failed.error is not None
        assert (failed.error["name"], failed.event.data, len(failed.steps)) == ("NonRetriableError", {}, 0)

    def test_a_run_whose_records_are_gone_is_left_out(self, sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
        """The index is some moments behind."""
        gone = operations_of(sim, "even").list_runs(limit=1).runs[0]
        operations = operations_of(sim, "even")
        head = operations._store.head
        monkeypatch.setattr(operations._store, "head", lambda run_id: None if run_id == gone.run_id else head(run_id))
        assert [run.event.id for run in operations.list_runs().runs] == list("6420")

    @pytest.mark.parametrize("cursor", ["x", "", "1|2|", "173568960000#a"])
    def test_a_foreign_cursor_is_refused(self, sim: Simulation, cursor: str) -> None:
        """It is named."""
        with pytest.raises(ConfigError, match="cursor"):
            operations_of(sim, "even").list_runs(cursor=cursor)

    def test_a_list_of_no_functions_is_a_mistake(self) -> None:
        """Rather than empty."""
        stack = World(clock=VirtualClock(START)).stack("a", lambda _: True)
        with pytest.raises(ConfigError, match="function_ids="):
            Operations("a", stack.ports, ()).list_runs()
