"""S3's conflicts."""

from __future__ import annotations

import pytest

from stepbridge.aws.blobs import PAUSES_SECONDS, S3Blobs
from stepbridge.aws.failures import Unavailable
from tests.unit.aws_script import Script, s3_error

CONFLICT = s3_error("ConditionalRequestConflict", 409)


def put(script: Script) -> list[float]:
    """Puts a value; the pauses made."""
    pauses: list[float] = []
    S3Blobs(script.clients.s3, "blobs", sleep=pauses.append).put("k", b"data")
    return pauses


def test_a_write_that_met_another_is_sent_again() -> None:
    """After a pause that grows; the value that the other wrote is success."""
    script = Script(CONFLICT, CONFLICT, s3_error("PreconditionFailed", 412))
    assert put(script) == list(PAUSES_SECONDS[:2])
    assert put(Script(CONFLICT, (200, {}, b""))) == [PAUSES_SECONDS[0]]


def test_a_write_that_meets_others_to_the_last_is_unavailable() -> None:
    """The message that drives the work tries again."""
    script = Script(CONFLICT)
    with pytest.raises(Unavailable, match="ConditionalRequestConflict"):
        put(script)
    assert script.operations == ["PutObject"] * (len(PAUSES_SECONDS) + 1)


def test_a_value_whose_reading_breaks_off_is_unavailable() -> None:
    """Part of a value is none."""
    script = Script((200, {"content-length": "10"}, b"part"))
    with pytest.raises(Unavailable):
        S3Blobs(script.clients.s3, "blobs").get("k")
