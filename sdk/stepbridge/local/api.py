"""The JSON API under `/api`: `Service` over HTTP.

    POST /api/events                    one event or a list of them     {"ids"}
    GET  /api/events                    ?limit&cursor                   {"events", "cursor"}
    GET  /api/events/{id}/runs                                          {"runs"}: what it has started so far
    GET  /api/functions                                                 {"functions"}
    POST /api/functions/{id}/invoke     {"data"}                        {"run_id", "function_id"}
    GET  /api/runs                      ?function_id&status&since&limit&cursor    {"runs", "cursor"}
    GET  /api/runs/{id}                                                 the run
    GET  /api/runs/{id}/logs                                            {"lines", "dropped"}, see `RunLogs`
    POST /api/runs/{id}/cancel, resume, wake                            the run
    POST /api/runs/{id}/rerun           {"from_step"}                   {"run_id", "function_id"} of the new run

Errors: {"error": {"code", "message"}} with a status of HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stepbridge.core.envelope import TRACE
from stepbridge.core.records import Status
from stepbridge.engine.operations import UnknownError
from stepbridge.errors import ConfigError
from stepbridge.local.guard import ApiError, JsonResponse, body_of, json_of
from stepbridge.local.service import ConflictError, Service
from stepbridge.local.shapes import Json

BODY_MAX: Final = 8 * 1024 * 1024
"""Bytes of a request; an event has 1 MB at most, as on AWS."""
LIMIT_MAX: Final = 1_000
"""Rows of a page."""
_FOLLOW_SECONDS: Final = 5.0
"""How long the answer to `cancel`, `resume` and `wake` waits for the run to have changed."""
_LOOK_SECONDS: Final = 0.01


def api_routes(service: Service) -> list[Route]:
    """The routes of the API."""

    def route(method: str, path: str, handle: Callable[[Service, Request], Awaitable[Json]]) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                return JsonResponse(await handle(service, request))
            except UnknownError as error:
                raise ApiError(404, "NotFound", str(error)) from error
            except ConflictError as error:
                raise ApiError(409, "Conflict", str(error)) from error
            except (ConfigError, ValueError) as error:
                raise ApiError(400, "BadRequest", str(error)) from error

        return Route(f"/api/{path}", endpoint, methods=[method])

    return [
        route("POST", "events", _send),
        route("GET", "events", _events),
        route("GET", "events/{event_id:path}/runs", _started_by),
        route("GET", "functions", _functions),
        route("POST", "functions/{function_id:path}/invoke", _invoke),
        route("GET", "runs", _runs),
        route("GET", "runs/{run_id:path}/logs", _logs),
        route("GET", "runs/{run_id:path}", _run),
        route("POST", "runs/{run_id:path}/cancel", _cancel),
        route("POST", "runs/{run_id:path}/resume", _resume),
        route("POST", "runs/{run_id:path}/wake", _wake),
        route("POST", "runs/{run_id:path}/rerun", _rerun),
    ]


async def _send(service: Service, request: Request) -> Json:
    trace = request.headers.get(TRACE)
    return service.send(await _json(request), trace={} if trace is None else {TRACE: trace})


async def _events(service: Service, request: Request) -> Json:
    cursor = request.query_params.get("cursor")
    return service.events(limit=_limit(request), before=None if cursor is None else _whole("cursor", cursor))


async def _started_by(service: Service, request: Request) -> Json:
    return {"runs": service.started_by(request.path_params["event_id"])}


async def _functions(service: Service, _request: Request) -> Json:
    return service.functions()


async def _invoke(service: Service, request: Request) -> Json:
    body = await _json(request)
    if not isinstance(body, dict) or not set(body) <= {"data"}:
        raise ApiError(400, "BadRequest", 'the body of invoke is to be {"data": {...}}')
    return service.invoke(request.path_params["function_id"], body.get("data", {}))


async def _runs(service: Service, request: Request) -> Json:
    query = request.query_params
    since = query.get("since")
    return service.list_runs(
        function_id=query.get("function_id"),
        status=_status(query.get("status")),
        since_ms=0 if since is None else _whole("since", since),
        limit=_limit(request),
        cursor=query.get("cursor"),
    )


async def _run(service: Service, request: Request) -> Json:
    return service.run(request.path_params["run_id"])


async def _cancel(service: Service, request: Request) -> Json:
    run_id = request.path_params["run_id"]
    service.cancel(run_id)
    return await _follow(service, run_id, lambda status: status.is_terminal)


async def _resume(service: Service, request: Request) -> Json:
    run_id = request.path_params["run_id"]
    service.resume(run_id)
    return await _follow(service, run_id, lambda status: status is not Status.PARKED)


async def _wake(service: Service, request: Request) -> Json:
    run_id = request.path_params["run_id"]
    epoch = service.epoch(run_id)
    service.wake(run_id)
    return await _follow(service, run_id, lambda status: status is not Status.RUNNING and service.epoch(run_id) > epoch)


async def _logs(service: Service, request: Request) -> Json:
    return service.logs(request.path_params["run_id"])


async def _rerun(service: Service, request: Request) -> Json:
    body = await _json(request)
    from_step = body.get("from_step") if isinstance(body, dict) and set(body) <= {"from_step"} else 0
    if not isinstance(from_step, str | None):
        raise ApiError(400, "BadRequest", 'the body of rerun is to be {"from_step": null} or {"from_step": "step id"}')
    return service.rerun(request.path_params["run_id"], from_step)


async def _follow(service: Service, run_id: str, is_done: Callable[[Status], bool]) -> Json:
    """The run once it has changed, or as it is when that takes long."""
    try:
        async with asyncio.timeout(_FOLLOW_SECONDS):
            while not is_done(service.status(run_id)):  # noqa: ASYNC110 - written by another thread
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        pass
    return service.run(run_id)


# -- what requests say -----------------------------------------------------------------------------
async def _json(request: Request) -> Any:
    try:
        return json_of(await body_of(request, BODY_MAX))
    except ValueError as error:
        raise ApiError(400, "BadJson", f"the body is not JSON: {error}") from error


def _limit(request: Request) -> int:
    limit = _whole("limit", request.query_params.get("limit", "100"))
    if not 1 <= limit <= LIMIT_MAX:
        raise ApiError(400, "BadRequest", f"limit={limit}. Mend: 1 to {LIMIT_MAX}.")
    return limit


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):  # noqa: PLR2004 - a number that fits anywhere
        raise ApiError(400, "BadRequest", f"{name}={text!r:.80} is not a whole number.")
    return int(text)


def _status(text: str | None) -> Status | None:
    if text is None:
        return None
    try:
        return Status(text.upper())
    except ValueError as error:
        raise ApiError(400, "BadRequest", f"status={text!r:.80}. Mend: one of {', '.join(Status)}.") from error
