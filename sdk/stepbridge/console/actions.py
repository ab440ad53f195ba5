"""What the console's buttons do: `POST /do/<action>` with JSON, refused where the console is read-only.

    send          {"name", "data"}                          {"goto"}
    invoke        {"function_id", "data"}                   {"goto"}
    cancel, resume, wake   {"run_id"}                       {"said"}
    rerun         {"run_id", "from_step"}                   {"goto"}
    rerun-failed  {"query", "cursor", "count"}              {"rerun", "cursor", "matching", "looked"}

`rerun-failed` takes a page of the list's runs at a time, and answers where the next one begins; with `count` it only
says how many it would take. Runs that it starts are younger than its first page, so it never meets them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stepbridge.console.search import ROWS, Query, find
from stepbridge.console.source import Source
from stepbridge.core.records import Status
from stepbridge.errors import ConfigError
from stepbridge.local.guard import ApiError, JsonResponse, body_of, json_of
from stepbridge.local.service import ConflictError
from stepbridge.local.shapes import Json

_BODY_MAX: Final = 8 * 1024 * 1024
_SOON_SECONDS: Final = 2.0
"""How long a button waits for what it has asked for."""
_LOOK_SECONDS: Final = 0.02

Act = Callable[[Source, Json], Json]


def action_route(source: Source) -> Route:
    """The route of all actions."""

    async def endpoint(request: Request) -> Response:
        act = ACTIONS.get(request.path_params["action"])
        if act is None:
            raise ApiError(404, "NotFound", f"there is no action {request.path_params['action']!r:.80}")
        if not source.is_writable:
            raise ApiError(
                403, "ReadOnly", "this console only shows. Mend: start it with `stepbridge console --write`."
            )
        try:
            body = json_of(await body_of(request, _BODY_MAX))
        except ValueError as error:
            raise ApiError(400, "BadJson", f"the body is not JSON: {error}") from error
        if not isinstance(body, dict):
            raise ApiError(400, "BadRequest", "the body is no JSON object")
        try:
            return JsonResponse(await run_in_threadpool(act, source, body))
        except LookupError as error:
            raise ApiError(404, "NotFound", str(error)) from error
        except ConflictError as error:
            raise ApiError(409, "Conflict", str(error)) from error
        except ConfigError as error:
            raise ApiError(400, "BadRequest", str(error)) from error
        except source.troubles as error:
            raise ApiError(502, "NoAnswer", str(error)) from error

    return Route("/do/{action}", endpoint, methods=["POST"])


def _send(source: Source, body: Json) -> Json:
    (event_id,) = source.send({"name": body.get("name"), "data": body.get("data", {})})["ids"]
    return {"goto": f"/events/{event_id}" if source.is_local else "/events"}


def _invoke(source: Source, body: Json) -> Json:
    run_id = source.invoke(_text(body, "function_id"), body.get("data", {}))["run_id"]
    _once(lambda: source.run(run_id) is not None)
    return {"goto": f"/runs/{run_id}"}


def _cancel(source: Source, body: Json) -> Json:
    run_id = _text(body, "run_id")
    source.cancel(run_id)
    _once(lambda: Status(source.run(run_id)["status"]).is_terminal)
    return {"said": f"Run {run_id} is {source.run(run_id)['status']}."}


def _resume(source: Source, body: Json) -> Json:
    run_id = _text(body, "run_id")
    source.resume(run_id)
    _once(lambda: source.run(run_id)["status"] != Status.PARKED)
    return {"said": f"Run {run_id} is {source.run(run_id)['status']}."}


def _wake(source: Source, body: Json) -> Json:
    run_id = _text(body, "run_id")
    source.wake(run_id)
    return {"said": f"Time is skipped: run {run_id} goes on."}


def _rerun(source: Source, body: Json) -> Json:
    from_step = body.get("from_step")
    if not isinstance(from_step, str | None):
        raise ConfigError("from_step is to be a step's id, or null.")
    return {"goto": f"/runs/{source.rerun(_text(body, 'run_id'), from_step)['run_id']}"}


def _rerun_failed(source: Source, body: Json) -> Json:
    given = body.get("query")
    query = Query.of(
        {**(given if isinstance(given, dict) else {}), "status": "FAILED", "cursor": body.get("cursor")}, "all"
    )
    found = find(source, query, source.now(), rows=ROWS)
    if not body.get("count"):
        for row in found.rows:
            source.rerun(row["run_id"], None)
    return {"rerun": len(found.rows), "cursor": found.cursor, "looked": found.looked}


def _text(body: Json, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} is missing.")
    return value


def _once(is_so: Callable[[], bool]) -> None:
    """Waits until it is so, a moment at most: the page shows it then; else it will when it is news."""
    until = time.monotonic() + _SOON_SECONDS
    while time.monotonic() < until:
        try:
            if is_so():
                return
        except LookupError:
            pass  # it has not begun
        time.sleep(_LOOK_SECONDS)


ACTIONS: Final[dict[str, Act]] = {
    "send": _send,
    "invoke": _invoke,
    "cancel": _cancel,
    "resume": _resume,
    "wake": _wake,
    "rerun": _rerun,
    "rerun-failed": _rerun_failed,
}
