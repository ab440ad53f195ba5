"""Lambda around a handler: AWS's own runtime client in a process of its own, and the API that it asks for work."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

from botocore.awsrequest import AWSPreparedRequest
from botocore.compat import HTTPHeaders
from moto.core.models import botocore_stubber

from stepbridge.aws.wiring import SystemClock
from stepbridge.core.instants import to_ms
from tests.integration.processes import environment

_TIMEOUT: Final = 30.0
_LOOK: Final = 0.02
"""Seconds between two looks at a process that may have died."""
_NAME: Final = "shop-dispatcher"
_OWN: Final = {"content-length", "date", "server"}
"""Headers that the server sets itself."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
        """Nothing."""

    def handle(self) -> None:
        """Requests until the other side is gone, by whatever death."""
        with suppress(ConnectionError):
            super().handle()

    def body(self) -> bytes:
        """What was sent, in one piece or in chunks; a request of which a part never came is none."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            size = int(self.headers.get("Content-Length") or 0)
            if len(sent := self.rfile.read(size)) < size:
                raise ConnectionError
            return sent
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Answers, if somebody still listens. AWS's client takes no answer without a type."""
        length = {"Content-Length": str(len(body)), "Content-Type": "application/json"}
        with suppress(ConnectionError):
            self.send_response(status)
            for name, value in {**length, **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)


@contextmanager
def _served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Host and port of a server on loopback."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def moto_served() -> Iterator[tuple[str, list[str]]]:
    """The moto of this process as an endpoint for others: its URL, and the services and actions that they ask for."""
    asked: list[str] = []

    class Front(_Handler):
        def do_POST(self) -> None:
            """Any request: the service is the one that it is signed for."""
            _, _, region, service = self.headers["Authorization"].partition("Credential=")[2].split("/")[:4]
            asked.append(f"{service} {self.headers.get('X-Amz-Target', self.command).rpartition('.')[2]}")
            request = AWSPreparedRequest(
                self.command,
                f"https://{service}.{region}.amazonaws.com{self.path}",
                HTTPHeaders.from_dict(dict(self.headers.items())),
                self.body(),
                stream_output=False,
            )
            response: Any = botocore_stubber(event_name=f"before-send.{service}.any", request=request)
            headers = {name: value for name, value in response.headers.items() if name.lower() not in _OWN}
            self.answer(response.status_code, response.content, headers)

        do_GET = do_PUT = do_DELETE = do_HEAD = do_POST  # noqa: N815 - the standard library's names

    with _served(Front) as address:
        yield f"http://{address}", asked


@dataclass(slots=True)
class Answer:
    """What became of an invocation, or of the start."""

    kind: str
    """`response` or `error`; of the start `init`."""
    body: Any


@dataclass(slots=True)
class Sandbox:
    """One execution environment."""

    answers: queue.Queue[Answer] = field(default_factory=queue.Queue)
    events: queue.Queue[tuple[str, bytes]] = field(default_factory=queue.Queue)
    log: Path = Path()
    process: subprocess.Popen[bytes] | None = None
    _invocations: int = 0

    def invoke(self, event: object) -> Answer:
        """Calls the handler with the event; waits for what it answers."""
        self.hand(event)
        return self.answer()

    def hand(self, event: object) -> None:
        """Calls the handler with the event."""
        self._invocations += 1
        self.events.put((f"8f5d2b1e-0c4a-5e2f-9d61-{self._invocations:012}", json.dumps(event).encode()))

    def answer(self) -> Answer:
        """The next answer."""
        try:
            return self.answers.get(timeout=_TIMEOUT)
        except queue.Empty:
            raise AssertionError(f"no answer from the sandbox, which says: {self.lines()}") from None

    def survives(self, until: Callable[[], bool] = lambda: False) -> Answer | None:
        """What it answers, or None once its process has died; `until` it is killed here."""
        assert self.process is not None
        for _ in range(int(_TIMEOUT / _LOOK)):
            with suppress(queue.Empty):
                return self.answers.get(timeout=_LOOK)
            if until():
                self.process.kill()
            if self.process.poll() is not None:
                return None
        raise AssertionError(f"the sandbox neither answers nor dies, and says: {self.lines()}")

    def lines(self) -> list[str]:
        """What the process has printed."""
        return self.log.read_text().splitlines()


@contextmanager
def sandbox(folder: Path, handler: str, settings: Mapping[str, str]) -> Iterator[Sandbox]:
    """A sandbox whose handler `module.attribute` is in the folder; `settings` are all of its own environment."""
    held = Sandbox(log=folder / "log")

    class RuntimeApi(_Handler):
        def do_GET(self) -> None:
            """`/2018-06-01/runtime/invocation/next`: the runtime asks for work."""
            request_id, event = held.events.get()
            headers = {
                "Lambda-Runtime-Aws-Request-Id": request_id,
                "Lambda-Runtime-Deadline-Ms": str(to_ms(SystemClock().now()) + 120_000),
                "Lambda-Runtime-Invoked-Function-Arn": f"arn:aws:lambda:us-east-1:123456789012:function:{_NAME}",
                "Lambda-Runtime-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0",
            }
            self.answer(200, event, headers)

        def do_POST(self) -> None:
            """`/2018-06-01/runtime/init/error`, or `/2018-06-01/runtime/invocation/{id}/{response, error}`."""
            body = json.loads(self.body() or b"null")
            self.answer(202)
            parts = self.path.split("/")
            held.answers.put(Answer("init" if "init" in parts else parts[-1], body))

    with _served(RuntimeApi) as address, held.log.open("wb") as log:
        own = {name: value for name, value in environment(folder).items() if name in {"PATH", "HOME", "PYTHONPATH"}}
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "awslambdaric", handler],
            cwd=folder,
            env={
                **own,
                "AWS_LAMBDA_RUNTIME_API": address,
                "AWS_LAMBDA_FUNCTION_NAME": _NAME,
                "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing",  # pragma: allowlist secret
                "AWS_EC2_METADATA_DISABLED": "true",
                "LAMBDA_TASK_ROOT": str(folder),
                "_HANDLER": handler,
                **settings,
            },
            stdout=log,
            stderr=log,
        )
        held.process = process
        try:
            yield held
        finally:
            process.kill()
            process.wait()
            held.events.put(("", b"null"))  # the request that waits for work, if there is one, ends
