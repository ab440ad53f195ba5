"""The nouns of the engine: frozen, and what their items in the table hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from stepbridge.core.instants import from_ms


class Status(StrEnum):
    """Where a run stands."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    SLEEPING = "SLEEPING"
    PARKED = "PARKED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended; an ended run never changes its status again."""
        return self in TERMINAL


TERMINAL = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
RERUN = "rerun"
"""In a head's `extra`: the run that this one is a rerun of."""


class Kind(StrEnum):
    """What a step is."""

    RUN = "run"
    SLEEP = "sleep"
    WAIT = "wait_for_event"
    WAIT_ANY = "wait_for_any"
    SIGNAL = "wait_for_signal"
    INVOKE = "invoke"
    MAP = "map"
    SEND = "send_event"
    SEND_SIGNAL = "send_signal"
    SEEN = "seen"
    """Not a step: a list of outside results that was too long for another record."""


class Mark(StrEnum):
    """What a register says of its step."""

    OK = "ok"
    ERROR = "error"
    RETRY = "retry"
    """Failed, to be tried again at `due_at`."""
    STARTED = "started"
    """Begun, and not to be repeated silently where a crash hides how it ended."""
    DUE = "due"
    """A sleep: over once `due_at` has come."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A value kept outside the table, by its key."""

    key: str


Stored = str | bytes | Blob
"""JSON text as it is kept: plain, compressed, or outside the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error as it is recorded: class name, message, and traceback text without our own frames."""

    name: str
    message: str
    stack: str = ""


class Register(NamedTuple):
    """One step's record: written once, but for the attempts before the last. Built by keyword.

    `order` is (epoch, counter) of the write, taken when the step's function ended; results written from
    outside the run have none. `seen` names the outside results that the run had been given before.

    A tuple: long runs are replayed from thousands, and a frozen dataclass takes twice as long to make.
    """

    key: str
    step_id: str
    kind: Kind
    mark: Mark
    started_at: datetime
    ended_at: datetime
    occurrence: int = 0
    value: Stored | None = None
    failure: Failure | None = None
    attempts: int = 1
    due_at: datetime | None = None
    order: tuple[int, int] | None = None
    seen: tuple[str, ...] = ()
    event_id: str | None = None
    """Of the event that resolved this wait; None for a timeout and for other kinds."""
    places: tuple[str, ...] = ()
    """Of the wait's items, where the run itself found the event, looking back; so it removes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """An event as the engine carries it. `ts` is in milliseconds since the epoch."""

    name: str
    id: str
    ts: int
    source: str
    data: Stored | None
    """JSON text; None: kept beside the head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapItem:
    """One item of a map step."""

    index: int
    count: int
    lanes: int = 0
    """At most so many items at once: whoever ends item n begins item n + lanes; 0: all at once."""
    source: str = ""
    """With lanes: key of the blob that holds all items."""
    target: str = ""
    """With lanes and children: the function that the next child is a run of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """Who waits for this run's end: a step of another run, or an item of its map step."""

    run_id: str
    step_key: str
    step_id: str
    occurrence: int = 0
    item: MapItem | None = None
    app: str = ""
    """The app that waits, where it is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmedWait:
    """A wait item that stands in the match index for a step of this run."""

    step_key: str
    step_id: str
    occurrence: int = 0
    places: tuple[str, ...]
    """Partition keys of its items, one an alternative."""
    deadline: datetime
    kind: Kind = Kind.WAIT


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmedChild:
    """A run that a step of this run has started and waits for."""

    step_key: str
    step_id: str
    occurrence: int = 0
    run_id: str
    deadline: datetime | None
    """When the wait for it is given up; None: never."""
    app: str = ""
    """The app that runs it, where it is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmedMap:
    """A map step whose items are on their way."""

    step_key: str
    step_id: str
    occurrence: int = 0
    count: int
    children: int = 0
    """At most so many items are runs at once, to be told when nobody waits for them any more; 0: they are no runs."""
    deadline: None = None


Armed = ArmedWait | ArmedChild | ArmedMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """A live trigger that wakes a run at a due time."""

    due_ms: int
    scheduled: bool
    """By Scheduler, and so to be deleted when it is not needed; else by a delayed message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The run itself: who may advance it, what it waits on, how it ended."""

    run_id: str
    function_id: str
    status: Status
    epoch: int = 0
    """Rises with every claim; fences writes to the head."""
    lease_until: datetime | None = None
    holder: str = ""
    wake: str = ""
    """Name of the finisher whose wake is on its way; empty once the run has been claimed."""
    released_epoch: int = 0
    """Epoch of the last orderly suspension."""
    forgiven_epoch: int = 0
    """Epoch of the last invocation that gave the lease back after a failure it saw."""
    timers: tuple[Timer, ...] = ()
    """The live timers that wake this run; seldom more than one, since only the earliest is armed."""
    armed: tuple[Armed, ...] = ()
    idle_hand_overs: int = 0
    """Hand-overs in a row without a new record."""
    pages: int = 0
    """How many pages of further armed waits and children stand beside the head."""
    seen: tuple[str, ...] = ()
    """Outside results that the run was given since its last record, in that order."""
    event: EventRecord
    parent: Parent | None = None
    attempt: int = 0
    """Of the body, from 0."""
    retry_at: datetime | None = None
    """The body failed and is not to be run again before this."""
    output: Stored | None = None
    failure: Failure | None = None
    told: bool = False
    """Terminal, and everybody who is to hear of it has been told."""
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    extra: dict[str, str] = field(default_factory=dict)
    """Trace context and the like, carried along unread."""

    @property
    def counts_from(self) -> datetime:
        """From when the run may last as long as a run may: its making, or the later time that its event names."""
        return max(self.created_at, from_ms(self.event.ts))


class Role(StrEnum):
    """What a wait is for."""

    STEP = "step"
    ANY = "any"
    """One of several patterns of a step."""
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """An item of the match index: a step of a run, or its cancellation, that wants an event."""

    place: str
    run_id: str
    step_key: str
    step_id: str
    occurrence: int
    role: Role = Role.STEP
    index: int = 0
    """Of the pattern among several."""
    kind: Kind = Kind.WAIT
    event_name: str
    since_ms: int = 0
    """Older events do not count."""
    expression: str = ""
    """The whole `if_exp`; empty: the key says all."""
    event: Stored = ""
    """JSON text of the part of the trigger that the expression reads."""
    consumed: tuple[str, ...] = ()
    """Events that the run has used already, by id or its hash; they never match."""
    armed_at: datetime
    deadline: datetime
