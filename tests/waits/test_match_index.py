"""The match index: what an event costs, whatever the number of runs that wait."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stepbridge import App, Cancel, ConfigError, Context, EventMatch, event
from stepbridge.core.limits import RUN_MAX, SCAN_SHARDS
from stepbridge.core.matching import SCAN, place_of_event, places_of_event, want_event
from stepbridge.core.records import Wait
from stepbridge.engine.store import Store
from tests.waits.bench import START, Bench

NAME = "payment/completed"


def app_that_waits(**pattern: Any) -> App:
    app = App("shop")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> Any:
        found = await ctx.step.wait_for_event("w", event=NAME, timeout="7 days", **pattern)
        return found and found.data

    return app


def wait_for(key: Any, run_id: str, **pattern: Any) -> list[Wait]:
    """The items of a run's wait, as arming makes them."""
    trigger = {"name": "go", "data": {"k": key}, "id": "t", "ts": 0, "source": "test"}
    pattern = {"match": None, "if_exp": None, **pattern}
    want = want_event(NAME, **pattern, trigger=trigger, run_id=run_id, step_id="w")
    return [
        Wait(
            place=place,
            run_id=run_id,
            step_key="step",
            step_id="w",
            occurrence=0,
            event_name=NAME,
            expression=want.expression,
            event=want.event,
            armed_at=START,
            deadline=START + RUN_MAX,
        )
        for place in want.places
    ]


def crowd(bench: Bench, number: int, **pattern: Any) -> None:
    """So many further runs that wait for the event name, each for a value of its own."""
    store = Store(bench.readable.table)
    for index in range(number):
        for wait in wait_for(f"other-{index}", f"run-{index}", **pattern):
            store.put_wait(wait)


def cost_of_a_match(bench: Bench, number: int, **pattern: Any) -> tuple[dict[str, int], float, float]:
    """What the event asks for that matches one of so many waits: requests by operation, units read and written."""
    bench.put("go", {"k": "mine"})
    bench.step()
    crowd(bench, number - 1, **pattern)
    before = bench.requests.snapshot()
    bench.put(NAME, {"k": "mine"})
    bench.step()
    spent = bench.requests.since(before)
    assert bench.run().output == {"k": "mine"}
    return dict(spent), spent.read_units, spent.write_units


EQUALITIES = [
    pytest.param({"match": "data.k"}, id="match"),
    pytest.param({"if_exp": "async.data.k == event.data.k"}, id="equality"),
    pytest.param({"if_exp": "async.data.k == event.data.k && async.data.n != 7"}, id="equality and more"),
    pytest.param({"if_exp": "async.data.k == event.data.k || async.data.key == event.data.k"}, id="either"),
    pytest.param({"if_exp": "async.data.k in [event.data.k, 'any']"}, id="in a list"),
]


class TestCounts:
    """An event costs one query per signature, whatever the number of waiting runs."""

    @pytest.mark.memory_only("moto takes milliseconds a request; tests/waits/test_moto.py has its sizes")
    @pytest.mark.parametrize("pattern", EQUALITIES)
    def test_an_event_costs_the_same_with_ten_waits_and_with_five_thousand(
        self, pattern: dict[str, str], bench_of: Callable[[App], Bench]
    ) -> None:
        """The same requests, of the same units, so the same items read."""
        few = cost_of_a_match(bench_of(app_that_waits(**pattern)), 10, **pattern)
        many = cost_of_a_match(bench_of(app_that_waits(**pattern)), 5_000, **pattern)
        assert few == many

    @pytest.mark.memory_only("moto takes milliseconds a request; tests/waits/test_moto.py has its sizes")
    def test_an_event_costs_the_same_with_ten_waits_and_with_a_hundred_thousand(
        self, bench_of: Callable[[App], Bench]
    ) -> None:
        """Requests and units equal, and no memory that grows with the waits."""
        pattern = {"match": "data.k"}
        few = cost_of_a_match(bench_of(app_that_waits(**pattern)), 10, **pattern)
        bench = bench_of(app_that_waits(**pattern))
        many = cost_of_a_match(bench, 100_000, **pattern)
        assert few == many
        bench.put("go", {"k": "next"})
        bench.step()
        bench.put(NAME, {"k": "next"})
        message = bench.receive()
        tracemalloc.start()
        bench.handle(message)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert bench.run().output == {"k": "next"}
        assert peak < 1_000_000

    def test_it_reads_the_one_item_that_matches(self, bench_of: Callable[[App], Bench]) -> None:
        """Not one of the waits beside it."""
        bench = bench_of(app_that_waits(match="data.k"))
        crowd(bench, 1_000, match="data.k")
        signature = '["data.k"]'
        row = {"name": NAME, "data": {"k": "other-7"}, "id": "e", "ts": 0, "source": ""}
        (place,) = places_of_event(row, signature)
        assert [wait.run_id for wait in Store(bench.readable.table).waits_at(place)] == ["run-7"]

    @pytest.mark.parametrize("ways", [1, 2, 5])
    def test_an_event_costs_one_query_for_each_signature(self, ways: int, bench_of: Callable[[App], Bench]) -> None:
        """Different ways of matching one event name, however many runs use each."""
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> None:
            path = f"data.k{ctx.event.data['way']}"
            await ctx.step.wait_for_event("w", event=NAME, match={path: ctx.event.data["n"]}, timeout="7 days")

        bench = bench_of(app)
        for n in range(3):
            for way in range(ways):
                bench.put("go", {"way": way, "n": n})
        bench.settle()
        before = bench.requests.snapshot()
        bench.put(NAME, {"k": "nobody's"})
        bench.step()
        spent = bench.requests.since(before)
        assert (spent["GetItem"], spent["Query"], spent["PutItem"], spent["UpdateItem"]) == (1, ways, 0, 0)

    def test_an_event_name_that_nobody_waits_for_costs_one_read(self, bench_of: Callable[[App], Bench]) -> None:
        """That of its signatures."""
        bench = bench_of(app_that_waits(match="data.k"))
        bench.put("nobody's")
        before = bench.requests.snapshot()
        bench.step()
        spent = bench.requests.since(before)
        assert {name: spent[name] for name in ("GetItem", "Query", "PutItem")} == {
            "GetItem": 1,
            "Query": 0,
            "PutItem": 0,
        }


class TestKeys:
    """What becomes the key, and how values are told apart."""

    def test_each_arm_of_an_or_is_an_item(self, bench_of: Callable[[App], Bench]) -> None:
        """Whichever of them holds finds the wait; afterwards none stands."""
        pattern = {"if_exp": "async.data.k == event.data.k || async.data.ref == 7 || async.id == 'x'"}
        bench = bench_of(app_that_waits(**pattern))
        bench.put("go", {"k": "mine"})
        bench.step()
        assert len(bench.waits()) == 3
        bench.put(NAME, {"ref": 7.0})
        bench.drain()
        assert bench.run().output == {"ref": 7.0}
        assert bench.leftovers() == []

    def test_each_literal_of_an_in_is_an_item(self, bench_of: Callable[[App], Bench]) -> None:
        """Each of its own value; equal ones are one."""
        bench = bench_of(app_that_waits(if_exp="async.data.kind in ['card', 'cash', 'card', 3]"))
        bench.put("go", {"k": 1})
        bench.step()
        assert len(bench.waits()) == 3
        bench.put(NAME, {"kind": "wire"})
        bench.put(NAME, {"kind": 3})
        bench.drain()
        assert bench.run().output == {"kind": 3}
        assert bench.leftovers() == []

    def test_an_event_that_two_arms_want_resolves_the_wait_once(self, bench_of: Callable[[App], Bench]) -> None:
        """One register, one wake."""
        bench = bench_of(app_that_waits(if_exp="async.data.a == 1 || async.data.b == 2"))
        bench.put("go")
        bench.step()
        bench.put(NAME, {"a": 1, "b": 2})
        message = bench.receive()
        before = bench.requests.snapshot()
        bench.handle(message)
        assert bench.requests.since(before)["SendMessage"] == 0  # its run is moved on inline
        assert bench.run().output == {"a": 1, "b": 2}

    @pytest.mark.parametrize(
        ("mine", "other"),
        [(7, "7"), (True, 1), (False, 0), (None, "null"), (None, 0), ("", None), (1, True), ([1], 1), ({}, None)],
        ids=repr,
    )
    def test_values_of_different_types_stand_apart(
        self, mine: Any, other: Any, bench_of: Callable[[App], Bench]
    ) -> None:
        """In the index already: the other value finds no item."""
        (wait,) = wait_for("", "r", match={"data.k": mine})
        row = {"name": NAME, "data": {"k": other}, "id": "e", "ts": 0, "source": ""}
        assert place_of_event(row, '["data.k"]') != wait.place

    @pytest.mark.parametrize(("mine", "other"), [(1, 1.0), (0, -0.0), (2**53, float(2**53))], ids=repr)
    def test_equal_numbers_stand_together(self, mine: Any, other: Any) -> None:
        """`1` is `1.0`."""
        (wait,) = wait_for("", "r", match={"data.k": mine})
        row = {"name": NAME, "data": {"k": other}, "id": "e", "ts": 0, "source": ""}
        assert place_of_event(row, '["data.k"]') == wait.place

    @pytest.mark.parametrize(
        ("expression", "data", "status"),
        [
            ("async.data.gone == null", {}, "COMPLETED"),
            ("async.data.gone != 1", {}, "COMPLETED"),
            ("async.data.gone == 1", {}, "SLEEPING"),
            ("async.data.gone > 1", {}, "SLEEPING"),
            ("async.data.gone == event.data.gone", {}, "SLEEPING"),
            ("async.data.k == null", {"k": None}, "COMPLETED"),
            ("!has(async.data.gone)", {}, "COMPLETED"),
            ("async.data.gone in [1, 2]", {}, "SLEEPING"),
            ("async.data.gone.deeper == 1", {"gone": 3}, "SLEEPING"),
        ],
    )
    def test_missing_fields_are_as_the_contract_says(
        self, expression: str, data: dict[str, Any], status: str, bench_of: Callable[[App], Bench]
    ) -> None:
        """A field that the candidate lacks, through the index as through the expression."""
        bench = bench_of(app_that_waits(if_exp=expression))
        bench.put("go", {"k": 1})
        bench.step()
        bench.put(NAME, data)
        bench.settle()
        assert bench.run().status == status


class TestScan:
    """Expressions without an equality term: shards, a warning, and never a lost event."""

    EXPRESSION = "async.data.amount > event.data.least"

    def test_waits_without_an_equality_are_spread_over_shards(self) -> None:
        """By run: no partition takes all the writes; the signature is one."""
        trigger = {"name": "go", "data": {"least": 1}, "id": "t", "ts": 0, "source": ""}
        wants = [
            want_event(NAME, match=None, if_exp=self.EXPRESSION, trigger=trigger, run_id=f"run-{n}", step_id="w")
            for n in range(2_000)
        ]
        places = [want.places[0] for want in wants]
        row = {"name": NAME, "data": {}, "id": "e", "ts": 0, "source": ""}
        assert {want.signatures for want in wants} == {(SCAN,)}
        assert set(places) == set(places_of_event(row, SCAN))
        assert len(set(places)) == SCAN_SHARDS == 16
        assert max(places.count(place) for place in set(places)) < 2 * 2_000 / SCAN_SHARDS

    def test_a_run_keeps_its_shard(self) -> None:
        """Its replays put the item that stands, not another."""
        trigger = {"name": "go", "data": {}, "id": "t", "ts": 0, "source": ""}
        first, second = (
            want_event(NAME, match=None, if_exp="async.data.n > 1", trigger=trigger, run_id="r", step_id="w")
            for _ in range(2)
        )
        assert first == second

    def test_an_event_reads_every_shard(self, bench_of: Callable[[App], Bench]) -> None:
        """So the number of queries does not grow with the waits, and every run is found."""
        bench = bench_of(app_that_waits(if_exp=self.EXPRESSION))
        for least in range(60):
            bench.put("go", {"least": least})
        bench.settle()
        before = bench.requests.snapshot()
        bench.put(NAME, {"amount": -1})
        bench.step()
        assert bench.requests.since(before)["Query"] == SCAN_SHARDS
        bench.put(NAME, {"amount": 40})
        bench.settle()
        ended = {run.event.data["least"] for run in bench.runs() if run.status == "COMPLETED"}
        assert ended == set(range(40))
        bench.put(NAME, {"amount": 100})
        bench.drain()
        assert bench.leftovers() == []

    def test_such_a_wait_is_warned_of_once(
        self, bench_of: Callable[[App], Bench], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Once for a function and step id, naming the expression and the mend; bearing a metric's name."""
        bench = bench_of(app_that_waits(if_exp=self.EXPRESSION))
        with caplog.at_level(logging.WARNING, "stepbridge"):
            for least in range(3):
                bench.put("go", {"least": least})
            bench.settle()
        (record,) = caplog.records
        assert self.EXPRESSION in record.getMessage()
        assert "Mend" in record.getMessage()
        assert vars(record)["metric"] == "ScanWaits"

    def test_a_wait_with_an_equality_is_not_warned_of(
        self, bench_of: Callable[[App], Bench], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nor one that takes every event of the name."""
        with caplog.at_level(logging.WARNING, "stepbridge"):
            for pattern in ({"if_exp": "async.data.k == event.data.k && async.data.n > 1"}, {}):
                bench = bench_of(app_that_waits(**pattern))
                bench.put("go", {"k": 1})
                bench.settle()
        assert caplog.records == []

    def test_a_wait_for_any_event_of_a_name_is_found(self, bench_of: Callable[[App], Bench]) -> None:
        """It has no equality term either."""
        bench = bench_of(app_that_waits())
        for n in range(20):
            bench.put("go", {"n": n})
        bench.settle()
        bench.put(NAME, {"to": "all"})
        bench.drain()
        assert [run.output for run in bench.runs()] == [{"to": "all"}] * 20
        assert bench.leftovers() == []

    def test_an_or_with_an_arm_that_has_no_equality_is_a_scan(self, bench_of: Callable[[App], Bench]) -> None:
        """The index may find too much, never too little."""
        bench = bench_of(app_that_waits(if_exp="async.data.k == event.data.k || async.data.amount > 100"))
        bench.put("go", {"k": 1})
        bench.settle()
        bench.put(NAME, {"amount": 101})
        bench.drain()
        assert bench.run().output == {"amount": 101}


class TestMalformed:
    """An expression that cannot be parsed, or fails, harms its own wait only."""

    WRONG = "async.data.k == == 1"

    @pytest.mark.parametrize(
        "declare",
        [
            pytest.param(lambda wrong: {"trigger": event("go", if_exp=wrong.replace("async", "event"))}, id="trigger"),
            pytest.param(lambda wrong: {"trigger": event("go"), "waits": [EventMatch(NAME, if_exp=wrong)]}, id="waits"),
            pytest.param(lambda wrong: {"trigger": event("go"), "cancel": [Cancel(NAME, if_exp=wrong)]}, id="cancel"),
        ],
    )
    def test_a_static_expression_fails_at_import(self, declare: Callable[[str], dict[str, Any]]) -> None:
        """With position and reason, before anything runs."""
        app = App("shop")
        with pytest.raises(ConfigError, match=r"line 1, column 17") as caught:
            app.function("f", **declare(self.WRONG))(lambda ctx: None)
        assert "Mend" in str(caught.value)

    def test_a_dynamic_expression_fails_at_registration(self, bench_of: Callable[[App], Bench]) -> None:
        """As a `ConfigError` at the call, with position and reason; nothing is armed."""
        app = App("shop")

        @app.function("f", trigger=event("go"), retries=0)
        async def handler(ctx: Context) -> str:
            try:
                await ctx.step.wait_for_event("w", event=NAME, if_exp=ctx.event.data["expression"], timeout="1h")
            except ConfigError as error:
                return str(error)
            return "armed"

        bench = bench_of(app)
        bench.put("go", {"expression": self.WRONG})
        bench.settle()
        assert "line 1, column 17" in bench.run().output
        assert bench.leftovers() == []

    def test_fifty_one_waits_that_cannot_be_evaluated_do_not_harm_the_one_that_can(
        self, bench_of: Callable[[App], Bench]
    ) -> None:
        """They match nothing; and their runs wait on."""
        bad = ["int(async.data.k) == 1", "async.data.list[9] == 1", "1 / (async.data.n - async.data.n) == 1"]
        app = App("shop")

        @app.function("f", trigger=event("go"))
        async def handler(ctx: Context) -> Any:
            found = await ctx.step.wait_for_event("w", event=NAME, if_exp=ctx.event.data["e"], timeout="7 days")
            return found and found.data["k"]

        bench = bench_of(app)
        for index in range(51):
            bench.put("go", {"e": bad[index % 3]})
        bench.put("go", {"e": "async.data.k.startsWith('go')"})
        bench.settle()
        bench.put(NAME, {"k": "good", "n": 1, "list": []})
        assert bench.step() is True
        bench.settle()
        assert [run.status for run in bench.runs()].count("SLEEPING") == 51
        assert [run.output for run in bench.runs() if run.status == "COMPLETED"] == ["good"]

    def test_a_stored_expression_that_is_broken_disturbs_nobody(self, bench_of: Callable[[App], Bench]) -> None:
        """One that a later version cannot parse, or whose trigger is damaged, matches nothing; it is logged."""
        bench = bench_of(app_that_waits(match="data.k"))
        bench.put("go", {"k": "mine"})
        bench.step()
        store = Store(bench.readable.table)
        (wait,) = wait_for("mine", "broken", match="data.k")
        store.put_wait(replace(wait, run_id="broken-1", expression="((("))
        store.put_wait(replace(wait, run_id="broken-2", expression="true", event="no json"))
        bench.put(NAME, {"k": "mine"})
        assert bench.step() is True
        assert bench.run().output == {"k": "mine"}

    def test_a_trigger_whose_expression_fails_does_not_stop_other_functions(
        self, bench_of: Callable[[App], Bench]
    ) -> None:
        """It does not match; the others start."""
        app = App("shop")

        @app.function("bad", trigger=event("go", if_exp="event.data.list[9] == 1"))
        async def bad(ctx: Context) -> None: ...

        @app.function("f", trigger=event("go", if_exp="event.data.k == 1"))
        async def good(ctx: Context) -> str:
            return "good"

        bench = bench_of(app)
        bench.put("go", {"k": 1})
        bench.settle()
        assert bench.run().output == "good"
        assert bench.runs("bad") == []


def stale(names: Callable[[], tuple[str, ...]]) -> Callable[[Any], Store]:
    """Makes stores that remember the list of signatures from before."""

    class StaleStore(Store):
        def signatures(self, event_name: str) -> tuple[str, ...]:
            return names()

    return StaleStore


class TestSignatures:
    """The list of an event name's signatures is read strongly, once an invocation and event name."""

    def test_a_cached_list_would_lose_the_event(self, bench_of: Callable[..., Bench]) -> None:
        """Another process has armed a new way of matching since the list was read."""
        bench = bench_of(app_that_waits(match="data.k"), store=stale(lambda: ()))
        bench.put("go", {"k": 1})
        bench.step()
        bench.put(NAME, {"k": 1})
        assert bench.step() is True
        assert bench.run().status == "SLEEPING"  # acknowledged, and lost

    def test_the_list_is_read_anew_for_every_event(self, bench_of: Callable[..., Bench]) -> None:
        """By one process with one store, which has just read a list without the new signature."""
        stores: list[Store] = []

        def one(table: Any) -> Store:
            stores[:] = stores or [Store(table)]
            return stores[0]

        bench = bench_of(app_that_waits(match="data.k"), store=one)
        bench.put(NAME, {"k": 1})
        bench.step()
        other = Bench(bench.app)  # the process that arms is another one, on the same table
        other.stack, other.ports, other.world = bench.stack, bench.ports, bench.world
        other._store = Store
        bench.put("go", {"k": 1})
        other.step()
        other.close()
        bench.put(NAME, {"k": 1, "n": 2})
        bench.step()
        assert bench.run().output == {"k": 1, "n": 2}

    def test_a_signature_is_written_before_the_wait_that_it_leads_to(self, bench_of: Callable[[App], Bench]) -> None:
        """An event that comes between the two finds nothing yet; one after both finds the wait."""
        bench = bench_of(app_that_waits(match="data.k"))
        seen: list[tuple[str, ...]] = []
        store = Store(bench.readable.table)
        bench.on("before", "table.put", "W#", lambda: seen.append(store.signatures(NAME)))
        bench.put("go", {"k": 1})
        bench.step()
        assert seen == [('["data.k"]',)]

    def test_the_list_does_not_grow_with_runs(self, bench_of: Callable[[App], Bench]) -> None:
        """A hundred runs with one way of matching: one signature, a write for each process that has not put it."""
        bench = bench_of(app_that_waits(match="data.k"))
        for n in range(100):
            bench.put("go", {"k": n})
        bench.settle()
        assert Store(bench.readable.table).signatures(NAME) == ('["data.k"]',)


class TestCancellersInTheIndex:
    """Cancelling waits stand in the same index, under the same laws."""

    def test_a_cancel_event_costs_the_same_whatever_the_number_of_runs(self, bench_of: Callable[[App], Bench]) -> None:
        """It reads the item of the run that it cancels."""

        def cost(runs: int) -> dict[str, int]:
            app = App("shop")

            @app.function("f", trigger=event("go"), cancel=[Cancel(NAME, match="data.k")])
            async def handler(ctx: Context) -> None:
                await ctx.step.sleep("z", "1 day")

            bench = bench_of(app)
            for n in range(runs):
                bench.put("go", {"k": n})
            bench.settle()
            before = bench.requests.snapshot()
            bench.put(NAME, {"k": 0})
            bench.step()
            assert [run.status for run in bench.runs()].count("CANCELLED") == 1
            return dict(bench.requests.since(before))

        assert cost(3) == cost(300)
