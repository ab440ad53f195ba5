"""An HTTP API on 127.0.0.1 that answers as it is told and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Answer:
    """One response."""

    status: int
    body: object = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """One request that came in."""

    path: str
    body: Any
    key: str | None
    """Its `Idempotency-Key`."""


class HttpApi:
    """Serves while it is entered. `answers` are given first, in order; then `usual`, every time."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.usual = Answer(200, {"cents": 490})
        self.requests: list[Request] = []
        self._server = HTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_port}"

    def answer(self, request: Request) -> Answer:
        """Remembers the request; what to answer."""
        self.requests.append(request)
        return self.answers.popleft() if self.answers else self.usual

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(api: HttpApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = api.answer(Request(self.path, body, self.headers["Idempotency-Key"]))
            content = json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Says nothing: the test looks at `requests`."""

    return Handler
