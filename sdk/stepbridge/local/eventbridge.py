"""EventBridge's `PutEvents` as any AWS client calls it: JSON 1.1 over `POST /`.

Shapes and words of errors as botocore, the AWS CLI and the other SDKs read them. Sources: the API reference
of PutEvents and "Common errors"; the AWS JSON 1.1 protocol of Smithy; 2026-11.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stepbridge.core.limits import EVENTS_PER_CALL
from stepbridge.local.guard import ApiError, JsonResponse, body_of, json_of
from stepbridge.local.shapes import Json

AMZ_JSON: Final = "application/x-amz-json-1.1"
_TARGET: Final = "AWSEvents."
_BODY_MAX: Final = 8 * 1024 * 1024
"""Bytes of a request: 1 MB of events, whose text JSON may escape up to sixfold, and room."""
_TEXTS: Final = ("Source", "DetailType", "Detail", "EventBusName", "TraceHeader")


class AwsError(Exception):
    """An error of the AWS kind; `code` is its `__type`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def eventbridge_route(put: Callable[[list[Json]], list[dict[str, str]]]) -> Route:
    """`POST /`; `put` serves one call: entries in, answers out, a ValueError where all are refused."""

    async def endpoint(request: Request) -> Response:
        try:
            operation = _operation(request)
            entries = _entries(await _payload(request))
            answer = _put(put, entries)
        except AwsError as error:
            return _answer({"__type": error.code, "message": str(error)}, 400)
        failed = sum("ErrorCode" in one for one in answer)
        assert operation == "PutEvents"  # noqa: S101 - the only one there is
        return _answer({"FailedEntryCount": failed, "Entries": answer}, 200)

    return Route("/", endpoint, methods=["POST"])


def _answer(content: Json, status: int) -> Response:
    response = JsonResponse(content, status, AMZ_JSON)
    response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
    return response


def _operation(request: Request) -> str:
    target = request.headers.get("x-amz-target", "")
    if target != _TARGET + "PutEvents":
        raise AwsError(
            "UnknownOperationException",
            f"the local server does not have the operation {target!r:.80}, only {_TARGET}PutEvents, which the header"
            " X-Amz-Target names.",
        )
    return target.removeprefix(_TARGET)


async def _payload(request: Request) -> Any:
    try:
        return json_of(await body_of(request, _BODY_MAX))
    except ApiError as error:
        raise AwsError("ValidationException", str(error)) from error
    except ValueError as error:
        raise AwsError("SerializationException", f"the body is not JSON: {error}") from error


def _entries(payload: Any) -> list[Json]:
    """The entries, of the right types throughout."""
    if not isinstance(payload, dict):
        raise AwsError("SerializationException", "the body is to be a JSON object")
    entries = payload.get("Entries")
    if entries is None:
        raise _invalid("null", "entries", "Member must not be null")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise AwsError("SerializationException", "Entries is to be a list of objects")
    if not 1 <= len(entries) <= EVENTS_PER_CALL:
        bound = f"less than or equal to {EVENTS_PER_CALL}" if entries else "greater than or equal to 1"
        raise _invalid(f"[{len(entries)} entries]", "entries", f"Member must have length {bound}")
    for entry in entries:
        _check_types(entry)
    return entries


def _check_types(entry: Json) -> None:
    for name in _TEXTS:
        if not isinstance(entry.get(name), str | None):
            raise AwsError("SerializationException", f"{name} of an entry is to be a string")
    if not isinstance(entry.get("Time"), int | float | str | None):
        raise AwsError("SerializationException", "Time of an entry is to be a number or a string")
    resources = entry.get("Resources")
    if not isinstance(resources, list | None) or not all(isinstance(one, str) for one in resources or ()):
        raise AwsError("SerializationException", "Resources of an entry is to be a list of strings")


def _put(put: Callable[[list[Json]], list[dict[str, str]]], entries: list[Json]) -> list[dict[str, str]]:
    try:
        return put(entries)
    except ValueError as error:
        raise AwsError("ValidationException", str(error)) from error


def _invalid(value: str, field: str, constraint: str) -> AwsError:
    return AwsError(
        "ValidationException",
        f"1 validation error detected: Value '{value}' at '{field}' failed to satisfy constraint: {constraint}",
    )
