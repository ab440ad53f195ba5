"""The event bus in memory: EventBridge's envelope, its rules, its refusals."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from threading import Lock
from typing import Any, Final, NoReturn

from stepbridge.core.limits import EVENT_BYTES_MAX, EVENT_NAME_MAX, EVENTS_PER_CALL
from stepbridge.memory.dice import Dice
from stepbridge.memory.queue import MemoryQueue
from stepbridge.memory.requests import Requests
from stepbridge.ports import Bus, Clock, Entry

SOURCE_MAX: Final = 256
"""Characters of an event's `Source`. Source: PutEvents API, 2026-11."""
_ENTRY_OVERHEAD: Final = 14
"""Bytes that an entry's `Time` counts for. Source: EventBridge user guide, 2026."""


class RefusedError(ValueError):
    """The bus does not take this event; `code` is EventBridge's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class MemoryBus:
    """The bus of a world. Each queue has one rule, a predicate on entries."""

    def __init__(
        self,
        clock: Clock,
        requests: Requests,
        dice: Dice | None = None,
        *,
        log_max: int | None = None,
    ) -> None:
        self.log: list[tuple[datetime, Entry]] = []
        """Every event that was put, oldest first; the last `log_max` of them."""
        self._clock = clock
        self._requests = requests
        self._dice = dice
        self._log_max = log_max
        self._rules: dict[MemoryQueue, Callable[[Entry], bool]] = {}
        self._watchers: tuple[Callable[[datetime, str], object], ...] = ()
        self.puts = 0
        """How many events were put; their ids derive from it."""
        self._lock = Lock()

    def subscribe(self, queue: MemoryQueue, wants: Callable[[Entry], bool]) -> None:
        """Events that `wants` accepts go to `queue` from now on; its former rule ends."""
        with self._lock:
            self._rules = {**self._rules, queue: wants}

    def watch(self, watcher: Callable[[datetime, str], object]) -> None:
        """From now on `watcher` is called with every event's time of arrival and envelope, in the sender's thread."""
        with self._lock:
            self._watchers = (*self._watchers, watcher)

    def counted_by(self, requests: Requests) -> Bus:
        """The same bus, as an app that counts its own requests sees it."""
        return _CountedBus(self, requests)

    def put(self, entries: Sequence[Entry]) -> None:
        """Puts all of them, ten and at most 1 MB a call, or none.

        Raises:
            ValueError: an event's name, source, size or detail is not one that EventBridge takes.
        """
        self._requests.count("PutEvents", self.put_all(entries))

    def put_all(self, entries: Sequence[Entry]) -> int:
        """As `put`, uncounted; the number of calls that it takes."""
        for entry in entries:
            _check(entry)
        for entry in entries:
            self._deliver(entry)
        return sum(1 for _ in _calls(entries))

    def put_raw(self, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
        """Serves one AWS `PutEvents` call: `Entries` in, the answer's `Entries` out, in order.

        An entry is `{"EventId"}` or, where it was refused alone, `{"ErrorCode", "ErrorMessage"}`.

        Raises:
            ValueError: the whole call is refused: not 1 to 10 entries, or above 1 MB.
        """
        read = [_entry_of(raw) for raw in entries]
        if not 1 <= len(read) <= EVENTS_PER_CALL:
            raise ValueError(f"a call has 1 to {EVENTS_PER_CALL} entries, not {len(read)}")
        if sum(map(_entry_bytes, read)) > EVENT_BYTES_MAX:
            raise ValueError(f"the entries of a call are above {EVENT_BYTES_MAX} bytes")
        self._requests.count("PutEvents")
        return [self._answer(entry, raw) for entry, raw in zip(read, entries, strict=True)]

    def _answer(self, entry: Entry, raw: Mapping[str, Any]) -> dict[str, str]:
        if (refused := refusal(raw)) is not None:
            return refused
        return {"EventId": self._deliver(entry, _instant(raw.get("Time")), raw.get("Resources") or ())}

    def _deliver(self, entry: Entry, time: datetime | None = None, resources: Sequence[str] = ()) -> str:
        """Logs the event and hands it to the rules; its id."""
        now = self._clock.now()
        with self._lock:
            self.puts += 1
            event_id = _uuid(f"event {self.puts}")
            rules, watchers = self._rules, self._watchers
            self.log.append((now, entry))
            if self._log_max is not None:
                del self.log[: -self._log_max]
        envelope = ""
        for queue, wants in rules.items():
            if wants(entry):
                envelope = envelope or _envelope(entry, event_id, time or now, resources)
                queue.deliver(envelope)
                if self._dice is not None and self._dice.duplicate():
                    queue.deliver(envelope)
        for watcher in watchers:
            envelope = envelope or _envelope(entry, event_id, time or now, resources)
            watcher(now, envelope)
        return event_id


@dataclass(frozen=True, slots=True)
class _CountedBus:
    bus: MemoryBus
    requests: Requests

    def put(self, entries: Sequence[Entry]) -> None:
        self.requests.count("PutEvents", self.bus.put_all(entries))


def refusal(raw: Mapping[str, Any]) -> dict[str, str] | None:
    """What `PutEvents` answers for an entry that it does not take; None: it takes it."""
    try:
        _check(_entry_of(raw))
        _instant(raw.get("Time"))
    except RefusedError as refused:
        return {"ErrorCode": refused.code, "ErrorMessage": str(refused)}
    return None


def _entry_of(raw: Mapping[str, Any]) -> Entry:
    return Entry(
        name=str(raw.get("DetailType") or ""),
        source=str(raw.get("Source") or ""),
        detail=str(raw.get("Detail") or ""),
    )


def _envelope(entry: Entry, event_id: str, time: datetime, resources: Sequence[str]) -> str:
    head = json.dumps(
        {
            "version": "0",
            "id": event_id,
            "detail-type": entry.name,
            "source": entry.source,
            "account": "000000000000",
            "time": time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "region": "us-east-1",
            "resources": list(resources),
        },
        ensure_ascii=False,
    )
    return f'{head[:-1]}, "detail": {entry.detail}}}'


def _uuid(name: str) -> str:
    text = sha256(name.encode()).hexdigest()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"


def _instant(time: object) -> datetime | None:
    """A `Time` as the JSON protocol has it (seconds since the epoch), or as ISO 8601."""
    try:
        match time:
            case None:
                return None
            case int() | float():
                return datetime.fromtimestamp(time, UTC)
            case _:
                instant = datetime.fromisoformat(str(time))
                return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise RefusedError("InvalidArgument", f"Time {time!r}: {error}") from None


def _calls(entries: Sequence[Entry]) -> Iterator[int]:
    """The number of entries in each call: ten at most, and 1 MB."""
    number, total = 0, 0
    for size in map(_entry_bytes, entries):
        if number == EVENTS_PER_CALL or total + size > EVENT_BYTES_MAX:
            yield number
            number, total = 0, 0
        number, total = number + 1, total + size
    if number:
        yield number


def _entry_bytes(entry: Entry) -> int:
    return _ENTRY_OVERHEAD + len(f"{entry.name}{entry.source}{entry.detail}".encode())


def _check(entry: Entry) -> None:
    if not 0 < len(entry.name) <= EVENT_NAME_MAX:
        raise RefusedError("InvalidArgument", f"event {entry.name!r}: a name has 1 to {EVENT_NAME_MAX} characters")
    if not 0 < len(entry.source) <= SOURCE_MAX:
        raise RefusedError("InvalidArgument", f"event {entry.name!r}: a source has 1 to {SOURCE_MAX} characters")
    if (size := _entry_bytes(entry)) > EVENT_BYTES_MAX:
        raise RefusedError("InvalidArgument", f"event {entry.name!r}: {size} bytes, at most {EVENT_BYTES_MAX} fit")
    try:
        detail = json.loads(entry.detail, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError("MalformedDetail", f"event {entry.name!r}: its detail is not JSON: {error}") from None
    if not isinstance(detail, dict):
        raise RefusedError("MalformedDetail", f"event {entry.name!r}: its detail is not a JSON object")


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")
