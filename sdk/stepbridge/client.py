"""`Client` and `AsyncClient`: send events, look at runs, cancel, resume and rerun them."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

from stepbridge.core.instants import to_ms
from stepbridge.core.records import Status
from stepbridge.core.steps import Draft
from stepbridge.engine.operations import Operations, new_run_id
from stepbridge.engine.publish import entries_of
from stepbridge.errors import ConfigError
from stepbridge.events import Event, drafts_of
from stepbridge.ports import Ports
from stepbridge.views import Page, RunView, Steps, StepView

if TYPE_CHECKING:
    from stepbridge.aws.settings import Settings

Sendable = Event[Any] | Mapping[str, Any]


class _Backend(Protocol):
    """Where a client's calls go."""

    def send(self, drafts: tuple[Draft, ...]) -> list[str]: ...
    def get_run(self, run_id: str) -> RunView: ...
    def list_runs(
        self, *, function_id: str | None, status: str | None, since: datetime | None, limit: int, cursor: str | None
    ) -> Page: ...
    def cancel(self, run_id: str) -> None: ...
    def resume(self, run_id: str) -> None: ...
    def rerun(self, run_id: str, from_step: str | None) -> str: ...


class Client:
    """Talks to one deployment, or to the local server.

    Args:
        url: The local server, `"http://127.0.0.1:8787"` say.
        settings: The resources of a stack by their names: `stepbridge.aws.settings.Settings`. Credentials
            and region are boto3's own.
        app_id: With `settings`: the app's id.
        function_ids: With `settings`: the functions that `list_runs` lists where it is given none.

    Raises:
        ConfigError: Neither or both of `url` and `settings` are given.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        settings: Settings | None = None,
        app_id: str = "client",
        function_ids: Sequence[str] = (),
    ) -> None:
        if (url is None) == (settings is None):
            raise ConfigError("Client: give url= (the local server) or settings= (a stack), and not both.")
        self._backend: _Backend
        if url is not None:
            self._backend = _Server(url)
        else:
            from stepbridge.aws.wiring import ports

            assert settings is not None  # noqa: S101 - checked above
            self._backend = _Stack(app_id, ports(settings), function_ids)

    def send(self, events: Sendable | Sequence[Sendable]) -> list[str]:
        """Puts events on the bus and returns their ids in order.

        An event without an id gets a new one; give it one, and sending it again starts nothing twice.

        Raises:
            ConfigError: One of them is malformed.
        """
        return self._backend.send(drafts_of(events, what="Client.send"))

    def get_run(self, run_id: str) -> RunView:
        """The run as it stands, read strongly.

        Raises:
            LookupError: There is none.
        """
        return self._backend.get_run(run_id)

    def list_runs(
        self,
        function_id: str | None = None,
        status: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Runs, newest first; give the page's `cursor` back for the next one.

        Args:
            function_id: Only this function's.
            status: Only of this status, `"FAILED"` say.
            since: Only runs made since this aware instant.
            limit: At most so many.
            cursor: Of the page before.
        """
        wanted = None if status is None else Status(status).value
        return self._backend.list_runs(function_id=function_id, status=wanted, since=since, limit=limit, cursor=cursor)

    def cancel(self, run_id: str) -> None:
        """Asks for the run's end, even of one that has not begun; follows within moments."""
        self._backend.cancel(run_id)

    def resume(self, run_id: str) -> None:
        """Asks a `PARKED` run to go on; follows within moments."""
        self._backend.resume(run_id)

    def rerun(self, run_id: str, from_step: str | None = None) -> str:
        """Starts a new run with the old one's event, and returns its id.

        Args:
            run_id: The old run; it stays as it is.
            from_step: Everything recorded before this step stands in the new run, and is not repeated.

        Raises:
            LookupError: There is no such run or step.
        """
        return self._backend.rerun(run_id, from_step)


class AsyncClient:
    """`Client` for async code: the same calls, each in a thread. See there for what they mean."""

    def __init__(
        self,
        *,
        url: str | None = None,
        settings: Settings | None = None,
        app_id: str = "client",
        function_ids: Sequence[str] = (),
    ) -> None:
        self._client = Client(url=url, settings=settings, app_id=app_id, function_ids=function_ids)

    async def send(self, events: Sendable | Sequence[Sendable]) -> list[str]:
        """Puts events on the bus and returns their ids in order."""
        return await asyncio.to_thread(self._client.send, events)

    async def get_run(self, run_id: str) -> RunView:
        """The run as it stands."""
        return await asyncio.to_thread(self._client.get_run, run_id)

    async def list_runs(
        self,
        function_id: str | None = None,
        status: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Runs, newest first."""
        return await asyncio.to_thread(self._client.list_runs, function_id, status, since, limit, cursor)

    async def cancel(self, run_id: str) -> None:
        """Asks for the run's end."""
        await asyncio.to_thread(self._client.cancel, run_id)

    async def resume(self, run_id: str) -> None:
        """Asks a `PARKED` run to go on."""
        await asyncio.to_thread(self._client.resume, run_id)

    async def rerun(self, run_id: str, from_step: str | None = None) -> str:
        """Starts a new run with the old one's event, and returns its id."""
        return await asyncio.to_thread(self._client.rerun, run_id, from_step)


class _Stack:
    """A deployment, over its ports."""

    def __init__(self, app_id: str, ports: Ports, function_ids: Sequence[str]) -> None:
        self._app_id = app_id
        self._ports = ports
        self._operations = Operations(app_id, ports, function_ids)
        self.get_run = self._operations.get_run
        self.list_runs = self._operations.list_runs
        self.cancel = self._operations.cancel
        self.resume = self._operations.resume

    def send(self, drafts: tuple[Draft, ...]) -> list[str]:
        event_ids = [draft.id or _chance() for draft in drafts]
        now_ms = to_ms(self._ports.clock.now())
        self._ports.bus.put(entries_of(drafts, event_ids, now_ms, self._app_id))
        return event_ids

    def rerun(self, run_id: str, from_step: str | None) -> str:
        return self._operations.rerun(run_id, new_run_id(run_id, _chance()), from_step)


class _Server:
    """The local server, over its JSON API."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"Client: url={url!r}. Mend: 'http://127.0.0.1:8787', as `stepbridge dev` prints it.")
        self._url = url
        self._host, self._port, self._secure = parts.hostname, parts.port, parts.scheme == "https"

    def send(self, drafts: tuple[Draft, ...]) -> list[str]:
        rows = [
            {
                "name": draft.name,
                "data": json.loads(draft.data),
                "id": draft.id or _chance(),
                "ts": draft.ts,
                "source": draft.source,
            }
            for draft in drafts
        ]
        ids: list[str] = self._ask("POST", "events", rows)["ids"]
        return ids

    def get_run(self, run_id: str) -> RunView:
        return _run_view(self._ask("GET", f"runs/{quote(run_id, safe='')}"))

    def list_runs(
        self, *, function_id: str | None, status: str | None, since: datetime | None, limit: int, cursor: str | None
    ) -> Page:
        begin = None if since is None else since.astimezone(UTC).isoformat()
        query = {"function_id": function_id, "status": status, "since": begin, "limit": limit, "cursor": cursor}
        page = self._ask("GET", "runs?" + urlencode({name: v for name, v in query.items() if v is not None}))
        return Page(runs=[_run_view(row) for row in page["runs"]], cursor=page["cursor"])

    def cancel(self, run_id: str) -> None:
        self._ask("POST", f"runs/{quote(run_id, safe='')}/cancel", {})

    def resume(self, run_id: str) -> None:
        self._ask("POST", f"runs/{quote(run_id, safe='')}/resume", {})

    def rerun(self, run_id: str, from_step: str | None) -> str:
        answer = self._ask("POST", f"runs/{quote(run_id, safe='')}/rerun", {"from_step": from_step})
        return str(answer["run_id"])

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        kind = HTTPSConnection if self._secure else HTTPConnection
        connection = kind(self._host, self._port, timeout=30)
        text = None if body is None else json.dumps(body)
        try:
            connection.request(method, f"/api/{path}", text, {"Content-Type": "application/json"} if text else {})
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, HTTPException, ValueError) as error:
            raise ConnectionError(
                f"no local server answers at {self._url}: {error}. Mend: `stepbridge dev`."
            ) from error
        finally:
            connection.close()
        if response.status < 400:  # noqa: PLR2004 - HTTP
            return answer
        message = str(answer.get("error", {}).get("message", answer))
        raise LookupError(message) if response.status == 404 else ConfigError(message)  # noqa: PLR2004 - HTTP


def _run_view(row: Mapping[str, Any]) -> RunView:
    event = row["event"]
    return RunView(
        run_id=row["run_id"],
        function_id=row["function_id"],
        status=row["status"],
        output=row.get("output"),
        error=row["error"],
        event=Event[Any].model_construct(**{"data": {}, **event}),
        attempt=row["attempt"],
        steps=Steps([_step_view(step) for step in row.get("steps", [])]),
        created_at=datetime.fromisoformat(row["created_at"]),
        started_at=_instant(row["started_at"]),
        ended_at=_instant(row["ended_at"]),
        parent_id=row["parent_id"],
    )


def _step_view(row: Mapping[str, Any]) -> StepView:
    names = ("step_id", "occurrence", "kind", "status", "output", "error", "attempts")
    instants: dict[str, Any] = {name: _instant(row[name]) for name in ("started_at", "ended_at", "due_at")}
    return StepView(**{name: row[name] for name in names}, **instants)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _chance() -> str:
    return str(uuid.uuid4())  # noqa: TID251 - a new event's id, made once by who sends it
