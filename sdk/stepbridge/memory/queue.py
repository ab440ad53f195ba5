"""The queue in memory: SQS's standard queue with its DLQ, and the driver's side of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from threading import Lock
from typing import Any, Final

from stepbridge.core.limits import MAX_RECEIVES, MESSAGES_PER_CALL, QUEUE_DELAY_MAX
from stepbridge.memory.dice import ECHOES_MAX, Dice
from stepbridge.memory.requests import Requests
from stepbridge.ports import Clock, Message, Outgoing

MESSAGE_BYTES_MAX: Final = 1024 * 1024
"""Source: SQS quotas, 2026-11."""
VISIBILITY_MAX: Final = timedelta(hours=12)
_AT_ONCE: Final = timedelta(0)
_WINDOW: Final = 20
"""Among how many more messages than asked for the dice choose."""


@dataclass(slots=True, eq=False, kw_only=True)
class _Held:
    """A message in the queue. An echo is a second one with the same id, which lives on its own."""

    id: str
    body: str
    internal: bool
    sent_at: datetime
    visible_at: datetime
    receives: int = 0
    receipt: str = ""
    """Of its last receive; an older one deletes nothing."""
    turn: int = 0
    """Number of its live entry in the heap; 0 once it is gone."""

    def message(self) -> Message:
        return Message(
            id=self.id,
            body=self.body,
            receipt=self.receipt,
            receives=self.receives,
            internal=self.internal,
            sent_at=self.sent_at,
        )


class MemoryQueue:
    """`ports.Queue` in memory, and what the driver, EventBridge and Scheduler do with it.

    Unlike SQS it keeps fractions of a second in delays, so that simulated time is exact.
    """

    def __init__(
        self,
        clock: Clock,
        requests: Requests,
        *,
        visibility: timedelta = timedelta(seconds=150),
        dice: Dice | None = None,
    ) -> None:
        self.dead: list[tuple[Message, str]] = []
        """The dead-letter queue: messages and why they are there."""
        self.on_deliver: Callable[[], object] | None = None
        """Called, in the sender's thread, after messages have come in: what wakes a driver in real time."""
        self._clock = clock
        self._requests = requests
        self._visibility = visibility
        self._dice = dice
        self._heap: list[tuple[datetime, int, _Held]] = []
        """By when it becomes visible; an entry whose turn is not its message's is void."""
        self._received: dict[str, _Held] = {}
        """By the receipt of the last receive."""
        self._echoes: Counter[str] = Counter()
        self._ids = 0
        self._turns = 0
        self._lock = Lock()

    # -- the engine's side -------------------------------------------------------------------------
    def send(self, messages: Sequence[Outgoing]) -> None:
        """Sends all of them, ten a call.

        Raises:
            ValueError: a delay is not within 0 to 15 minutes, or a body empty or above 1 MB.
        """
        for message in messages:
            _check(message.body, message.delay)
        self._count("SendMessage", len(messages))
        now = self._clock.now()
        with self._lock:
            for message in messages:
                self._add(message.body, now + message.delay, now, internal=True)
        self._tell()

    def postpone(self, message: Message, delay: timedelta) -> None:
        """A received message comes back after `delay`; nothing happens to one that is out of hand.

        Raises:
            ValueError: the delay is not within 0 to 12 hours.
        """
        if not _AT_ONCE <= delay <= VISIBILITY_MAX:
            raise ValueError(f"message {message.id}: a visibility lasts 0 to 12 hours, not {delay}")
        self._requests.count("ChangeMessageVisibility")
        now = self._clock.now()
        with self._lock:
            held = self._received.get(message.receipt)
            if held is not None and held.visible_at > now:
                self._schedule(held, now + delay)

    def bury(self, message: Message, reason: str) -> None:
        """Puts a copy into the dead-letter queue, with the reason."""
        self._requests.count("SendMessage")
        with self._lock:
            self.dead.append((message, reason))

    # -- the driver's side -------------------------------------------------------------------------
    def receive(self, limit: int) -> list[Message]:
        """At most `limit` messages that are visible now, those visible longest first.

        They stay out of sight for the visibility, then come back unless acknowledged. One that was
        received `MAX_RECEIVES` times goes to the dead-letter queue instead.
        """
        now = self._clock.now()
        with self._lock:
            taken = self._take(now, limit + _WINDOW if self._dice else limit)
            if self._dice is not None:
                self._dice.shuffle(taken)
                for held in taken[limit:]:
                    self._schedule(held, held.visible_at)
                del taken[limit:]
            messages = [self._hand_out(held, now) for held in taken]
        if messages:
            self._requests.count("ReceiveMessage")
        return messages

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Deletes the messages, but for those that were received again since."""
        self._count("DeleteMessage", len(messages))
        with self._lock:
            for message in messages:
                held = self._received.pop(message.receipt, None)
                if held is not None:
                    held.turn = 0

    def deliver(self, body: str, *, internal: bool = False, delay: timedelta = _AT_ONCE) -> None:
        """What EventBridge and Scheduler do, billed as a `SendMessage`.

        Raises:
            ValueError: the delay is not within 0 to 15 minutes, or the body empty or above 1 MB.
        """
        _check(body, delay)
        self._requests.count("SendMessage")
        now = self._clock.now()
        with self._lock:
            self._add(body, now + delay, now, internal=internal)
        self._tell()

    def next_at(self) -> datetime | None:
        """When the next message is or becomes visible, in flight or not; None: there is none."""
        with self._lock:
            self._drop_void()
            return self._heap[0][0] if self._heap else None

    def depth(self) -> tuple[int, int]:
        """How many messages are visible, and how many in flight or delayed. Takes linear time."""
        now = self._clock.now()
        with self._lock:
            live = [held for _, turn, held in self._heap if turn == held.turn]
            visible = sum(held.visible_at <= now for held in live)
            return visible, len(live) - visible

    def redrive(self) -> int:
        """Sends the DLQ's messages anew, with new ids; how many there were."""
        now = self._clock.now()
        with self._lock:
            dead, self.dead = self.dead, []
            for message, _ in dead:
                self._add(message.body, now, now, internal=message.internal)
            return len(dead)

    def dump(self) -> dict[str, Any]:
        """All messages, those in flight as if their receivers were lost."""
        with self._lock:
            live = sorted(entry for entry in self._heap if entry[1] == entry[2].turn)
            return {
                "ids": self._ids,
                "messages": [{**asdict(held), "receipt": "", "turn": 0} for _, _, held in live],
                "dead": [(asdict(message), reason) for message, reason in self.dead],
            }

    def load(self, state: dict[str, Any]) -> None:
        """Takes in what `dump` gave."""
        with self._lock:
            self._ids = state["ids"]
            self.dead += [(Message(**message), reason) for message, reason in state["dead"]]
            for message in state["messages"]:
                held = _Held(**message)
                self._schedule(held, held.visible_at)

    def recall(self) -> None:
        """What is in flight is there again at once, as if it had never been received: its receivers are gone."""
        now = self._clock.now()
        with self._lock:
            for _, turn, held in list(self._heap):
                if turn == held.turn and held.receives:
                    held.receives = 0
                    self._schedule(held, now)

    def _tell(self) -> None:
        if self.on_deliver is not None:
            self.on_deliver()

    # -- inside, under the lock --------------------------------------------------------------------
    def _add(self, body: str, visible_at: datetime, now: datetime, *, internal: bool) -> None:
        self._ids += 1
        id = f"00000000-0000-4000-8000-{self._ids:012x}"
        held = _Held(id=id, body=body, internal=internal, sent_at=now, visible_at=visible_at)
        self._schedule(held, visible_at)

    def _schedule(self, held: _Held, visible_at: datetime) -> None:
        self._turns += 1
        held.turn = self._turns
        held.visible_at = visible_at
        heappush(self._heap, (visible_at, self._turns, held))

    def _drop_void(self) -> None:
        while self._heap and self._heap[0][1] != self._heap[0][2].turn:
            heappop(self._heap)

    def _take(self, now: datetime, limit: int) -> list[_Held]:
        taken: list[_Held] = []
        while len(taken) < limit:
            self._drop_void()
            if not self._heap or self._heap[0][0] > now:
                break
            held = heappop(self._heap)[2]
            if held.receives >= MAX_RECEIVES:
                self._received.pop(held.receipt, None)
                held.turn = 0
                self.dead.append((held.message(), f"received {held.receives} times"))
            else:
                taken.append(held)
        return taken

    def _hand_out(self, held: _Held, now: datetime) -> Message:
        self._received.pop(held.receipt, None)
        held.receives += 1
        self._schedule(held, now + self._visibility)
        held.receipt = f"{held.id}/{held.turn}"
        self._received[held.receipt] = held
        if self._dice is not None and self._echoes[held.id] < ECHOES_MAX and self._dice.duplicate():
            self._echoes[held.id] += 1
            echo = replace(held, receipt="")
            self._schedule(echo, now + timedelta(seconds=self._dice.echo_seconds()))
        return held.message()

    def _count(self, operation: str, messages: int) -> None:
        """Ten a call; a call of one is no batch."""
        full, rest = divmod(messages, MESSAGES_PER_CALL)
        self._requests.count(operation, int(rest == 1))
        self._requests.count(operation + "Batch", full + int(rest > 1))


def _check(body: str, delay: timedelta) -> None:
    if not _AT_ONCE <= delay <= QUEUE_DELAY_MAX:
        raise ValueError(f"a message waits 0 to 15 minutes, not {delay}: {body:.80}")
    if not body or (len(body) > MESSAGE_BYTES_MAX // 4 and len(body.encode()) > MESSAGE_BYTES_MAX):
        raise ValueError(f"a message has 1 to {MESSAGE_BYTES_MAX} bytes: {body:.80}")
