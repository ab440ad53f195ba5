"""The protocol's writes: each method is one request, or the pages of one query.

The conditions are the protocol. Each clause has a name that says what it protects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from stepbridge.core.conditions import (
    Absent,
    Among,
    Below,
    Change,
    Condition,
    Item,
    Present,
    Value,
    both,
    either,
    equals,
)
from stepbridge.core.ids import digest
from stepbridge.core.instants import to_ms
from stepbridge.core.items import (
    armed_of,
    armed_text,
    failure_text,
    head_birth,
    head_of,
    register_item,
    register_of,
    stored_attributes,
    stored_value,
    timers_text,
    wait_item,
    wait_of,
)
from stepbridge.core.keys import (
    HEAD_SK,
    REGISTER_PREFIX,
    head_key,
    index_partition,
    page_key,
    register_key,
    run_pk,
    seen_key,
    side_key,
    signatures_key,
    wait_key,
)
from stepbridge.core.limits import ARMED_INLINE, ARMED_PAGE_BYTES, HEAD_VALUE_BYTES, LEASE_MARGIN, RETENTION, RUN_MAX
from stepbridge.core.records import (
    TERMINAL,
    Armed,
    Blob,
    Failure,
    Head,
    Mark,
    Register,
    Status,
    Stored,
    Wait,
)
from stepbridge.core.transitions import Cause, allowing
from stepbridge.engine.joins import Joins
from stepbridge.errors import UnreadableError
from stepbridge.ports import Table


@dataclass(frozen=True, slots=True)
class Claimed:
    """The run is ours until the lease ends."""

    head: Head

    @property
    def is_new(self) -> bool:
        """Whether this claim has made the run: nobody has held it, nor queued it for its time, with a timer."""
        return self.head.epoch == 1 and not self.head.timers


@dataclass(frozen=True, slots=True)
class Refused:
    """The run is not ours; the head as it stands, None where there is none."""

    head: Head | None


@dataclass(frozen=True, slots=True)
class Past:
    """What a run's partition holds beside its head."""

    registers: list[Register]
    armed: tuple[Armed, ...]
    data: Stored | None


_NO_RUN = Absent("pk")
_EXISTS = Present("pk")
_CLAIMABLE = Among("st", allowing(Cause.CLAIM))
_STARTABLE = Among("st", allowing(Cause.START))
_CANCELLABLE = Among("st", allowing(Cause.CANCEL))
_PARKED = Among("st", allowing(Cause.RESUME))
_HELD = Among("st", allowing(Cause.SUSPEND))


def _lease_over(now: datetime) -> Condition:
    return Below("lx", to_ms(now))


def _still_mine(epoch: int) -> Condition:
    return both(_HELD, equals("ep", epoch))


class Store:
    """A run's records in the table."""

    def __init__(self, table: Table, retention_seconds: int = int(RETENTION.total_seconds())) -> None:
        self._table = table
        self._retention = retention_seconds
        self._known: set[tuple[str, str]] = set()
        self.joins = Joins(table, self._far)

    # -- the head ----------------------------------------------------------------------------------
    def enqueue(self, head: Head) -> Head | None:
        """Writes the head of a run that starts later, with what is armed for it; None, or the one that stands."""
        item: Item = {**self._born(head), "st": Status.QUEUED.value, "lx": 0, **self._key(head.run_id)}
        if head.armed:
            item["ar"] = armed_text(head.armed)
        if head.timers:
            item["tm"] = timers_text(head.timers)
        standing = self._table.put(item, _NO_RUN)
        return None if standing is None else head_of(standing)

    def unpark(self, head: Head) -> None:
        """Makes a parked run one that sleeps, to be woken by the message that asks for it.

        Its crashes are forgiven: its parking was an orderly suspension.
        """
        change = Change(set={"st": Status.SLEEPING.value}, remove=("er",))
        when = both(_PARKED, equals("ep", head.epoch))
        self._table.update(head_key(head.run_id), change, when)

    def claim(
        self, run_id: str, *, birth: Head | None, holder: str, deadline: datetime, now: datetime
    ) -> Claimed | Refused:
        """Takes the lease, until the deadline and a margin. With `birth` it may create the run.

        Conditions: a start message creates, or takes a run that has not suspended; any other message
        needs a run that is there and has not ended. Nobody takes a lease that is not over.
        """
        free = _lease_over(now)
        starts = either(_NO_RUN, both(_STARTABLE, free))
        when = both(_EXISTS, _CLAIMABLE, free) if birth is None else starts
        change = Change(
            set={
                "st": Status.RUNNING.value,
                "lx": to_ms(deadline + LEASE_MARGIN),
                "ho": holder,
            },
            default={"t1": to_ms(now), **(self._born(birth) if birth is not None else {})},
            add={"ep": 1},
            remove=("wk",),
        )
        try:
            answer = self._table.update(head_key(run_id), change, when)
        except UnreadableError as error:
            self._give_back(run_id, holder, error.item)
            raise
        head = None if answer.item is None else head_of(answer.item)
        if answer.ok and head is not None:
            return Claimed(head)
        if head is not None and head.holder == holder and head.status is Status.RUNNING:
            return Claimed(head)  # our own claim, whose answer was lost
        return Refused(head)

    def _give_back(self, run_id: str, holder: str, item: Mapping[str, Value]) -> None:
        """A claim whose head cannot be read is no crash: the run goes on once the key is there again."""
        if item.get("ho") == holder:
            epoch = int(item["ep"])
            with suppress(UnreadableError):
                self._table.update(head_key(run_id), Change(set={"lx": 0, "fe": epoch}), _still_mine(epoch))

    def head(self, run_id: str) -> Head | None:
        """The head, or None."""
        item = self._table.get(head_key(run_id))
        return None if item is None else head_of(item)

    def past(self, run_id: str) -> Past:
        """All that stands beside the head, read strongly."""
        registers: list[Register] = []
        armed: list[Armed] = []
        data: Stored | None = None
        for item in self._table.query(run_pk(run_id), after=HEAD_SK):
            sort_key = str(item["sk"])
            if sort_key.startswith(REGISTER_PREFIX):
                registers.append(register_of(item))
            elif sort_key.startswith("#armed#"):
                armed.extend(armed_of(str(item["ar"])))
            elif sort_key == "#in":
                data = stored_value(item, "v")
        return Past(registers, tuple(armed), data)

    def suspend(self, head: Head) -> Head | None:
        """Writes the head as suspended and gives the lease back; None, or the head that refused."""
        head = self._paged(head)
        change: dict[str, Value] = {
            "st": head.status.value,
            "lx": 0,
            "se": head.epoch,
            "at": head.attempt,
        }
        optional: dict[str, Value | None] = {
            "tm": timers_text(head.timers) or None,
            "ar": armed_text(head.armed) if head.armed else None,
            "ap": head.pages or None,
            "ih": head.idle_hand_overs or None,
            "sn": ",".join(head.seen) or None,
            "ra": None if head.retry_at is None else to_ms(head.retry_at),
            "er": _failure_text(head.failure),
        }
        change.update({name: value for name, value in optional.items() if value is not None})
        gone = tuple(name for name, value in optional.items() if value is None)
        answer = self._table.update(head_key(head.run_id), Change(set=change, remove=gone), _still_mine(head.epoch))
        if answer.ok or answer.item is None:
            return None
        standing = head_of(answer.item)
        mine = standing.released_epoch == head.epoch and standing.status is head.status
        return None if mine else standing

    def _paged(self, head: Head) -> Head:
        """The head as it is to be written; what is armed stands on pages beside it, where there is much."""
        if len(head.armed) <= ARMED_INLINE:
            return head
        pages = head.pages
        for part in _parts(head.armed):
            page = self._key(head.run_id, page_key(head.run_id, pages).sk)
            self._table.put({**page, "ar": armed_text(part), "ttl": self._far(head.counts_from)})
            pages += 1
        return replace(head, armed=(), pages=pages)

    def release(self, head: Head) -> None:
        """Gives the lease back after a failure that was seen, so that it does not count as a crash."""
        change = Change(set={"lx": 0, "fe": head.epoch})
        self._table.update(head_key(head.run_id), change, _still_mine(head.epoch))

    def end(self, head: Head) -> Head | None:
        """Writes the terminal head; None, or the head that refused (someone else ended the run)."""
        change = self._ending(self._paged(head))
        answer = self._table.update(head_key(head.run_id), change, _still_mine(head.epoch))
        if answer.ok or answer.item is None:
            return None
        standing = head_of(answer.item)
        mine = standing.epoch == head.epoch and standing.status is head.status
        return None if mine else standing

    def cancel(self, head: Head) -> Head:
        """Writes CANCELLED over any head that has not ended, and where none is; returns the head as it is now."""
        when = either(_NO_RUN, _CANCELLABLE)
        change = replace(self._ending(head), default=head_birth(head))
        answer = self._table.update(head_key(head.run_id), change, when)
        assert answer.item is not None  # noqa: S101 - written, or refused by the one that stands
        return head_of(answer.item)

    def mark_told(self, run_id: str) -> None:
        """Notes on a terminal head that everybody has been told."""
        terminal = Among("st", tuple(status.value for status in TERMINAL))
        self._table.update(head_key(run_id), Change(set={"td": 1}), terminal)

    def set_wake(self, run_id: str, finisher: str) -> bool:
        """Whether `finisher` is the one to send the wake: the flag was free, or it is its own."""
        when = both(_CLAIMABLE, Absent("wk"))
        answer = self._table.update(head_key(run_id), Change(set={"wk": finisher}), when)
        return answer.ok or (answer.item is not None and answer.item.get("wk") == finisher)

    # -- registers ---------------------------------------------------------------------------------
    def put_register(
        self,
        run_id: str,
        register: Register,
        *,
        after_attempts: int = 0,
        started_in: int | None = None,
        copied_at: datetime | None = None,
    ) -> Register:
        """Writes a register once; whoever comes second gets the one that stands.

        A step that has failed `after_attempts` times may be written over, by the next attempt only; one
        whose start is recorded, by who started it: the epoch `started_in`. What another run recorded long
        ago is kept from `copied_at` on.
        """
        when: Condition = Absent("sk")
        if started_in is not None:
            when = both(equals("st", Mark.STARTED.value), equals("ep", started_in))
        elif after_attempts:
            when = both(equals("st", Mark.RETRY.value), equals("at", after_attempts))
        item = {**register_item(run_id, register), "ttl": self._far(copied_at or register.ended_at)}
        standing = self._table.put(item, when)
        return register if standing is None else register_of(standing)

    # -- the match index ---------------------------------------------------------------------------
    def signatures(self, event_name: str) -> tuple[str, ...]:
        """The signatures under which waits for this event may stand. Never cached: that loses events."""
        item = self._table.get(signatures_key(event_name))
        if item is None:
            return ()
        return tuple(str(item[name]) for name in sorted(item) if name.startswith("s:"))

    def add_signature(self, event_name: str, signature: str) -> None:
        """Makes a signature known. That it is there may be remembered: nothing removes it."""
        if (event_name, signature) in self._known:
            return
        key = signatures_key(event_name)
        self._table.update(key, Change(set={"s:" + digest(signature, length=8): signature}))
        self._known.add((event_name, signature))

    def put_wait(self, wait: Wait) -> Wait:
        """Puts the wait; the one that stands already keeps its deadline."""
        ttl = to_ms(wait.deadline) // 1000 + self._retention
        standing = self._table.put(wait_item(wait, ttl), Absent("sk"))
        return wait if standing is None else wait_of(standing)

    def delete_wait(self, place: str, run_id: str, step_key: str) -> None:
        """Takes the wait out of the index."""
        self._table.delete(wait_key(place, run_id, step_key))

    def waits_at(self, place: str) -> Iterable[Wait]:
        """The waits that stand at a place, read strongly."""
        return (wait_of(item) for item in self._table.query(f"W#{place}"))

    # -- events to look back for ----------------------------------------------------------------------
    def put_seen(self, place: str, event_id: str, ts_ms: int, stored: Stored, ttl: int) -> None:
        """Keeps an event for waits that look back; written before the waits are read."""
        key = seen_key(place, ts_ms, event_id)
        self._table.put({"pk": key.pk, "sk": key.sk, "ttl": ttl, **stored_attributes("v", stored)}, Absent("sk"))

    def seen_since(self, place: str, since_ms: int) -> Iterable[tuple[int, Stored]]:
        """When each event came that is kept at a place, and the event; from an instant on, oldest first."""
        key = seen_key(place, since_ms, "")
        for item in self._table.query(key.pk, after=key.sk):
            stored = stored_value(item, "v")
            if stored is not None:
                yield int(str(item["sk"]).partition("#")[0]), stored

    # -- helpers -----------------------------------------------------------------------------------
    def _far(self, at: datetime) -> int:
        """A ttl that no run outlives: what belongs to a run must not expire before it has ended."""
        return to_ms(at + RUN_MAX) // 1000 + self._retention

    def _key(self, run_id: str, sort_key: str = HEAD_SK) -> Item:
        return {"pk": run_pk(run_id), "sk": sort_key}

    def _born(self, head: Head) -> Item:
        """What a new head holds; data that it cannot hold is written beside it first."""
        data = head.event.data
        if data is not None and _is_large(data):
            self._table.put(
                {
                    **self._key(head.run_id, side_key(head.run_id, "in").sk),
                    **stored_attributes("v", data),
                    "ttl": self._far(head.counts_from),
                }
            )
            data = None
        born = head_birth(replace(head, event=replace(head.event, data=data)))
        born["gp"] = index_partition(head.function_id, head.created_at)
        born["gs"] = f"{to_ms(head.created_at):013}#{head.run_id}"
        return born

    def _ending(self, head: Head) -> Change:
        ended_ms = to_ms(head.ended_at) if head.ended_at is not None else 0
        change: dict[str, Value] = {
            "st": head.status.value,
            "ls": head.status.value,
            "lx": 0,
            "at": head.attempt,
            "t2": ended_ms,
            "ttl": ended_ms // 1000 + self._retention,
        }
        if head.armed:
            change["ar"] = armed_text(head.armed)
        if head.pages:
            change["ap"] = head.pages
        if head.timers:
            change["tm"] = timers_text(head.timers)
        if (failure := _failure_text(head.failure)) is not None:
            change["er"] = failure
        if head.output is not None:
            if _is_large(head.output):
                side = self._key(head.run_id, side_key(head.run_id, "out").sk)
                self._table.put({**side, **stored_attributes("v", head.output), "ttl": self._far(head.counts_from)})
            else:
                change.update(stored_attributes("o", head.output))
        gone = ("wk", "sn", "ra", "er")
        return Change(set=change, remove=tuple(name for name in gone if name not in change))

    def output(self, head: Head) -> Stored | None:
        """A completed run's output, wherever it is kept."""
        if head.output is not None or head.status is not Status.COMPLETED:
            return head.output
        item = self._table.get(side_key(head.run_id, "out"))
        return None if item is None else stored_value(item, "v")

    def trigger_data(self, head: Head) -> Stored:
        """The data of the event that started the run, wherever it is kept."""
        if head.event.data is not None:
            return head.event.data
        item = self._table.get(side_key(head.run_id, "in"))
        return (None if item is None else stored_value(item, "v")) or "{}"

    def register(self, run_id: str, step_key: str) -> Register | None:
        """One step's register, or None."""
        item = self._table.get(register_key(run_id, step_key))
        return None if item is None else register_of(item)


def _parts(armed: Sequence[Armed]) -> Iterator[tuple[Armed, ...]]:
    """What is armed, in parts that fit into an item each."""
    part: list[Armed] = []
    size = 0
    for one in armed:
        size += len(armed_text((one,)).encode())
        if part and size > ARMED_PAGE_BYTES:
            yield tuple(part)
            part, size = [], len(armed_text((one,)).encode())
        part.append(one)
    yield tuple(part)


def _is_large(stored: Stored) -> bool:
    match stored:
        case str():
            return len(stored.encode()) > HEAD_VALUE_BYTES
        case bytes():
            return len(stored) > HEAD_VALUE_BYTES
        case Blob():
            return False


def _failure_text(failure: Failure | None) -> str | None:
    return None if failure is None else failure_text(failure)
