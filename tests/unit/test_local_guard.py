"""What the local server's guard lets through, request by request; over HTTP: tests/integration/test_local_server.py."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stepbridge.local.guard import ApiError, Guard, JsonResponse, body_of, check, json_of

HOST = "127.0.0.1:8787"
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def refused(method: str, path: str, **headers: str) -> str:
    """The code that a request is refused with; empty: it is let through."""
    given = {"host": HOST, "content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    try:
        check(method, path, Headers(given))
    except ApiError as error:
        return error.code
    return ""


def test_a_request_of_two_hosts_or_none_is_refused() -> None:
    """Which of them the page was of, nobody can tell."""
    for hosts in ([HOST, "evil.example"], [HOST, HOST], []):
        headers = Headers(raw=[(b"host", host.encode()) for host in hosts])
        with pytest.raises(ApiError, match="does not name this machine"):
            check("GET", "/", headers)


@pytest.mark.parametrize("origin", [f"http://{HOST}.evil.example", f"http://{HOST}0", "http://127.0.0.1", ""])
def test_an_origin_is_the_servers_own_or_a_strangers(origin: str) -> None:
    """What only begins like it is a stranger's; another port is another program."""
    assert refused("POST", "/api/events", origin=origin) == "ForbiddenOrigin"
    assert refused("POST", "/api/events", origin=f"http://{HOST}") == ""


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_may_link_to_a_page_and_nothing_else(site: str) -> None:
    """A page of the same site is one of another port: another program. The API is no page."""
    link = {**LINK, "sec-fetch-site": site}
    assert refused("GET", "/runs", **link) == ""
    assert refused("GET", "/api/runs", **link) == "ForbiddenOrigin"
    assert refused("POST", "/do/cancel", **link) == "ForbiddenOrigin"
    assert refused("GET", "/runs", **{**link, "sec-fetch-mode": "cors"}) == "ForbiddenOrigin"
    assert refused("GET", "/runs", **{**link, "sec-fetch-dest": "iframe"}) == "ForbiddenOrigin"


def test_a_websocket_is_closed_before_it_is_open() -> None:
    """Browsers ask nobody whether a page may open one."""
    asked: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        asked.append(scope["type"])

    assert _played(Guard(app), {"type": "websocket"}) == [{"type": "websocket.close", "code": 1008}]
    assert asked == []


def _played(app: ASGIApp, scope: dict[str, Any]) -> list[Message]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def play() -> None:
        await app(scope, receive, send)

    asyncio.run(play())
    return sent


def test_a_body_is_read_up_to_its_limit() -> None:
    """In pieces, however many follow: no more of them than show that it is too large."""
    received: list[int] = []

    async def receive() -> Message:
        received.append(10)
        return {"type": "http.request", "body": b"x" * 10, "more_body": True}

    with pytest.raises(ApiError, match="more than 25 bytes") as caught:
        asyncio.run(body_of(Request({"type": "http", "method": "POST"}, receive), 25))
    assert caught.value.status == 413
    assert sum(received) == 30


@pytest.mark.parametrize("body", [b"NaN", b"[Infinity]", b"{", b"", b"[" * 200_000])
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    """Whatever Python would take, and however deep."""
    with pytest.raises(ValueError, match=r"."):
        json_of(body)


def test_an_answer_is_for_this_page_alone() -> None:
    """No other type, no other site, no copy."""
    headers = JsonResponse({"a": "é"}).headers
    assert headers["content-type"] == "application/json"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
