"""The ASGI application of the local server. The console adds its routes to these."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from stepbridge.local.api import api_routes
from stepbridge.local.eventbridge import eventbridge_route
from stepbridge.local.guard import ApiError, Guard, refusal
from stepbridge.local.service import Service

_LOG = logging.getLogger("stepbridge")


def web_app(service: Service, more: Sequence[BaseRoute] = ()) -> ASGIApp:
    """The EventBridge endpoint, the API and `more`, behind the guard."""
    return guarded([eventbridge_route(service.world.bus.put_raw), *api_routes(service), *more])


def guarded(routes: Sequence[BaseRoute]) -> ASGIApp:
    """An application of these routes, behind the guard; its errors are JSON."""
    return Guard(
        Starlette(routes=routes, exception_handlers={ApiError: _refused, HTTPException: _refused, Exception: _failed})
    )


def _refused(_request: Request, error: Exception) -> Response:
    if isinstance(error, ApiError):
        return refusal(error)
    status = cast("HTTPException", error).status_code
    words = {404: ("NotFound", "there is nothing at this address"), 405: ("MethodNotAllowed", "this is done otherwise")}
    code, message = words.get(status, ("BadRequest", "the request is not understood"))
    return refusal(ApiError(status, code, message))


def _failed(request: Request, error: Exception) -> Response:
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return refusal(ApiError(500, "InternalError", "the local server failed; its terminal says how"))
