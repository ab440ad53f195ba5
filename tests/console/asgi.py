"""Requests to an ASGI application, without a server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        """Of a JSON answer."""
        return json.loads(self.text)


def ask(app: ASGIApp, path: str, body: object = None, **headers: str) -> Answer:
    """A GET, or with a body a POST of it as JSON; `_` in names of headers stands for `-`."""
    usual = {"host": "127.0.0.1:8000", **({} if body is None else {"content_type": "application/json"})}
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "GET" if body is None else "POST",
        "path": path,
        "root_path": "",
        "scheme": "http",
        "query_string": query.encode(),
        "headers": [
            (name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in {**usual, **headers}.items()
        ],
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"" if body is None else json.dumps(body).encode(), "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    async def play() -> None:
        await app(scope, receive, send)

    asyncio.run(play())
    start = sent[0]
    text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
    return Answer(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, text)
