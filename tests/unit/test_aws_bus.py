"""EventBridge's partial failures."""

from __future__ import annotations

import pytest

from stepbridge.aws.bus import EventBridgeBus
from stepbridge.aws.failures import Misconfigured, Unavailable
from stepbridge.ports import Entry
from tests.unit.aws_script import Answer, Script, ok

ARN = "arn:aws:events:eu-west-1:123456789012:event-bus/shop"
EVENTS = [Entry(name=name, source="shop", detail="{}") for name in "abc"]


def bus(script: Script) -> EventBridgeBus:
    """A bus by script, which makes no pauses."""
    return EventBridgeBus(script.clients.events, ARN, lambda _: None)


def answer(*codes: str) -> Answer:
    """One code an event; empty: taken."""
    return ok(
        FailedEntryCount=sum(map(bool, codes)),
        Entries=[{"ErrorCode": code, "ErrorMessage": "says AWS"} if code else {"EventId": "1"} for code in codes],
    )


def names(script: Script) -> list[str]:
    """The names of the events in each call."""
    return ["".join(one["DetailType"] for one in body["Entries"]) for _, body in script.sent]


def test_only_events_that_were_refused_are_put_again() -> None:
    """One that was taken is never put twice."""
    script = Script(
        answer("ThrottlingException", "", "InternalFailure"),
        answer("", "InternalFailure"),
        answer(""),
    )
    bus(script).put(EVENTS)
    assert names(script) == ["abc", "ac", "c"]
    assert {one["EventBusName"] for _, body in script.sent for one in body["Entries"]} == {ARN}


def test_events_that_are_refused_to_the_last_are_raised() -> None:
    """With the first one's reason."""
    script = Script(answer("", "ThrottlingException", "InternalFailure"), answer("Throttling", "X"))
    with pytest.raises(Unavailable, match=r"refused 2 of 3 entries .*Throttling: says AWS"):
        bus(script).put(EVENTS)
    assert names(script) == ["abc", "bc", "bc", "bc"]


def test_a_missing_permission_is_raised_at_once() -> None:
    """With the mend."""
    script = Script(answer("", "AccessDeniedException", ""))
    with pytest.raises(Misconfigured, match=f"{ARN} refuses .*Mend: allow the role events:PutEvents"):
        bus(script).put(EVENTS)
    assert names(script) == ["abc"]
