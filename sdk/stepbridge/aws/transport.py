"""botocore's connections, for prepared calls: each request in one write, and nothing asked anew for each.

botocore's session looks for a proxy, the pool and the certificates of every request, and urllib3 writes head and body
apart, which on a small Lambda is a third of a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import HTTPClientError
from urllib3.util import Retry

_NO_RETRIES: Final = Retry(total=False)
"""urllib3's own; botocore has its."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What botocore's retries and parsers read of an answer."""

    status_code: int
    headers: Mapping[str, str]
    content: bytes


def pool_of(session: Any, url: str) -> Any:
    """Where botocore's session would send to, with its certificates; None: behind a proxy, or a session unknown."""
    # ruff: disable[SLF001] - what the session itself goes through at each call
    try:
        if session._proxy_config.proxy_url_for(url) is not None:
            return None
        pool = session._manager.connection_from_url(url)
        session._setup_ssl_cert(pool, url, session._verify)
    # ruff: enable[SLF001]
    except AttributeError:
        return None
    if not issubclass(pool.ConnectionCls, _OneWrite):
        pool.ConnectionCls = type("Connection", (_OneWrite, pool.ConnectionCls), {})
    return pool


def sent(pool: Any, request: Any) -> Answer:
    """As botocore's session sends; every failure becomes the error by which it is tried again."""
    try:
        answer = pool.urlopen(
            "POST",
            "/",
            body=request.body,
            headers=request.headers,
            retries=_NO_RETRIES,
            assert_same_host=False,
            decode_content=False,
            enforce_content_length=False,
        )
    except Exception as error:
        raise HTTPClientError(error=error) from error
    return Answer(answer.status, answer.headers, answer.data)


class _OneWrite:
    """What is mixed into botocore's connections: head and body leave together."""

    _buffer: list[bytes]
    _held: list[bytes] | None = None

    def request(self, *arguments: Any, **options: Any) -> None:
        held: list[bytes] = []
        self._held = held
        try:
            super().request(*arguments, **options)  # type: ignore[misc]
        finally:
            self._held = None
        self.send(b"".join(held))

    def send(self, data: bytes) -> None:
        if self._held is None:
            super().send(data)  # type: ignore[misc]
        else:
            self._held.append(data)

    def putheader(self, header: str, *values: Any) -> None:
        """As http.client's, without searching each for what none of these holds but a line's end."""
        line = f"{header}: {values[0]}"
        if isinstance(values[0], str) and line.isascii() and "\n" not in line and "\r" not in line:
            self._buffer.append(line.encode())
        else:
            super().putheader(header, *values)  # type: ignore[misc]
