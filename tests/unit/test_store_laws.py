"""The protocol's conditions, clause by clause: each test fails where one clause is left out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from stepbridge.core.ids import digest, step_key
from stepbridge.core.instants import to_ms
from stepbridge.core.keys import HEAD_SK
from stepbridge.core.limits import ARMED_INLINE, HEAD_VALUE_BYTES, LEASE_MARGIN, RETENTION, RUN_MAX, SEEN_INLINE
from stepbridge.core.records import (
    ArmedWait,
    EventRecord,
    Failure,
    Head,
    Kind,
    MapItem,
    Mark,
    Parent,
    Register,
    Status,
    Timer,
    Wait,
)
from stepbridge.engine.store import Claimed, Refused, Store
from stepbridge.memory.billing import item_bytes
from stepbridge.memory.requests import Requests
from stepbridge.memory.table import MemoryTable

NOW = datetime(2025, 1, 1, tzinfo=UTC)
DEADLINE = NOW + timedelta(minutes=2)
OVER = DEADLINE + LEASE_MARGIN
LATER = OVER + timedelta(milliseconds=1)
RUN = "r" * 26
BIRTH = Head(
    run_id=RUN,
    function_id="f",
    status=Status.RUNNING,
    event=EventRecord(name="go", id="e", ts=to_ms(NOW), source="test", data="{}"),
    created_at=NOW,
)


@pytest.fixture
def table() -> MemoryTable:
    """Empty."""
    return MemoryTable(Requests())


@pytest.fixture
def store(table: MemoryTable) -> Store:
    """Over the table."""
    return Store(table)


def claim(store: Store, *, start: bool = False, holder: str = "i", now: datetime = NOW) -> Claimed | Refused:
    """By a start message, or by a wake."""
    birth = BIRTH if start else None
    return store.claim(RUN, birth=birth, holder=holder, deadline=now + (DEADLINE - NOW), now=now)


def held(store: Store) -> Head:
    """A run that has begun."""
    claimed = claim(store, start=True)
    assert isinstance(claimed, Claimed)
    return claimed.head


def ended(store: Store) -> Head:
    """A run that has completed."""
    head = replace(held(store), status=Status.COMPLETED, output="1", ended_at=NOW)
    assert store.end(head) is None
    return head


def register(mark: Mark = Mark.OK, *, attempts: int = 1, value: str = "1", epoch: int = 1) -> Register:
    """Of one step."""
    order = (epoch, 0)
    return Register(
        key="k",
        step_id="s",
        kind=Kind.RUN,
        mark=mark,
        attempts=attempts,
        value=value,
        order=order,
        started_at=NOW,
        ended_at=NOW,
    )


class TestClaim:
    """Who may take a run, and when."""

    @pytest.mark.parametrize("start", [False, True])
    @pytest.mark.parametrize("now", [NOW, DEADLINE, OVER])
    def test_nobody_takes_a_lease_before_its_end(self, store: Store, now: datetime, *, start: bool) -> None:
        """It ends two seconds after the invocation's deadline."""
        held(store)
        assert isinstance(claim(store, start=start, holder="another", now=now), Refused)

    @pytest.mark.parametrize("start", [False, True])
    def test_anybody_takes_a_lease_after_its_end(self, store: Store, *, start: bool) -> None:
        """A millisecond later; the epoch tells the two apart."""
        held(store)
        taken = claim(store, start=start, holder="another", now=LATER)
        assert isinstance(taken, Claimed)
        assert taken.head.epoch == 2

    def test_a_wake_creates_no_run(self, store: Store, table: MemoryTable) -> None:
        """Nothing is written."""
        assert claim(store) == Refused(None)
        assert table.items() == []

    @pytest.mark.parametrize("start", [False, True])
    def test_an_ended_run_does_not_begin_again(self, store: Store, *, start: bool) -> None:
        """Neither by a wake nor by its start."""
        ended(store)
        refused = claim(store, start=start, now=LATER)
        assert isinstance(refused, Refused)
        assert refused.head is not None
        assert refused.head.status is Status.COMPLETED

    def test_a_repeated_start_does_not_wake_a_run_that_sleeps(self, store: Store) -> None:
        """Its triggers do."""
        store.suspend(replace(held(store), status=Status.SLEEPING))
        assert isinstance(claim(store, start=True, now=LATER), Refused)
        assert isinstance(claim(store, now=LATER), Claimed)

    def test_a_parked_run_is_not_claimed(self, store: Store) -> None:
        """A person resumes it first."""
        store.suspend(replace(held(store), status=Status.PARKED))
        assert isinstance(claim(store, now=LATER), Refused)

    def test_who_suspends_gives_the_lease_back(self, store: Store) -> None:
        """The next wake need not wait for its end."""
        store.suspend(replace(held(store), status=Status.SLEEPING))
        assert isinstance(claim(store, holder="another"), Claimed)

    @pytest.mark.parametrize("status", [Status.RUNNING, Status.PARKED])
    def test_a_repeated_resume_changes_nothing(self, store: Store, status: Status) -> None:
        """The first makes a run sleep, without its error; what moves on then, or is parked anew, is not its matter."""
        parked = replace(held(store), status=Status.PARKED, failure=Failure(name="CrashLoopError", message="loop"))
        store.suspend(parked)
        store.unpark(parked)
        head = store.head(RUN)
        assert head is not None
        assert (head.status, head.failure) == (Status.SLEEPING, None)
        taken = claim(store)
        assert isinstance(taken, Claimed)
        if status is Status.PARKED:
            store.suspend(replace(taken.head, status=status))
        store.unpark(parked)
        head = store.head(RUN)
        assert head is not None
        assert head.status is status

    def test_a_resume_brings_no_cancelled_run_back(self, store: Store) -> None:
        """It was asked for before, and comes after."""
        parked = replace(held(store), status=Status.PARKED)
        store.suspend(parked)
        store.cancel(replace(BIRTH, status=Status.CANCELLED, ended_at=NOW))
        store.unpark(parked)
        head = store.head(RUN)
        assert head is not None
        assert head.status is Status.CANCELLED

    def test_a_claim_whose_answer_was_lost_is_ones_own(self, store: Store) -> None:
        """The same holder asks again."""
        held(store)
        assert isinstance(claim(store, start=True), Claimed)
        assert isinstance(claim(store), Claimed)

    def test_a_claim_clears_the_wake_flag(self, store: Store) -> None:
        """So that who finishes while the run executes sends a wake again."""
        store.suspend(replace(held(store), status=Status.SLEEPING))
        assert store.set_wake(RUN, "one")
        assert not store.set_wake(RUN, "two")
        claim(store, now=LATER)
        assert store.set_wake(RUN, "two")

    def test_the_wake_flag_knows_its_writer(self, store: Store) -> None:
        """A finisher whose answer was lost asks again and is told the same."""
        held(store)
        assert store.set_wake(RUN, "one")
        assert store.set_wake(RUN, "one")


class TestEnd:
    """Who may let go of a run."""

    def test_an_older_epoch_neither_suspends_nor_ends(self, store: Store) -> None:
        """The lease has gone to another."""
        zombie = held(store)
        claim(store, holder="another", now=LATER)
        assert store.suspend(replace(zombie, status=Status.SLEEPING)) is not None
        assert store.end(replace(zombie, status=Status.COMPLETED, ended_at=NOW)) is not None
        head = store.head(RUN)
        assert head is not None
        assert (head.status, head.holder) == (Status.RUNNING, "another")

    def test_a_cancelled_run_stays_cancelled(self, store: Store) -> None:
        """Whoever executes it finds out at the end."""
        mine = held(store)
        store.cancel(replace(BIRTH, status=Status.CANCELLED, ended_at=NOW))
        assert store.suspend(replace(mine, status=Status.SLEEPING)) is not None
        standing = store.end(replace(mine, status=Status.COMPLETED, ended_at=NOW))
        assert standing is not None
        assert standing.status is Status.CANCELLED

    def test_a_suspend_whose_answer_was_lost_is_ones_own(self, store: Store) -> None:
        """The second one is refused by the first."""
        mine = replace(held(store), status=Status.SLEEPING)
        assert store.suspend(mine) is None
        assert store.suspend(mine) is None

    def test_a_cancel_comes_before_the_start(self, store: Store) -> None:
        """And holds."""
        store.cancel(replace(BIRTH, status=Status.CANCELLED, ended_at=NOW))
        assert isinstance(claim(store, start=True), Refused)

    def test_a_cancel_comes_after_the_end(self, store: Store) -> None:
        """And does nothing."""
        ended(store)
        assert store.cancel(replace(BIRTH, status=Status.CANCELLED, ended_at=NOW)).status is Status.COMPLETED

    def test_a_lease_that_was_given_back_is_free_and_no_crash(self, store: Store) -> None:
        """The claim that failed is forgiven."""
        store.release(held(store))
        taken = claim(store, holder="another")
        assert isinstance(taken, Claimed)
        assert taken.head.forgiven_epoch == 1


class TestRegisters:
    """One result for each."""

    def test_the_second_result_is_the_first(self, store: Store) -> None:
        """Whoever comes second gets what stands."""
        store.put_register(RUN, register(value="1"))
        assert store.put_register(RUN, register(value="2")).value == "1"

    def test_a_map_item_s_second_result_is_dropped(self, store: Store) -> None:
        """Two invocations may execute an item at a time; the map's result is the same whoever collects it."""
        for value in ("1", "2"):
            store.joins.record(RUN, "k", 0, register(value=value))
        assert [one.value for one in store.joins.registers(RUN, "k", 1)] == ["1"]

    def test_executions_are_counted_by_item(self, store: Store) -> None:
        """What one item's killed is not held against its neighbour."""
        parents = [
            Parent(
                run_id=RUN,
                step_key="k",
                step_id="m",
                occurrence=0,
                item=MapItem(index=index, count=2, lanes=0, source="", target=""),
            )
            for index in range(2)
        ]
        counts = [store.joins.count(parents[index], NOW, amount=1) for index in (0, 0, 1)]
        assert counts == [1, 2, 1]

    @pytest.mark.parametrize(("after", "value"), [(1, "2"), (2, "1"), (0, "1")])
    def test_a_retry_is_written_over_by_the_next_attempt_only(self, store: Store, after: int, value: str) -> None:
        """Not by the one before, nor by the one after."""
        store.put_register(RUN, register(Mark.RETRY, value="1"))
        assert store.put_register(RUN, register(attempts=2, value="2"), after_attempts=after).value == value

    def test_a_result_is_not_written_over_by_a_late_attempt(self, store: Store) -> None:
        """Though the number of attempts fits."""
        store.put_register(RUN, register(Mark.ERROR, attempts=2, value="1"))
        assert store.put_register(RUN, register(attempts=3, value="2"), after_attempts=2).value == "1"

    @pytest.mark.parametrize(("epoch", "mark"), [(1, Mark.OK), (2, Mark.STARTED)])
    def test_who_began_a_step_ends_it(self, store: Store, epoch: int, mark: Mark) -> None:
        """Where it must not be repeated."""
        store.put_register(RUN, register(Mark.STARTED))
        assert store.put_register(RUN, register(epoch=epoch), started_in=epoch).mark is mark

    def test_a_run_of_the_future_does_not_cover_one_that_is_there(self, store: Store) -> None:
        """Its event may have come before."""
        held(store)
        store.enqueue(replace(BIRTH, status=Status.QUEUED))
        head = store.head(RUN)
        assert head is not None
        assert head.status is Status.RUNNING


class TestWaits:
    """What stands in the index."""

    WAIT = Wait(
        place="p",
        run_id=RUN,
        step_key="k",
        step_id="s",
        occurrence=0,
        kind=Kind.WAIT,
        event_name="paid",
        armed_at=NOW,
        deadline=NOW + timedelta(days=7),
    )

    def test_a_replay_does_not_prolong_a_wait(self, store: Store) -> None:
        """The deadline is the first one's, here and in the table."""
        store.put_wait(self.WAIT)
        again = replace(self.WAIT, armed_at=LATER, deadline=LATER + timedelta(days=7))
        assert store.put_wait(again).deadline == self.WAIT.deadline
        (standing,) = store.waits_at("p")
        assert standing.deadline == self.WAIT.deadline

    def test_signatures_are_never_cached(self, table: MemoryTable) -> None:
        """What another sandbox adds is seen at once."""
        mine = Store(table)
        assert mine.signatures("paid") == ()
        Store(table).add_signature("paid", '["data.k"]')
        assert mine.signatures("paid") == ('["data.k"]',)
        Store(table).add_signature("paid", "[]")
        assert len(mine.signatures("paid")) == 2

    def test_nothing_expires_too_soon_or_never(self, store: Store, table: MemoryTable) -> None:
        """A head a retention after its end; a register after the longest run; a wait after its deadline."""
        ended(store)
        store.put_register(RUN, register())
        store.put_wait(self.WAIT)
        ttl = {str(item["pk"])[:1] + str(item["sk"])[:1]: item["ttl"] for item in table.items()}
        retention = int(RETENTION.total_seconds())
        assert ttl["R" + HEAD_SK] == to_ms(NOW) // 1000 + retention
        assert ttl["RS"] == to_ms(NOW + RUN_MAX) // 1000 + retention
        assert ttl["Wr"] == to_ms(self.WAIT.deadline) // 1000 + retention

    def test_what_stands_beside_the_head_expires_after_the_longest_run(self, store: Store, table: MemoryTable) -> None:
        """A large output; of a run whose event lies in the future the time counts from there."""
        later = NOW + timedelta(days=100)
        store.enqueue(replace(BIRTH, event=replace(BIRTH.event, ts=to_ms(later), data="x" * 2000)))
        claimed = claim(store, now=later)
        assert isinstance(claimed, Claimed)
        store.end(replace(claimed.head, status=Status.COMPLETED, output="x" * 2000, ended_at=later))
        ttl = {str(item["sk"]): item["ttl"] for item in table.items()}
        far = to_ms(later + RUN_MAX + RETENTION) // 1000
        assert (ttl["#in"], ttl["#out"]) == (far, far)


class TestSizes:
    """The head stays under 1 KB, because every update is billed on all of it."""

    @pytest.mark.parametrize(("waits", "seen"), [(ARMED_INLINE, 0), (0, SEEN_INLINE), (100, SEEN_INLINE)])
    def test_a_head_that_lists_much_is_one_write_unit(
        self, store: Store, table: MemoryTable, waits: int, seen: int
    ) -> None:
        """Beside as much of the trigger's data as it may hold; more waits than it may list go to a page."""
        birth = replace(BIRTH, event=replace(BIRTH.event, data="x" * HEAD_VALUE_BYTES))
        claimed = store.claim(RUN, birth=birth, holder=f"{'i' * 36}:{'m' * 36}", deadline=DEADLINE, now=NOW)
        assert isinstance(claimed, Claimed)
        armed = tuple(
            ArmedWait(
                step_key=step_key(f"wait-{n}", 0),
                step_id=f"wait-{n}",
                occurrence=0,
                places=(digest(str(n)),),
                deadline=DEADLINE,
            )
            for n in range(waits)
        )
        timers = (Timer(due_ms=to_ms(DEADLINE), scheduled=True),)
        keys = tuple(step_key(str(n), 0) for n in range(seen))
        store.suspend(replace(claimed.head, status=Status.SLEEPING, armed=armed, seen=keys, timers=timers))
        (head,) = (item for item in table.items() if item["sk"] == HEAD_SK)
        assert item_bytes(head) < 1024
