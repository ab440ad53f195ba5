"""`Client` and `AsyncClient`: send events, look at runs, cancel, resume and rerun them."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlencode, urlsplit

from stepbridge.core.durations import shown
from stepbridge.core.instants import to_ms
from stepbridge.core.records import Status
from stepbridge.core.steps import Draft
from stepbridge.engine import tracing
from stepbridge.engine.operations import Operations, new_run_id
from stepbridge.engine.publish import entries_of
from stepbridge.errors import ConfigError
from stepbridge.events import Event, drafts_of, text_problem
from stepbridge.ports import Ports
from stepbridge.views import Page, RunView, Steps, StepView

if TYPE_CHECKING:
    from stepbridge.aws.settings import Settings

Sendable = Event[Any] | Mapping[str, Any]
LIMIT_MAX: Final = 1_000
"""Runs of a page."""
_TEXT_MAX: Final = 2_048
"""Characters of an id or a cursor: more than any has."""
_NO_ERROR: Final = 400
"""HTTP's first status that is one."""
_ERRORS: Final[Mapping[int, type[Exception]]] = {404: LookupError, 500: RuntimeError}
"""What an answer of this status is raised as; of any other one, `ConfigError`."""
_CONFLICT: Final = 409
"""The run is not in a state for this: it stays as it is, as on a stack."""


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

    Every call may raise what boto3 raises, or with `url` a ConnectionError: no local server answers there.

    Args:
        url: The local server, `"http://127.0.0.1:8787"` say.
        stack: The name of a deployed stack, or its ARN, whose outputs tell the rest; read once, here.
        settings: The resources of a stack by their names: `stepbridge.aws.settings.Settings`. Credentials
            and region are boto3's own, for a stack too.
        app_id: With `stack`: which app, where it holds several; with `settings`: the app's id.
        function_ids: With `settings`: the functions that `list_runs` lists where it is given none.

    Raises:
        ConfigError: None or several of `url`, `stack` and `settings` are given; or there is no such stack or app.
    """

    def __init__(
        self,
        *,
        url: str | None = None,
        stack: str | None = None,
        settings: Settings | None = None,
        app_id: str | None = None,
        function_ids: Sequence[str] = (),
    ) -> None:
        if [url, stack, settings].count(None) != 2:  # noqa: PLR2004 - all but one
            raise ConfigError("Client: give one of url= (the local server), stack= (its name) and settings=.")
        self._backend: _Backend = (
            _Server(url) if url is not None else _deployment(stack, settings, app_id, function_ids)
        )

    def send(self, events: Sendable | Sequence[Sendable]) -> list[str]:
        """Puts events on the bus and returns their ids in order.

        An event without an id gets a new one; give it one, and sending it again starts nothing twice. In a
        process with OpenTelemetry the events, and the runs that they start, carry the caller's trace context.

        Raises:
            ConfigError: One of them is malformed.
        """
        return self._backend.send(drafts_of(events, what="Client.send"))

    def get_run(self, run_id: str) -> RunView:
        """The run as it stands, read strongly.

        Raises:
            LookupError: There is none.
            LostValueError: Its output is gone from its bucket, or has been altered.
        """
        _check_text("get_run: run_id", run_id)
        return self._backend.get_run(run_id)

    def list_runs(
        self,
        function_id: str | None = None,
        status: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page:
        """Runs, newest first, without their data, outputs and steps.

        Args:
            function_id: Only this function's.
            status: Only of this status, `"FAILED"` say.
            since: Only runs made since this aware instant; None: of a stack, those of the last 30 days. A
                stack's list is read a function and day at a time, and is some moments behind.
            limit: At most so many, 1,000 at most.
            cursor: Of the page before: this is the next one.

        Raises:
            ConfigError: One of them is malformed; or it is a stack, and no function is named.
        """
        wanted = None if status is None else _status(status)
        _check_since(since)
        if type(limit) is not int or not 1 <= limit <= LIMIT_MAX:
            raise ConfigError(f"list_runs: limit={shown(limit)}. Mend: 1 to {LIMIT_MAX}.")
        for name, text in (("function_id", function_id), ("cursor", cursor)):
            _check_text(f"list_runs: {name}", text or "-")
        return self._backend.list_runs(function_id=function_id, status=wanted, since=since, limit=limit, cursor=cursor)

    def cancel(self, run_id: str) -> None:
        """Asks for the run's end, which follows within moments; a run that has ended stays as it is.

        On a stack even a run that has not begun is cancelled, so no run is unknown there.

        Raises:
            LookupError: The local server has no such run; or no run can have such an id.
        """
        _check_text("cancel: run_id", run_id)
        self._backend.cancel(run_id)

    def resume(self, run_id: str) -> None:
        """Asks a `PARKED` run to go on, which follows within moments; any other run stays as it is.

        Raises:
            LookupError: The local server has no such run; or no run can have such an id.
        """
        _check_text("resume: run_id", run_id)
        self._backend.resume(run_id)

    def rerun(self, run_id: str, from_step: str | None = None) -> str:
        """Starts a new run with the old one's event, and returns its id; it is there at once.

        Each call makes another run, and nobody waits for it: a child's rerun tells no parent.

        Args:
            run_id: The old run; it stays as it is.
            from_step: Everything recorded before this step's first result stands in the new run, and is not
                repeated; where the step has no result yet, everything recorded.

        Raises:
            LookupError: There is no such run or step.
        """
        _check_text("rerun: run_id", run_id)
        _check_text("rerun: from_step", "-" if from_step is None else from_step)
        return self._backend.rerun(run_id, from_step)


class AsyncClient:
    """`Client` for async code: the same calls, each in a thread. See there for what they mean."""

    def __init__(
        self,
        *,
        url: str | None = None,
        stack: str | None = None,
        settings: Settings | None = None,
        app_id: str | None = None,
        function_ids: Sequence[str] = (),
    ) -> None:
        self._client = Client(url=url, stack=stack, settings=settings, app_id=app_id, function_ids=function_ids)

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


def _deployment(
    stack: str | None, settings: Settings | None, app_id: str | None, function_ids: Sequence[str]
) -> _Stack:
    """By the stack's name, else by its resources' names."""
    from stepbridge.aws.wiring import ports

    if settings is None:
        from stepbridge.aws.stacks import deployed

        found = deployed(str(stack), app_id)
        settings, app_id, function_ids = found.settings, found.app_id, found.function_ids
    return _Stack(app_id or "client", ports(settings), function_ids)


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
        self._ports.bus.put(entries_of(drafts, event_ids, now_ms, self._app_id, tracing.current()))
        return event_ids

    def rerun(self, run_id: str, from_step: str | None) -> str:
        return self._operations.rerun(run_id, new_run_id(run_id, _chance()), from_step)


class _Server:
    """The local server, over its JSON API."""

    def __init__(self, url: object) -> None:
        try:
            parts = urlsplit(url if isinstance(url, str) else "")
            host, self._port = parts.hostname, parts.port
        except ValueError:
            host, parts = None, urlsplit("")
        if parts.scheme not in {"http", "https"} or not host:
            raise ConfigError(f"Client: url={url!r}. Mend: 'http://127.0.0.1:8787', as `stepbridge dev` prints it.")
        self._url = str(url)
        self._host = host
        self._secure = parts.scheme == "https"
        self._path = parts.path.rstrip("/")

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
        ids: list[str] = self._ask("POST", "events", rows, headers=tracing.current())["ids"]
        return ids

    def get_run(self, run_id: str) -> RunView:
        return _run_view(self._ask("GET", f"runs/{quote(run_id, safe='')}"))

    def list_runs(
        self, *, function_id: str | None, status: str | None, since: datetime | None, limit: int, cursor: str | None
    ) -> Page:
        begin = None if since is None else max(to_ms(since), 0)
        query = {"function_id": function_id, "status": status, "since": begin, "limit": limit, "cursor": cursor}
        page = self._ask("GET", "runs?" + urlencode({name: v for name, v in query.items() if v is not None}))
        return Page(runs=[_run_view(row) for row in page["runs"]], cursor=page["cursor"])

    def cancel(self, run_id: str) -> None:
        self._ask("POST", f"runs/{quote(run_id, safe='')}/cancel", {}, but=_CONFLICT)

    def resume(self, run_id: str) -> None:
        self._ask("POST", f"runs/{quote(run_id, safe='')}/resume", {}, but=_CONFLICT)

    def rerun(self, run_id: str, from_step: str | None) -> str:
        answer = self._ask("POST", f"runs/{quote(run_id, safe='')}/rerun", {"from_step": from_step})
        return str(answer["run_id"])

    def _ask(
        self, method: str, path: str, body: object = None, *, but: int = 0, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The answer; None where its status is `but`."""
        kind = HTTPSConnection if self._secure else HTTPConnection
        connection = kind(self._host, self._port, timeout=30)
        text = None if body is None else json.dumps(body)
        try:
            kinds = {"Content-Type": "application/json"} if text else {}
            connection.request(method, f"{self._path}/api/{path}", text, {**kinds, **(headers or {})})
            response = connection.getresponse()
            status, answered = response.status, response.read()
        except (OSError, HTTPException) as error:
            raise ConnectionError(
                f"no local server answers at {self._url}: {str(error) or type(error).__name__}."
                " Mend: start it with `stepbridge dev`, or give its address as url=."
            ) from error
        finally:
            connection.close()
        return None if status == but else self._answer(status, answered)

    def _answer(self, status: int, text: bytes) -> Any:
        try:
            answer = json.loads(text)
            if status < _NO_ERROR:
                return answer
            message = str(answer["error"]["message"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConnectionError(
                f"what answers at {self._url} (status {status}) is not a local server of stepbridge."
                " Mend: give its address as url=."
            ) from error
        raise _ERRORS.get(status, ConfigError)(message)


def _check_text(what: str, given: object) -> None:
    """Raises a `ConfigError` for what can be no name of anything."""
    if not isinstance(given, str):
        raise ConfigError(f"{what}={shown(given)}. Mend: a string.")
    if problem := text_problem(given, _TEXT_MAX):
        raise ConfigError(f"{what} {given[:40]!r}... {problem}")


def _check_since(given: object) -> None:
    if given is not None and (not isinstance(given, datetime) or given.tzinfo is None):
        raise ConfigError(f"list_runs: since={shown(given)} has no zone. Mend: datetime(..., tzinfo=UTC).")


def _status(text: object) -> str:
    try:
        return Status(str(text).upper()).value
    except ValueError as error:
        raise ConfigError(f"list_runs: status={text!r:.80}. Mend: one of {', '.join(Status)}.") from error


def _run_view(row: Mapping[str, Any]) -> RunView:
    event = row["event"]
    return RunView(
        run_id=row["run_id"],
        function_id=row["function_id"],
        status=row["status"],
        output=row.get("output"),
        error=None if row["error"] is None else {"stack": "", **row["error"]},
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
