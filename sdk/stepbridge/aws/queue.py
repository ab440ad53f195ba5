"""The app's queue on SQS, and its messages as Lambda hands them over."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from stepbridge.aws.batches import Refused, batches, deliver
from stepbridge.aws.failures import Resource, code_of
from stepbridge.aws.settings import variable
from stepbridge.core.instants import from_ms
from stepbridge.core.limits import MESSAGES_PER_CALL, QUEUE_DELAY_MAX
from stepbridge.ports import Message, Outgoing

if TYPE_CHECKING:
    from mypy_boto3_sqs.client import SQSClient

INTERNAL: Final = "stepbridge"
"""The attribute, and top-level key, that only the engine's own messages have."""
MESSAGE_BYTES_MAX: Final = 1024 * 1024
"""Of a message, and of all messages of one call, attributes included. Source: SQS API, 2026-11."""
VISIBILITY_MAX: Final = timedelta(hours=12)
"""Source: SQS API, 2026-11."""
REASON_MAX: Final = 500
"""Characters of the reason on a buried message: an error's first lines."""

SCHEDULED_TIME: Final = "<aws.scheduler.scheduled-time>"
"""Scheduler puts `2026-11-22T09:00:00Z` there, the same at each retry. Source: Scheduler user guide, 2026."""
_MARK: Final = {"DataType": "String", "StringValue": "1"}
_MARK_BYTES: Final = len(INTERNAL) + len("String") + len("1")
_UNSENDABLE: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""What a message must not hold. Source: SQS API, 2026-11."""
_EMPTY: Final = "(empty)"
"""Stands for a body without a character, which SQS takes no more than it hands one out."""
_NUMBER: Final = re.compile("[0-9]{1,13}", re.ASCII)


class SqsQueue:
    """`ports.Queue` on SQS.

    Every method raises `Unavailable` or `Misconfigured`.

    Args:
        client: Gives the client, which may be made only then.
        url: Of the app's queue.
        dlq_url: Of its dead-letter queue.
        sleep: Waits between two tries of refused messages.
    """

    def __init__(
        self,
        client: Callable[[], SQSClient],
        url: str,
        dlq_url: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._url = url
        self._dlq_url = dlq_url
        self._sleep = sleep
        self._queue = Resource(f"The SQS queue {url}", variable("queue_url"))
        self._dlq = Resource(f"The SQS queue {dlq_url}", variable("dlq_url"))

    def send(self, messages: Sequence[Outgoing]) -> None:
        """Sends all of them, ten a call and 1 MiB a call; those that SQS refused are tried again.

        Raises:
            ValueError: A delay is above 15 minutes, or a message above 1 MiB; then none was sent.
        """
        entries = [_entry(message) for message in messages]
        for call in batches(entries, _bytes_of, entries_max=MESSAGES_PER_CALL, bytes_max=MESSAGE_BYTES_MAX):
            if len(call) == 1:
                with self._queue.calling("sqs:SendMessage"):
                    self._client().send_message(QueueUrl=self._url, **call[0])
            else:
                deliver(
                    call,
                    self._send_batch,
                    resource=self._queue,
                    permission="sqs:SendMessage",
                    sleep=self._sleep,
                )

    def _send_batch(self, entries: Sequence[dict[str, Any]]) -> list[Refused[dict[str, Any]]]:
        with self._queue.calling("sqs:SendMessage"):
            answer = self._client().send_message_batch(
                QueueUrl=self._url,
                Entries=[{"Id": str(index), **entry} for index, entry in enumerate(entries)],  # type: ignore[typeddict-item]
            )
        return [
            Refused(
                entries[int(failed["Id"])],
                failed["Code"],
                failed.get("Message", ""),
                by_fault=failed["SenderFault"],
            )
            for failed in answer.get("Failed", [])
        ]

    def postpone(self, message: Message, delay: timedelta) -> None:
        """The message comes back after `delay`, in whole seconds rounded up, from now.

        A message whose visibility has ended already comes back by itself, which is success.

        Raises:
            ValueError: The delay is above 12 hours.
        """
        seconds = _whole_seconds(delay, VISIBILITY_MAX)
        with self._queue.calling("sqs:ChangeMessageVisibility"):
            try:
                self._client().change_message_visibility(
                    QueueUrl=self._url, ReceiptHandle=message.receipt, VisibilityTimeout=seconds
                )
            except ClientError as error:
                if not _is_not_in_flight(error):
                    raise

    def bury(self, message: Message, reason: str) -> None:
        """Puts a copy into the dead-letter queue: the body as it is, the reason as an attribute.

        The engine's own messages stay marked as such, and others stay unmarked, so that a redrive
        brings each back as what it was. Where the body leaves no room for the reason, the log alone has it.
        """
        body = _escaped(message.body) or _EMPTY
        marks: dict[str, Any] = {INTERNAL: _MARK} if message.internal else {}
        room = max(0, MESSAGE_BYTES_MAX - len(body.encode()) - 2 * _MARK_BYTES)
        text = _UNSENDABLE.sub("?", reason.strip())[:REASON_MAX] or "unknown"
        if text := text.encode()[:room].decode(errors="ignore"):
            marks["reason"] = {"DataType": "String", "StringValue": text}
        with self._dlq.calling("sqs:SendMessage"):
            self._client().send_message(QueueUrl=self._dlq_url, MessageBody=body, MessageAttributes=marks)


def _is_not_in_flight(error: ClientError) -> bool:
    """Source: SQS API, and error texts in public issue threads for what it leaves out, 2026-11."""
    match code_of(error):
        case "ReceiptHandleIsInvalid" | "MessageNotInflight" | "AWS.SimpleQueueService.MessageNotInflight":
            return True
        case "InvalidParameterValue":
            return "not available for visibility timeout change" in str(error)
        case _:
            return False


def message_of(record: Mapping[str, Any]) -> Message:
    """One record of the event that Lambda makes of SQS messages.

    The engine's own messages bear the attribute `stepbridge`. Scheduler cannot set attributes; what
    it sends has a top-level key `stepbridge`. Whoever puts an event chooses its `detail` only, and
    a rule delivers the whole envelope, with its `detail-type`: no event can pass for one of ours.
    """
    body = record["body"]
    system = record.get("attributes", {})
    sent_ms = _number(system.get("SentTimestamp"))
    sent_at = None if sent_ms is None else from_ms(sent_ms)
    internal = INTERNAL in record.get("messageAttributes", {}) or _is_from_scheduler(body)
    return Message(
        id=record["messageId"],
        body=_with_time(body, sent_at) if internal else body,
        receipt=record["receiptHandle"],
        receives=_number(system.get("ApproximateReceiveCount")) or 1,
        internal=internal,
        sent_at=sent_at,
    )


def _number(text: object) -> int | None:
    """The number that SQS says; None: it says none, which is no reason to hold up a batch."""
    return int(text) if isinstance(text, str) and _NUMBER.fullmatch(text) else None


def _with_time(body: str, sent_at: datetime | None) -> str:
    """Emulators do not fill Scheduler's keyword in: the minute in which the message was sent stands for it."""
    held = f'"at":"{SCHEDULED_TIME}"'
    if held not in body or sent_at is None:
        return body
    return body.replace(held, f'"at":"{sent_at:%Y-%m-%dT%H:%M:00Z}"')


def _is_from_scheduler(body: str) -> bool:
    if f'"{INTERNAL}"' not in body:  # spares most events from being parsed here
        return False
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(envelope, dict) and INTERNAL in envelope and "detail-type" not in envelope


def _entry(message: Outgoing) -> dict[str, Any]:
    body = _escaped(message.body)
    entry: dict[str, Any] = {"MessageBody": body, "MessageAttributes": {INTERNAL: _MARK}}
    if seconds := _whole_seconds(message.delay, QUEUE_DELAY_MAX):
        entry["DelaySeconds"] = seconds
    if (size := _bytes_of(entry)) > MESSAGE_BYTES_MAX:
        raise ValueError(
            f"A message of {size} bytes is above SQS's {MESSAGE_BYTES_MAX}: {body:.80}…"
            " Mend: keep the value outside the message."
        )
    return entry


def _escaped(body: str) -> str:
    """The body. It is JSON, so what SQS does not carry stands inside a text, where JSON can escape it."""
    return _UNSENDABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", body)


def _bytes_of(entry: Mapping[str, Any]) -> int:
    return len(entry["MessageBody"].encode()) + _MARK_BYTES


def _whole_seconds(delay: timedelta, at_most: timedelta) -> int:
    """`delay` in seconds, rounded up so that nothing is early; a delay that has passed is none."""
    if delay > at_most:
        raise ValueError(f"A delay of {delay} is above SQS's {at_most}. Mend: use a schedule.")
    return max(0, -(-delay // timedelta(seconds=1)))
