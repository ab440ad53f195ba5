"""Runs read back from their records."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any, assert_never

from stepbridge.core.history import history_of
from stepbridge.core.records import Armed, ArmedChild, ArmedMap, ArmedWait, Failure, Head, Kind, Mark, Register, Stored
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.store import Past, Store
from stepbridge.engine.values import event_for
from stepbridge.errors import LostValueError
from stepbridge.events import Event
from stepbridge.ports import Ports
from stepbridge.views import RunView, Steps, StepView


class Reader:
    """Reads runs; changes nothing."""

    def __init__(self, ports: Ports) -> None:
        self._store = Store(ports.table)
        self._payloads = Payloads(ports.blobs)
        self._clock = ports.clock

    def run(self, run_id: str) -> RunView | None:
        """The run as it stands, or None."""
        head = self._store.head(run_id)
        return None if head is None else self.view(head)

    def view(self, head: Head) -> RunView:
        """The run of this head."""
        past = self._store.past(head.run_id)
        data = past.data if head.event.data is None else head.event.data
        return replace(
            summary(head),
            output=self._json(self._store.output(head)),
            event=_event(head, self._shown(data or "{}")),
            steps=Steps(self._steps(head, past)),
        )

    def _json(self, stored: Stored | None) -> Any:
        return None if stored is None else json.loads(self._payloads.text(stored))

    def _shown(self, stored: Stored | None) -> Any:
        """The value; where it is gone a text that says so, for who looks at the run that lacks it."""
        try:
            return self._json(stored)
        except LostValueError as error:
            return str(error)

    def _steps(self, head: Head, past: Past) -> list[StepView]:
        now = head.ended_at or self._clock.now()
        history = history_of(past.registers, head.seen, now)
        done = [self._step(register, now) for _, register in sorted(history.ranked.values(), key=lambda hit: hit[0])]
        going_on = [self._step(register, now) for register in history.unfinished.values()]
        waiting = [
            _waiting(armed)
            for armed in (*past.armed, *head.armed)
            if armed.step_key not in history.ranked and not head.status.is_terminal and armed.step_id[:1] != "~"
        ]
        return [*done, *going_on, *waiting]

    def _step(self, register: Register, now: datetime) -> StepView:
        status = "COMPLETED"
        if register.mark is Mark.ERROR:
            status = "FAILED"
        elif register.mark is Mark.STARTED:
            status = "RUNNING"
        elif register.mark is Mark.RETRY:
            status = "RETRYING"
        elif register.mark is Mark.DUE and register.due_at is not None and register.due_at > now:
            status = "SLEEPING"
        ended_at: datetime | None = register.ended_at
        if register.kind is Kind.SLEEP:
            ended_at = register.due_at
        return StepView(
            step_id=register.step_id,
            occurrence=register.occurrence,
            kind=register.kind.value,
            status=status,
            output=self._shown(register.value),
            error=_error(register.failure),
            attempts=register.attempts,
            started_at=register.started_at,
            ended_at=ended_at if status in {"COMPLETED", "FAILED"} else None,
            due_at=register.due_at,
        )


def summary(head: Head) -> RunView:
    """What the head alone tells of its run: all but the trigger's data, the output and the steps."""
    return RunView(
        run_id=head.run_id,
        function_id=head.function_id,
        status=head.status.value,
        output=None,
        error=_error(head.failure),
        event=_event(head, {}),
        attempt=head.attempt,
        steps=Steps([]),
        created_at=head.created_at,
        started_at=head.started_at if head.epoch else None,
        ended_at=head.ended_at,
        parent_id=None if head.parent is None else head.parent.run_id,
    )


def _event(head: Head, data: Any) -> Event[Any]:
    event = head.event
    data = {"lost": data} if isinstance(data, str) else data
    return event_for({"name": event.name, "data": data, "id": event.id, "ts": event.ts, "source": event.source}, None)


def _waiting(armed: Armed) -> StepView:
    match armed:
        case ArmedWait():
            kind = armed.kind
        case ArmedMap():
            kind = Kind.MAP
        case ArmedChild():
            kind = Kind.INVOKE
        case _:
            assert_never(armed)
    return StepView(
        step_id=armed.step_id,
        occurrence=armed.occurrence,
        kind=kind.value,
        status="WAITING",
        output=None,
        error=None,
        attempts=1,
        started_at=None,
        ended_at=None,
        due_at=armed.deadline,
    )


def _error(failure: Failure | None) -> dict[str, str] | None:
    if failure is None:
        return None
    return {"name": failure.name, "message": failure.message, "stack": failure.stack}
