"""DynamoDB's and SQS's wire at a flat cost: a server whose every answer takes the same work, and `delay` more.

Run as a process of its own; says its port on the first line. It keeps items by key, takes every condition as
met, and knows the few forms of expressions that this package sends: enough for runs that nobody else contends
for, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

Item = dict[str, Any]
_ROOT = Path(__file__).parents[2]
_SET = re.compile(r"(#\d+) = (?:if_not_exists\((#\d+), (:\d+)\)|(:\d+))(?: \+ (:\d+))?")


class Items:
    """Partitions of items, by their keys."""

    def __init__(self) -> None:
        self._partitions: dict[str, dict[str, Item]] = {}

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        """What DynamoDB would answer; nothing for other services. Names in lower case."""
        match operation:
            case "putitem":
                item = asked["Item"]
                self._partition(item["pk"]["S"])[item["sk"]["S"]] = item
                return {}
            case "updateitem":
                key = asked["Key"]
                item = {**self._partition(key["pk"]["S"]).get(key["sk"]["S"], {}), **key}
                _update(item, asked)
                self._partition(key["pk"]["S"])[key["sk"]["S"]] = item
                return {"Attributes": item}
            case "getitem":
                found = self._partition(asked["Key"]["pk"]["S"]).get(asked["Key"]["sk"]["S"])
                return {} if found is None else {"Item": found}
            case "deleteitem":
                self._partition(asked["Key"]["pk"]["S"]).pop(asked["Key"]["sk"]["S"], None)
                return {}
            case "query":
                pk, *after = (value["S"] for value in asked["ExpressionAttributeValues"].values())
                items = sorted(self._partition(pk).items())
                return {"Items": [item for sk, item in items if not after or sk > after[0]]}
            case _:
                return {}

    def _partition(self, pk: str) -> dict[str, Item]:
        return self._partitions.setdefault(pk, {})


def _update(item: Item, asked: dict[str, Any]) -> None:
    names, values = asked["ExpressionAttributeNames"], asked.get("ExpressionAttributeValues", {})
    for verb, text in re.findall(r"(SET|ADD|REMOVE) (.*?)(?= SET | ADD | REMOVE |$)", asked["UpdateExpression"]):
        if verb == "SET":
            for name, _, default, value, added in _SET.findall(text):
                given = values[value] if value else item.get(names[name], values[default])
                item[names[name]] = _plus(given, values[added]) if added else given
        for part in text.split(", "):
            if verb == "REMOVE":
                item.pop(names[part], None)
            elif verb == "ADD":
                name, value = part.split(" ")
                item[names[name]] = _plus(item.get(names[name], {"N": "0"}), values[value])


def _plus(held: dict[str, str], added: dict[str, str]) -> dict[str, str]:
    return {"N": str(int(held["N"]) + int(added["N"]))}


class _Connection(asyncio.Protocol):
    def __init__(self, items: Items, delay: float) -> None:
        self._items = items
        self._delay = delay
        self._held = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, end, rest = self._held.partition(b"\r\n\r\n")
        if not end:
            return
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(headers.get(b"content-length", 0))
        if len(rest) < length:
            return
        self._held = rest[length:]
        operation = headers.get(b"x-amz-target", b"").decode().rpartition(".")[2]
        answer = self._items.answer(operation, json.loads(rest[:length] or b"{}"))
        body = json.dumps(answer).encode()
        text = (
            b"HTTP/1.1 200 OK\r\nServer: Server\r\nDate: Sun, 22 Nov 2026 12:00:00 GMT\r\n"
            b"Content-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\nConnection: keep-alive\r\n"
            b"x-amzn-RequestId: %052d\r\nx-amz-crc32: %d\r\n\r\n%s" % (len(body), 0, crc32(body), body)
        )
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._transport.write, text)
        else:
            self._transport.write(text)


async def _serve(delay: float) -> None:
    items = Items()
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(items, delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def flat_server(*, delay_ms: float = 0) -> Iterator[str]:
    """Its URL, while it runs in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": f"{_ROOT / 'sdk'}{os.pathsep}{_ROOT}"}
    command = [sys.executable, "-m", "tests.bench.flat", str(delay_ms / 1e3)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:  # noqa: S603 - this module
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
