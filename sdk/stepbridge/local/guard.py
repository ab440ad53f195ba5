"""Who may talk to the local server: programs of this machine, and its own pages. No other web page.

A page from elsewhere that a browser shows can reach loopback too: by its own name, once that name has been
pointed at 127.0.0.1 (DNS rebinding), or by posting across sites. The first is told by the `Host` header,
the second by `Origin`, and by content types that a form cannot send.
"""

from __future__ import annotations

import json
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from stepbridge.local.shapes import Json

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
JSON_TYPE: Final = "application/json"
_SAFE: Final = frozenset({"GET", "HEAD"})


class ApiError(Exception):
    """What the API answers instead of a result.

    Args:
        status: Of HTTP.
        code: One word for programs.
        message: The thing, the cause and the mend, for people.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class JsonResponse(Response):
    """JSON and nothing that a browser could take for something else; ASCII, so that any string fits."""

    media_type = JSON_TYPE

    def __init__(self, content: Json, status_code: int = 200, media_type: str = JSON_TYPE) -> None:
        headers = {
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        super().__init__(content, status_code, headers, media_type)

    def render(self, content: Any) -> bytes:
        """The body."""
        return json.dumps(content, separators=(",", ":")).encode()


def refusal(error: ApiError) -> JsonResponse:
    """The API's answer to what it does not do; `__type` and `message` are for AWS clients that strayed here."""
    body = {"code": error.code, "message": str(error)}
    return JsonResponse({"__type": error.code, "message": str(error), "error": body}, error.status)


class Guard:
    """Lets requests through to `app` or refuses them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection of ASGI."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        try:
            check(scope["method"], scope["path"], Headers(scope=scope))
        except ApiError as error:
            await refusal(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def check(method: str, path: str, headers: Headers) -> None:
    """Raises what is to be answered to a request that is not let through."""
    hosts = headers.getlist("host")
    if len(hosts) != 1 or _name(hosts[0]) not in LOOPBACK:
        raise ApiError(
            403,
            "ForbiddenHost",
            f"the Host header {', '.join(hosts)!r:.80} does not name this machine."
            " Mend: use http://127.0.0.1 or http://localhost, with the server's port.",
        )
    for origin in headers.getlist("origin"):
        if origin.lower() != f"http://{hosts[0]}".lower():
            raise ApiError(
                403,
                "ForbiddenOrigin",
                f"requests of pages from {origin!r:.80} are refused; only the server's own pages and programs"
                " of this machine may use it.",
            )
    if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and not _is_link(method, path, headers):
        raise ApiError(403, "ForbiddenOrigin", "requests of other sites' pages are refused.")
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if method not in _SAFE and path != "/" and media_type != JSON_TYPE:
        raise ApiError(
            415,
            "UnsupportedMediaType",
            f"the Content-Type is {media_type!r:.80}. Mend: send JSON, with Content-Type: {JSON_TYPE}.",
        )


def _is_link(method: str, path: str, headers: Headers) -> bool:
    """Whether somebody follows a link from elsewhere to a page of the console: it shows, and does nothing."""
    goes_there = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return goes_there and method in _SAFE and not path.startswith("/api")


def _name(host: str) -> str:
    """A Host header without its port, in lower case."""
    name, colon, port = host.rpartition(":")
    if colon and (port.isdigit() or not port) and not name.endswith(":"):
        return name.lower()
    return host.lower()


async def body_of(request: Request, limit: int) -> bytes:
    """The request's body.

    Raises:
        ApiError: It has more than `limit` bytes.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise ApiError(413, "RequestTooLarge", f"the request has more than {limit} bytes. Mend: send less at once.")
    return bytes(body)


def json_of(body: bytes) -> Any:
    """The JSON value in a body.

    Raises:
        ValueError: There is none; says why.
    """
    try:
        return json.loads(body, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
