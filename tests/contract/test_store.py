"""Every named condition of the protocol, on both backends: what each refuses, and what then stands."""

from __future__ import annotations

import ast
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stepbridge import ports as port_protocols
from stepbridge.core.limits import LEASE_MARGIN
from stepbridge.core.records import EventRecord, Head, Kind, Mark, Register, Status, Wait
from stepbridge.engine.store import Claimed, Refused, Store
from stepbridge.ports import Ports

NOW = datetime(2025, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RUN = "r" * 26
BIRTH = Head(
    run_id=RUN,
    function_id="f",
    status=Status.RUNNING,
    event=EventRecord(name="go", id="e-1", ts=0, source="test", data="{}"),
    created_at=NOW,
)
LATER = NOW + MINUTE + LEASE_MARGIN + timedelta(milliseconds=1)


@pytest.fixture
def store(ports: Ports) -> Store:
    """Of an empty table."""
    return Store(ports.table)


def claim(store: Store, holder: str, *, birth: Head | None = BIRTH, now: datetime = NOW) -> Claimed | Refused:
    """A claim of a minute."""
    return store.claim(RUN, birth=birth, holder=holder, deadline=now + MINUTE, now=now)


def held(store: Store, holder: str = "one", *, now: datetime = NOW, birth: Head | None = BIRTH) -> Head:
    """The head, claimed."""
    claimed = claim(store, holder, now=now, birth=birth)
    assert isinstance(claimed, Claimed)
    return claimed.head


def asleep(store: Store) -> Head:
    """The head of a run that has suspended."""
    head = replace(held(store), status=Status.SLEEPING)
    assert store.suspend(head) is None
    return head


def ended(store: Store, status: Status = Status.COMPLETED) -> Head:
    """The head of a run that has ended."""
    head = replace(held(store), status=status, ended_at=NOW)
    assert store.end(head) is None
    return head


def register(mark: Mark = Mark.OK, *, attempts: int = 1, value: str = "1", epoch: int = 1) -> Register:
    """A step's record."""
    return Register(
        key="s",
        step_id="s",
        kind=Kind.RUN,
        mark=mark,
        value=value,
        attempts=attempts,
        order=(epoch, 0),
        started_at=NOW,
        ended_at=NOW,
    )


# -- the lease -----------------------------------------------------------------------------------------
def test_only_a_start_message_creates_a_run(store: Store) -> None:
    """Any other message needs one that is there."""
    assert claim(store, "one", birth=None) == Refused(None)
    assert isinstance(claim(store, "one"), Claimed)


def test_nobody_takes_a_lease_that_is_not_over(store: Store) -> None:
    """Not even a start message; its own holder has it again, for its answer may have been lost."""
    held(store, "one")
    for birth in (BIRTH, None):
        refused = claim(store, "two", birth=birth, now=LATER - timedelta(milliseconds=1))
        assert isinstance(refused, Refused)
        assert refused.head is not None
        assert (refused.head.holder, refused.head.epoch) == ("one", 1)
    assert isinstance(claim(store, "one"), Claimed)
    assert held(store, "two", now=LATER).epoch == 2


def test_a_start_message_does_not_take_a_run_that_has_suspended(store: Store) -> None:
    """It has been served; a wake takes it."""
    asleep(store)
    assert isinstance(claim(store, "two"), Refused)
    assert held(store, "two", birth=None).epoch == 2


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED], ids=str)
def test_a_terminal_state_absorbs_everything(store: Store, status: Status) -> None:
    """Claim, suspend, end, cancel, unpark, wake: it stands."""
    head = ended(store, status)
    for birth in (BIRTH, None):
        assert isinstance(claim(store, "two", birth=birth, now=LATER), Refused)
    assert store.suspend(replace(head, status=Status.SLEEPING)) is not None
    other = Status.FAILED if status is not Status.FAILED else Status.COMPLETED
    assert store.end(replace(head, status=other)) is not None
    assert store.cancel(replace(BIRTH, status=Status.CANCELLED, ended_at=LATER)).status is status
    store.unpark(head)
    assert not store.set_wake(RUN, "step")
    standing = store.head(RUN)
    assert standing is not None
    assert (standing.status, standing.epoch) == (status, 1)


# -- the fence -----------------------------------------------------------------------------------------
def test_a_holder_whose_lease_was_taken_writes_nothing(store: Store) -> None:
    """Neither suspend, nor end, nor release: the epoch is another."""
    zombie = held(store, "one")
    now_held = held(store, "two", now=LATER)
    for refused in (store.suspend(replace(zombie, status=Status.SLEEPING)), store.end(_done(zombie))):
        assert refused is not None
        assert refused.epoch == now_held.epoch
    store.release(zombie)
    assert isinstance(claim(store, "three", now=LATER), Refused)
    assert store.end(_done(now_held)) is None


def _done(head: Head) -> Head:
    return replace(head, status=Status.COMPLETED, ended_at=NOW)


def test_a_write_whose_answer_was_lost_is_ones_own(store: Store) -> None:
    """Suspending or ending again as before is success."""
    head = asleep(store)
    assert store.suspend(head) is None
    again = _done(held(store, "two", birth=None))
    assert store.end(again) is None
    assert store.end(again) is None


def test_a_lease_that_is_given_back_is_free(store: Store) -> None:
    """At once."""
    store.release(held(store, "one"))
    assert held(store, "two").epoch == 2


# -- other heads ---------------------------------------------------------------------------------------
def test_a_run_is_enqueued_once(store: Store) -> None:
    """The second is told what stands."""
    assert store.enqueue(replace(BIRTH, status=Status.QUEUED)) is None
    standing = store.enqueue(replace(BIRTH, status=Status.QUEUED, function_id="g"))
    assert standing is not None
    assert (standing.function_id, standing.status) == ("f", Status.QUEUED)


def test_a_run_that_is_cancelled_before_it_begins_never_begins(store: Store) -> None:
    """The head stands in its way."""
    cancelled = replace(BIRTH, status=Status.CANCELLED, function_id="", ended_at=NOW)
    assert store.cancel(cancelled).status is Status.CANCELLED
    assert isinstance(claim(store, "one"), Refused)


def test_a_parked_run_is_claimed_by_nobody_until_it_is_unparked(store: Store) -> None:
    """By whoever saw its last epoch."""
    head = replace(held(store), status=Status.PARKED)
    assert store.suspend(head) is None
    assert isinstance(claim(store, "two", birth=None, now=LATER), Refused)
    store.unpark(replace(head, epoch=7))
    assert isinstance(claim(store, "two", birth=None, now=LATER), Refused)
    store.unpark(head)
    assert held(store, "two", birth=None).epoch == 2


def test_one_finisher_wakes_the_run(store: Store) -> None:
    """The others do not, until the run was resumed; asking again is its own."""
    asleep(store)
    assert [store.set_wake(RUN, finisher) for finisher in ("a", "b", "a")] == [True, False, True]
    held(store, "two", birth=None)
    assert store.set_wake(RUN, "b")


def test_only_a_terminal_head_is_told_of(store: Store, ports: Ports) -> None:
    """The note is for the end."""
    head = held(store)
    told = []
    for _ in range(2):
        store.mark_told(RUN)
        (item,) = ports.table.query(f"R#{RUN}")
        told.append("td" in item)
        store.end(_done(head))
    assert told == [False, True]


# -- registers and waits -------------------------------------------------------------------------------
def test_a_register_is_written_once(store: Store) -> None:
    """The second adopts what stands."""
    assert store.put_register(RUN, register(value="1")).value == "1"
    assert store.put_register(RUN, register(value="2")).value == "1"


def test_a_failed_attempt_is_written_over_by_the_next_alone(store: Store) -> None:
    """Not by a duplicate of itself, not by one that saw another number of attempts."""
    store.put_register(RUN, register(Mark.RETRY, attempts=1))
    assert store.put_register(RUN, register()).mark is Mark.RETRY
    assert store.put_register(RUN, register(attempts=3), after_attempts=2).mark is Mark.RETRY
    assert store.put_register(RUN, register(attempts=2), after_attempts=1).mark is Mark.OK
    assert store.put_register(RUN, register(Mark.RETRY, attempts=2), after_attempts=1).mark is Mark.OK


def test_a_start_is_written_over_by_who_started_alone(store: Store) -> None:
    """The epoch tells."""
    store.put_register(RUN, register(Mark.STARTED, epoch=4))
    assert store.put_register(RUN, register(), started_in=5).mark is Mark.STARTED
    assert store.put_register(RUN, register(), started_in=4).mark is Mark.OK


def test_a_wait_that_stands_keeps_its_deadline(store: Store) -> None:
    """Arming again changes nothing."""
    wait = Wait(
        place="paid#sig#hash",
        run_id=RUN,
        step_key="s",
        step_id="s",
        occurrence=0,
        event_name="paid",
        armed_at=NOW,
        deadline=NOW + MINUTE,
    )
    assert store.put_wait(wait) == wait
    assert store.put_wait(replace(wait, deadline=LATER)).deadline == NOW + MINUTE
    assert [one.deadline for one in store.waits_at(wait.place)] == [NOW + MINUTE]
    store.delete_wait(wait.place, RUN, "s")
    assert list(store.waits_at(wait.place)) == []


def test_an_event_to_look_back_for_is_kept_once_and_found_from_its_time_on(store: Store) -> None:
    """In order."""
    for event_id, ts_ms, value in (("b", 2, "second"), ("a", 1, "first"), ("a", 1, "again")):
        store.put_seen("paid#sig#hash", event_id, ts_ms, value, ttl=10**10)
    assert list(store.seen_since("paid#sig#hash", 0)) == [(1, "first"), (2, "second")]
    assert list(store.seen_since("paid#sig#hash", 2)) == [(2, "second")]


def test_signatures_add_up(store: Store, ports: Ports) -> None:
    """Whoever adds them, none is lost."""
    store.add_signature("paid", "a")
    Store(ports.table).add_signature("paid", "b")
    assert set(store.signatures("paid")) == {"a", "b"}


def test_the_items_of_a_map_join_once(store: Store) -> None:
    """An item's record stands; the last to finish knows that it is."""
    for index in range(3):
        store.joins.record(RUN, "m", index, register(value=str(index)))
        store.joins.record(RUN, "m", index, register(value="other"))
    assert [one.value for one in store.joins.registers(RUN, "m", 3)] == ["0", "1", "2"]
    assert [store.joins.join(RUN, "m", index, 3, NOW) for index in (0, 2, 1)] == [False, False, True]
    assert store.joins.is_joined(RUN, "m", 3)


# -- the suite itself ----------------------------------------------------------------------------------
def test_every_method_of_every_port_is_called_in_this_suite() -> None:
    """By name, in the files that run on both backends."""
    protocols = (port_protocols.Table, port_protocols.Queue, port_protocols.Bus, port_protocols.Timers)
    wanted = {name for port in (*protocols, port_protocols.Blobs) for name in vars(port) if not name.startswith("_")}
    trees = [ast.parse(path.read_text()) for path in Path(__file__).parent.glob("test_[!a]*.py")]
    called = {node.attr for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert wanted - called == set()
