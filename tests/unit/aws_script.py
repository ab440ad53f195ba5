"""AWS by script: real botocore clients, whose answers are written down where HTTP would begin.

For what moto cannot produce: throttles, faults of the server and of the network, partial failures.
Retries, parsing and error classes are botocore's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

from stepbridge.aws.clients import Clients

Answer = tuple[int, dict[str, str], bytes] | Exception


class Script:
    """Clients that get `answers` in turn; the last one again and again. `sent` lists the requests."""

    def __init__(self, *answers: Answer) -> None:
        self.clients = Clients(region="eu-west-1")
        self.clients._session.set_credentials("key", "secret")
        self.clients._session.register("before-send", self._answer)
        self.sent: list[tuple[str, Any]] = []
        """Operation and body of each, JSON parsed."""
        self._answers = list(answers)

    @property
    def operations(self) -> list[str]:
        """What was asked for."""
        return [operation for operation, _ in self.sent]

    def _answer(self, **event: Any) -> Any:
        request: AWSPreparedRequest = event["request"]
        self.sent.append((event["event_name"].rpartition(".")[2], _parsed(request.body)))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, headers, body = answer
        return AWSResponse(request.url, status, HTTPHeaders.from_dict(headers), _Raw(body))


class _Raw(BytesIO):
    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self.read()


def _parsed(body: Any) -> Any:
    try:
        return json.loads(body)
    except (TypeError, ValueError):
        return None


def ok(**fields: object) -> Answer:
    """A good answer in JSON."""
    return 200, {}, json.dumps(fields).encode()


def error(code: str, status: int = 400, text: str = "says AWS") -> Answer:
    """A bad one, as DynamoDB, SQS, EventBridge and Scheduler put it."""
    body = json.dumps({"__type": code, "message": text}).encode()
    return status, {"x-amzn-errortype": code}, body


def s3_error(code: str, status: int) -> Answer:
    """A bad one, as S3 puts it."""
    return status, {}, f"<Error><Code>{code}</Code><Message>says S3</Message></Error>".encode()
