"""The event bus on EventBridge."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from stepbridge.aws.batches import Refused, batches, deliver
from stepbridge.aws.failures import Resource
from stepbridge.aws.settings import variable
from stepbridge.core.limits import EVENT_BYTES_MAX, EVENTS_PER_CALL
from stepbridge.ports import Entry

if TYPE_CHECKING:
    from mypy_boto3_events.client import EventBridgeClient

PERMISSION: Final = "events:PutEvents"
_ENTRY_AT_FAULT: Final = frozenset({"InvalidArgument", "MalformedDetail", "RedactionFailure"})
"""Of the codes that AWS calls not retryable, those that the entry itself is to blame for.
Source: events service model of botocore 1.44.5, 2026-11."""


class EventBridgeBus:
    """`ports.Bus` on EventBridge.

    Args:
        client: Gives the client, which may be made only then.
        bus_arn: Of the bus. A mere name that is wrong would lose events without an error.
        sleep: Waits between two tries of refused events.
    """

    def __init__(
        self,
        client: Callable[[], EventBridgeClient],
        bus_arn: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._bus_arn = bus_arn
        self._sleep = sleep
        self._resource = Resource(f"The event bus {bus_arn}", variable("bus_arn"))

    def put(self, entries: Sequence[Entry]) -> None:
        """Puts all events, ten a call and below 1 MB a call; refused ones are tried again.

        An event that EventBridge took is not sent a second time, unless the answer to the whole
        call was lost: an event's own id, in its detail, is what makes it one.

        Raises:
            ValueError: An event is too large (then none was sent), or malformed.
            Unavailable: Throttled or failing; some of the events may have been put.
            Misconfigured: The bus or the permission is missing.
        """
        for entry in entries:
            if (size := bytes_of(entry)) >= EVENT_BYTES_MAX:
                raise ValueError(
                    f"The event {entry.name!r} has {size} bytes; EventBridge takes fewer than"
                    f" {EVENT_BYTES_MAX}. Mend: keep the data elsewhere and send its address."
                )
        for call in batches(entries, bytes_of, entries_max=EVENTS_PER_CALL, bytes_max=EVENT_BYTES_MAX - 1):
            deliver(
                call,
                self._put_batch,
                resource=self._resource,
                permission=PERMISSION,
                sleep=self._sleep,
            )

    def _put_batch(self, entries: Sequence[Entry]) -> list[Refused[Entry]]:
        with self._resource.calling(PERMISSION):
            answer = self._client().put_events(
                Entries=[
                    {
                        "EventBusName": self._bus_arn,
                        "DetailType": entry.name,
                        "Source": entry.source,
                        "Detail": entry.detail,
                    }
                    for entry in entries
                ]
            )
        if not answer["FailedEntryCount"]:
            return []
        return [
            Refused(
                entry,
                result["ErrorCode"],
                result.get("ErrorMessage", ""),
                by_fault=result["ErrorCode"] in _ENTRY_AT_FAULT,
            )
            for entry, result in zip(entries, answer["Entries"], strict=True)
            if result.get("ErrorCode")
        ]


def bytes_of(entry: Entry) -> int:
    """An entry's size as EventBridge counts it: its source, detail type and detail in UTF-8.

    The sizes of one call's entries add up to less than 1 MB. Sources: EventBridge user guide,
    "Calculating PutEvents event entry size" (the rule; read 2026-11, where it still says 256 KB);
    service model of botocore 1.44.5 (1 MB, since 2026-01).
    """
    return len(entry.source.encode()) + len(entry.name.encode()) + len(entry.detail.encode())
