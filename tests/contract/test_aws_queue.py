"""SQS: what messages look like on the wire."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stepbridge.aws.queue import MESSAGE_BYTES_MAX
from stepbridge.ports import Entry, Message, Outgoing
from tests.contract.aws_backend import MotoBackend

SECOND = timedelta(seconds=1)


def test_ten_messages_are_one_request(moto: MotoBackend) -> None:
    """One alone goes without a batch, and eleven in two."""
    moto.ports.queue.send([Outgoing(body="x")] * 10)
    moto.ports.queue.send([Outgoing(body="x")] * 11)
    assert moto.requests == ["SendMessageBatch", "SendMessageBatch", "SendMessage"]


def test_a_batch_stays_below_its_limit_of_bytes(moto: MotoBackend) -> None:
    """Three messages of 600 KB are three requests."""
    moto.ports.queue.send([Outgoing(body="x" * 600_000)] * 3)
    assert moto.requests == ["SendMessage"] * 3


def test_a_message_may_fill_what_sqs_allows(moto: MotoBackend) -> None:
    """To the byte, its attribute counted in; one more byte and nothing at all is sent."""
    body = "x" * (MESSAGE_BYTES_MAX - len("stepbridgeString1"))
    moto.ports.queue.send([Outgoing(body=body)])
    assert [len(message.body) for message in moto.receive()] == [len(body)]
    moto.requests.clear()
    with pytest.raises(ValueError, match=r"1048577 bytes is above SQS's 1048576.*Mend"):
        moto.ports.queue.send([Outgoing(body="small"), Outgoing(body=body + "x")])
    assert moto.requests == []


def test_a_fraction_of_a_second_is_rounded_up(moto: MotoBackend) -> None:
    """Nothing shows before its delay has passed."""
    moto.ports.queue.send([Outgoing(body="a", delay=timedelta(milliseconds=1200))])
    moto.wait(timedelta(milliseconds=1900))
    assert moto.receive() == []
    moto.wait(timedelta(milliseconds=100))
    assert len(moto.receive()) == 1


def test_a_delay_that_has_passed_is_none(moto: MotoBackend) -> None:
    """The message is there at once."""
    moto.ports.queue.send([Outgoing(body="a", delay=-SECOND)])
    assert len(moto.receive()) == 1


def test_a_delay_above_fifteen_minutes_is_refused(moto: MotoBackend) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match=r"0:15:01 is above SQS's 0:15:00\. Mend: use a schedule"):
        moto.ports.queue.send([Outgoing(body="a"), Outgoing(body="b", delay=901 * SECOND)])
    assert moto.requests == []


def test_what_sqs_cannot_carry_is_escaped(moto: MotoBackend) -> None:
    """Half a surrogate pair and U+FFFE inside JSON text arrive as JSON escapes; the rest as it is."""
    moto.ports.queue.send([Outgoing(body='{"a": "\ud83d \ufffe \U0001f680 \u00e9"}')])
    (message,) = moto.receive()
    assert message.body == '{"a": "\\ud83d \\ufffe \U0001f680 \u00e9"}'


def test_a_buried_message_keeps_body_mark_and_reason(moto: MotoBackend) -> None:
    """A redrive brings it back as the engine's own."""
    moto.ports.queue.send([Outgoing(body="a")])
    (message,) = moto.receive()
    moto.ports.queue.bury(message, "not JSON\x00: line 1")
    (record,) = moto.dead_records()
    assert record["body"] == "a"
    assert record["messageAttributes"]["reason"]["stringValue"] == "not JSON?: line 1"
    assert record["messageAttributes"]["stepbridge"]["stringValue"] == "1"


def test_a_buried_event_does_not_become_the_engines_own(moto: MotoBackend) -> None:
    """It has a reason and no mark, so a redrive brings it back as an event."""
    moto.ports.bus.put([Entry(name="n", source="s", detail="{}")])
    (message,) = moto.receive()
    moto.ports.queue.bury(message, "")
    (record,) = moto.dead_records()
    assert record["messageAttributes"].keys() == {"reason"}


def test_a_long_reason_is_cut(moto: MotoBackend) -> None:
    """Its beginning says most."""
    moto.ports.queue.bury(Message(id="1", body="a", receipt="r"), "x" * 10_000)
    (record,) = moto.dead_records()
    assert record["messageAttributes"]["reason"]["stringValue"] == "x" * 500


def test_a_postponement_is_rounded_up(moto: MotoBackend) -> None:
    """Not a moment early."""
    moto.ports.queue.send([Outgoing(body="a")])
    (message,) = moto.receive()
    moto.ports.queue.postpone(message, timedelta(milliseconds=1))
    assert moto.receive() == []
    moto.wait(SECOND)
    assert len(moto.receive()) == 1
