"""SQS messages: partial failures, messages that are gone, and whose message it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from stepbridge.aws.failures import Misconfigured, Unavailable
from stepbridge.aws.queue import MESSAGE_BYTES_MAX, SCHEDULED_TIME, SqsQueue, message_of
from stepbridge.ports import Message, Outgoing
from tests.unit.aws_script import Answer, Script, error, ok

MESSAGE = Message(id="1", body="{}", receipt="r")


def queue(script: Script) -> SqsQueue:
    """A queue by script, which makes no pauses."""
    return SqsQueue(script.clients.sqs, "https://sqs/1/shop", "https://sqs/1/dead", lambda _: None)


def refused(*ids: str, by_fault: bool = False) -> Answer:
    """An answer to a batch in which some are refused."""
    return ok(
        Successful=[],
        Failed=[{"Id": one, "SenderFault": by_fault, "Code": "InternalError", "Message": "says SQS"} for one in ids],
    )


def bodies(script: Script) -> list[list[str]]:
    """The bodies of each batch that was sent."""
    return [[entry["MessageBody"] for entry in body["Entries"]] for _, body in script.sent]


def test_only_messages_that_were_refused_are_sent_again() -> None:
    """Under new ids of the batch."""
    script = Script(refused("1", "2"), refused("1"), ok())
    queue(script).send([Outgoing(body="a"), Outgoing(body="b"), Outgoing(body="c")])
    assert bodies(script) == [["a", "b", "c"], ["b", "c"], ["c"]]


def test_messages_that_are_refused_to_the_last_are_raised() -> None:
    """With the reason."""
    with pytest.raises(Unavailable, match=r"refused 1 of 2 entries .*InternalError: says SQS"):
        queue(Script(refused("0"))).send([Outgoing(body="a")] * 2)


def test_a_message_at_fault_is_named() -> None:
    """No further try can help it."""
    script = Script(refused("0", by_fault=True))
    with pytest.raises(ValueError, match="can never take this"):
        queue(script).send([Outgoing(body="a")] * 2)
    assert script.operations == ["SendMessageBatch"]


def test_every_message_is_marked_and_only_delayed_ones_have_a_delay() -> None:
    """A delay of 0 would undo a delay of the queue's own."""
    script = Script(ok())
    queue(script).send([Outgoing(body="a"), Outgoing(body="b", delay=timedelta(seconds=1.5))])
    mark = {"stepbridge": {"DataType": "String", "StringValue": "1"}}
    assert script.sent[0][1]["Entries"] == [
        {"Id": "0", "MessageBody": "a", "MessageAttributes": mark},
        {"Id": "1", "MessageBody": "b", "MessageAttributes": mark, "DelaySeconds": 2},
    ]


@pytest.mark.parametrize(
    "answer",
    [
        error("MessageNotInflight"),
        error("AWS.SimpleQueueService.MessageNotInflight"),
        error("ReceiptHandleIsInvalid"),
        error(
            "InvalidParameterValue",
            text="Value r for parameter ReceiptHandle is invalid. Reason: Message does not exist or"
            " is not available for visibility timeout change.",
        ),
    ],
    ids=repr,
)
def test_a_message_that_is_back_already_needs_no_postponement(answer: Answer) -> None:
    """It comes by itself."""
    script = Script(answer)
    queue(script).postpone(MESSAGE, timedelta(seconds=5))
    assert script.operations == ["ChangeMessageVisibility"]


def test_a_postponement_that_sqs_calls_wrong_is_an_error() -> None:
    """Another parameter than the receipt: a fault of this package."""
    with pytest.raises(ClientError, match="VisibilityTimeout"):
        queue(Script(error("InvalidParameterValue", text="VisibilityTimeout"))).postpone(MESSAGE, timedelta(seconds=5))


def test_a_buried_message_has_a_reason() -> None:
    """SQS takes no empty attribute; a refusal names the dead-letter queue."""
    script = Script(ok())
    queue(script).bury(MESSAGE, " \n")
    ((_, body),) = script.sent
    assert body["MessageAttributes"]["reason"]["StringValue"] == "unknown"
    with pytest.raises(Misconfigured, match=r"https://sqs/1/dead does not exist .*STEPBRIDGE_DLQ_URL"):
        queue(Script(error("QueueDoesNotExist"))).bury(MESSAGE, "why")


@pytest.mark.parametrize(("left", "kept"), [(0, 0), (40, 6), (1_000, 350)])
def test_the_reason_fits_beside_the_body(left: int, kept: int) -> None:
    """A body that SQS just carried is buried too; the log has the reason that finds no room."""
    script = Script(ok())
    body = "x" * (MESSAGE_BYTES_MAX - left)
    queue(script).bury(Message(id="m", body=body, receipt="r"), "because" * 50)
    ((_, sent),) = script.sent
    reason = sent["MessageAttributes"].get("reason", {}).get("StringValue", "")
    assert (sent["MessageBody"], len(reason)) == (body, kept)
    assert len(body) + len("reasonString") + len(reason) <= MESSAGE_BYTES_MAX or not reason


def test_a_messages_size_is_counted_in_bytes() -> None:
    """Which is what SQS counts; then nothing is sent."""
    script = Script(ok())
    with pytest.raises(ValueError, match="is above SQS's"):
        queue(script).send([Outgoing(body="é" * (MESSAGE_BYTES_MAX // 2))])
    assert script.sent == []


def test_a_postponement_beyond_twelve_hours_is_refused() -> None:
    """SQS has no longer visibility; a delay that has passed is none."""
    script = Script(ok())
    with pytest.raises(ValueError, match="above SQS's 12:00:00"):
        queue(script).postpone(MESSAGE, timedelta(hours=12, seconds=1))
    queue(script).postpone(MESSAGE, -timedelta(seconds=1))
    assert [body["VisibilityTimeout"] for _, body in script.sent] == [0]


# -- received --------------------------------------------------------------------------------------
EVENT = {"version": "0", "id": "1", "detail-type": "n", "source": "s", "detail": {}}
MARKED = {"stepbridge": {"stringValue": "1", "dataType": "String"}}


def record(body: object, attributes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What Lambda hands over."""
    return {
        "messageId": "id-1",
        "receiptHandle": "receipt-1",
        "body": body if isinstance(body, str) else json.dumps(body),
        "attributes": {"ApproximateReceiveCount": "3", "SentTimestamp": "1735689659123"},
        "messageAttributes": attributes or {},
    }


def test_a_record_of_lambda_is_a_message() -> None:
    """With its id, receipt, count and time."""
    assert message_of(record("body")) == Message(
        id="id-1",
        body="body",
        receipt="receipt-1",
        receives=3,
        internal=False,
        sent_at=datetime(2025, 1, 1, 0, 0, 59, 123_000, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("body", "attributes"),
    [("{}", MARKED), ("not JSON", MARKED), (EVENT, MARKED), ({"stepbridge": 1, "k": "go"}, {})],
    ids=str,
)
def test_the_engines_own_messages_are_known(body: object, attributes: dict[str, Any]) -> None:
    """By the attribute, or, from Scheduler, by the top-level key."""
    assert message_of(record(body, attributes)).internal


@pytest.mark.parametrize(
    "body",
    [
        EVENT,
        {**EVENT, "detail": {"stepbridge": 1, "k": "start"}},
        {**EVENT, "detail": '{"stepbridge": 1}'},
        {**EVENT, "stepbridge": 1},
        {"detail": {"stepbridge": 1}},
        ["stepbridge"],
        "stepbridge",
        '"stepbridge"',
        '{"stepbridge": 1',
        '{"stepbridge":' + "[" * 200_000 + "]" * 200_000 + "}",
        "",
    ],
    ids=lambda body: str(body)[-40:],
)
def test_no_event_can_pass_for_one(body: object) -> None:
    """Whatever its sender puts into the detail; and what is no JSON object is none either."""
    assert not message_of(record(body)).internal


def test_a_keyword_that_scheduler_left_is_the_minute_of_the_message() -> None:
    """Emulators leave it; on AWS it never arrives. In an event it is the user's text."""
    tick = f'{{"stepbridge":1,"k":"tick","f":"report","at":"{SCHEDULED_TIME}"}}'
    assert message_of(record(tick)).body == '{"stepbridge":1,"k":"tick","f":"report","at":"2025-01-01T00:00:00Z"}'
    event = json.dumps({**EVENT, "detail": {"at": SCHEDULED_TIME}}, separators=(",", ":"))
    assert message_of(record(event)).body == event
