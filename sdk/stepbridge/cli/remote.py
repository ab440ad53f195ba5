"""The local server's API, as the commands call it. Only the standard library, so that a command starts fast."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException, HTTPSConnection, InvalidURL
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from stepbridge.cli.problems import FAILED, UNREACHABLE, USAGE, CommandError

DEFAULT_URL: Final = "http://127.0.0.1:8787"
_TIMEOUT_SECONDS: Final = 30
_CODES: Final = {400: USAGE, 404: FAILED, 409: FAILED, 413: USAGE}

Json = dict[str, Any]


class Remote:
    """A server by its URL. Proxies of the environment are not asked: it is on this machine.

    Raises:
        CommandError: The URL is malformed; and from each call: no server answers (3), it knows no such
            thing (1), or refuses the data (2).
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            host, self._port = parts.hostname, parts.port
        except ValueError:
            host, parts = None, urlsplit("")
        if parts.scheme not in {"http", "https"} or not host:
            raise _no_url(url)
        self._host = host
        self._secure = parts.scheme == "https"
        self._path = parts.path.rstrip("/")
        self._url = url

    def get(self, *path: str, **query: object) -> Json:
        """What stands at `/api/<path>`; a query of None is left out."""
        given = {name: str(value) for name, value in query.items() if value is not None}
        return self._ask("GET", _joined(path) + ("?" + urlencode(given) if given else ""), None)

    def post(self, *path: str, body: object = None) -> Json:
        """The answer to `body`."""
        return self._ask("POST", _joined(path), json.dumps(body))

    def _ask(self, method: str, path: str, body: str | None) -> Json:
        kind = HTTPSConnection if self._secure else HTTPConnection
        try:
            connection = kind(self._host, self._port, timeout=_TIMEOUT_SECONDS)
        except InvalidURL as error:
            raise _no_url(self._url) from error
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            connection.request(method, f"{self._path}/api/{path}", body, headers)
            response = connection.getresponse()
            status, text = response.status, response.read()
        except UnicodeError as error:  # no name of a host is so long
            raise _no_url(self._url) from error
        except (OSError, HTTPException) as error:
            raise CommandError(
                f"no local server answers at {self._url}: {str(error) or type(error).__name__}. Mend: start it with"
                " `stepbridge dev`, or name another address by --url or STEPBRIDGE_URL.",
                UNREACHABLE,
            ) from error
        finally:
            connection.close()
        return self._answer(status, text)

    def _answer(self, status: int, text: bytes) -> Json:
        try:
            answer = json.loads(text)
            if status < 400:  # noqa: PLR2004 - HTTP's
                return dict(answer)
            message = str(answer["error"]["message"])
        except (ValueError, KeyError, TypeError) as error:
            raise CommandError(
                f"what answers at {self._url} (status {status}) is not a local server of stepbridge."
                " Mend: name its address by --url or STEPBRIDGE_URL.",
                UNREACHABLE,
            ) from error
        raise CommandError(message, _CODES.get(status, UNREACHABLE))


def _no_url(url: str) -> CommandError:
    return CommandError(f"{url!r:.200} is not the URL of a server. Mend: one like {DEFAULT_URL}.", USAGE)


def _joined(path: tuple[str, ...]) -> str:
    return "/".join(quote(part, safe="") for part in path)
