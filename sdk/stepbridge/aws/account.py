"""A deployed app for people at a terminal, with their own credentials: the answers of the local server's API.

What the local server knows and AWS keeps nowhere is not there: the events of a bus, counts of runs, logs.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound

from stepbridge.aws.clients import Clients
from stepbridge.aws.failures import Misconfigured, Unavailable, code_of
from stepbridge.aws.settings import Settings, region_of
from stepbridge.aws.stacks import Deployed, deployed
from stepbridge.aws.wiring import ports
from stepbridge.core import ids
from stepbridge.core.codec import PLAIN, encode
from stepbridge.core.instants import to_ms
from stepbridge.core.messages import Start, message_text
from stepbridge.core.records import EventRecord
from stepbridge.engine.operations import Operations, new_run_id, no_function
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.publish import entries_of
from stepbridge.errors import ConfigError
from stepbridge.events import drafts_of
from stepbridge.ports import Outgoing
from stepbridge.views import RunView, StepView

Json = dict[str, Any]
_INVOKED: Final = "stepbridge/function.invoked"
_MENDS: Final = {
    "NoCredentialsError": "sign in (`aws sso login`, `aws configure`), or name a profile by --profile",
    "NoRegionError": "name the region by --region, or in the profile",
}


class AccountError(Exception):
    """AWS does not do as asked: credentials, permissions, or it cannot be reached. Names cause and mend."""


@contextmanager
def told() -> Iterator[None]:
    """What AWS's SDK raises meanwhile, as an `AccountError`."""
    try:
        yield
    except (Misconfigured, Unavailable) as error:
        raise AccountError(str(error)) from error
    except ClientError as error:
        mend = (
            "allow these credentials the call, or use others by --profile" if "Denied" in code_of(error) else "see it"
        )
        raise AccountError(f"AWS refuses: {error}. Mend: {mend}.") from error
    except BotoCoreError as error:
        mend = _MENDS.get(type(error).__name__, "see to the network, --profile and --region")
        raise AccountError(f"{str(error).rstrip('.')}. Mend: {mend}.") from error


def clients_of(profile: str | None, region: str | None) -> Clients:
    """The clients of a profile, as the AWS CLI takes it.

    Raises:
        ConfigError: There is no such profile.
    """
    session = botocore.session.Session(profile=profile)
    try:
        chosen = region or region_of() or session.get_config_variable("region")
    except ProfileNotFound as error:
        known = ", ".join(botocore.session.Session().available_profiles) or "none"
        raise ConfigError(f"{error}; there are: {known}. Mend: --profile with one of them.") from error
    return Clients(region=chosen, session=session)


def settings_in(file: Path) -> Deployed:
    """The app that a file of JSON tells of: the fields of `Settings`, `app_id` and `function_ids`.

    Raises:
        ConfigError: It cannot be read, or is not that.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        app_id, function_ids = content.pop("app_id"), tuple(content.pop("function_ids"))
        return Deployed(app_id=app_id, function_ids=function_ids, settings=Settings(**content))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{file} does not tell of an app: {error!r}. Mend: a JSON object with app_id, function_ids and the fields"
            " of stepbridge.aws.settings.Settings."
        ) from error


class Account:
    """One deployed app.

    Args:
        found: Which one, and its resources.
        clients: Of the credentials that are to be used.
    """

    def __init__(self, found: Deployed, clients: Clients) -> None:
        self.found = found
        self.clients = clients
        self._ports = ports(found.settings, clients)
        self.operations = Operations(found.app_id, self._ports, found.function_ids)

    @classmethod
    def of_stack(cls, stack: str, app_id: str | None, clients: Clients) -> Account:
        """The app of a stack; `told` is to be around it."""
        return cls(deployed(stack, app_id, clients), clients)

    def send(self, event: Json) -> str:
        """Puts an event on the bus; its id."""
        (draft,) = drafts_of(event, what="send")
        event_id = draft.id or _chance()
        now_ms = to_ms(self._ports.clock.now())
        self._ports.bus.put(entries_of([draft], [event_id], now_ms, "cli"))
        return event_id

    def started_by(self, name: str, event_id: str) -> list[Json]:
        """The runs of this app that an event has started so far, but those of functions with `idempotency`."""
        app_id, found = self.found.app_id, []
        for function_id in self.found.function_ids:
            run_id = ids.run_id(app_id, function_id, name, event_id)
            try:
                found.append(self.row(self.operations.summary(run_id)))
            except LookupError:
                continue
        return found

    def invoke(self, function_id: str, data: object) -> Json:
        """Starts a run of a function, whatever its triggers; its data is plain, whatever their models."""
        if function_id not in self.found.function_ids:
            raise no_function(function_id, self.found.function_ids)
        event_id, now = _chance(), self._ports.clock.now()
        run_id = ids.run_id(self.found.app_id, function_id, _INVOKED, event_id)
        text = encode(data, PLAIN, what=f"invoke {function_id!r}")
        kept = Payloads(self._ports.blobs).keep(text, run_id)
        event = EventRecord(name=_INVOKED, id=event_id, ts=to_ms(now), source="cli", data=kept)
        start = Start(run_id=run_id, function_id=function_id, event=event, created_at=now)
        self._ports.queue.send([Outgoing(body=message_text(start))])
        return {"run_id": run_id, "function_id": function_id}

    def rerun(self, run_id: str, from_step: str | None) -> Json:
        """Starts a new run with a run's event."""
        old = self.operations.summary(run_id)
        new = self.operations.rerun(run_id, new_run_id(run_id, _chance()), from_step)
        return {"run_id": new, "function_id": old.function_id}

    # -- shapes ------------------------------------------------------------------------------------
    def row(self, run: RunView) -> Json:
        """A run as a line of a list."""
        event = run.event
        return {
            "run_id": run.run_id,
            "app_id": self.found.app_id,
            "function_id": run.function_id,
            "status": run.status,
            "event": {"name": event.name, "id": event.id, "ts": event.ts, "source": event.source},
            "attempt": run.attempt,
            "error": None if run.error is None else {key: run.error[key] for key in ("name", "message")},
            "created_at": _instant(run.created_at),
            "started_at": _instant(run.started_at),
            "ended_at": _instant(run.ended_at),
            "parent_id": run.parent_id,
            "rerun_of": None,
        }

    def detail(self, run: RunView) -> Json:
        """A run with its data, steps, output and error."""
        row = self.row(run)
        steps = [_step(step) for step in run.steps.values()]
        event = {**row["event"], "data": run.event.data}
        return {**row, "event": event, "output": run.output, "error": run.error, "retry_at": None, "steps": steps}


def _step(step: StepView) -> Json:
    names = ("step_id", "occurrence", "kind", "status", "output", "error", "attempts")
    instants = {name: _instant(getattr(step, name)) for name in ("started_at", "ended_at", "due_at")}
    return {**{name: getattr(step, name) for name in names}, **instants, "waits_for": [], "child_run_id": None}


def _instant(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _chance() -> str:
    return str(uuid.uuid4())  # noqa: TID251 - a new event's id, made once by who sends it
