"""The console as routes of the local server, and as an application of its own over a stack."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from http.cookies import SimpleCookie
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from stepbridge.console.actions import action_route
from stepbridge.console.here import Here
from stepbridge.console.pages import page_routes
from stepbridge.console.source import Source
from stepbridge.local.guard import ApiError, refusal
from stepbridge.local.service import Service
from stepbridge.local.web import guarded

_COOKIE: Final = "stepbridge-console"


def console_routes(service: Service) -> Sequence[BaseRoute]:
    """The console of the local server: `LocalServer(app, routes=console_routes)`."""
    return _routes(Here(service))


def console_app(source: Source, key: str) -> ASGIApp:
    """The console over a source, for who opens it with `?key=`: others on this machine have loopback too."""
    return _Keyed(guarded(_routes(source)), key)


def _routes(source: Source) -> list[BaseRoute]:
    return [action_route(source), *page_routes(source)]


class _Keyed:
    """Lets in who brings the key, once in the address, then as a cookie that no other site's page sends."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        cookie = SimpleCookie(Headers(scope=scope).get("cookie", "")).get(_COOKIE)
        if cookie is not None and self._is_key(cookie.value):
            await self._app(scope, receive, send)
            return
        given = parse_qs(scope["query_string"].decode("latin-1")).get("key", [""])[0]
        if scope["method"] == "GET" and self._is_key(given):
            answer = RedirectResponse(scope["path"], 303)
            answer.set_cookie(_COOKIE, self._key, httponly=True, samesite="strict")
            await answer(scope, receive, send)
            return
        message = "this console opens by the address that `stepbridge console` has printed, with its key."
        await refusal(ApiError(403, "NoKey", message))(scope, receive, send)

    def _is_key(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._key.encode())
