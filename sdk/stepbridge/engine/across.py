"""Invoking across apps, over the bus: a request, a reply, and a cancellation where nobody waits any more.

Each is an event of a reserved name that ends in the id of the app that it is for; that app's rule lets it
through. All are idempotent: run ids and registers are the same however often an event is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from stepbridge.core import ids
from stepbridge.core.codec import dump
from stepbridge.core.envelope import parsed
from stepbridge.core.instants import from_ms, to_ms
from stepbridge.core.items import parent_of, parent_row
from stepbridge.core.limits import FAILURE_CHARACTERS, STACK_CHARACTERS
from stepbridge.core.messages import Cancel, Go, Start, Work, function_problem, parent_problem
from stepbridge.core.records import EventRecord, Failure, Kind, Mark, Parent, Register
from stepbridge.core.steps import Draft
from stepbridge.engine.payloads import Payloads
from stepbridge.engine.publish import entries_of
from stepbridge.engine.store import Store
from stepbridge.ports import Ports

REQUEST: Final = "stepbridge/invoke."
REPLY: Final = "stepbridge/reply."
CANCEL: Final = "stepbridge/cancel."


def names_for(app_id: str) -> tuple[str, ...]:
    """The events that an app's rule lets through for it alone."""
    return REQUEST + app_id, REPLY + app_id, CANCEL + app_id


class Across:
    """One app's side of invocations across apps."""

    def __init__(self, app_id: str, ports: Ports, store: Store, payloads: Payloads) -> None:
        self._app_id = app_id
        self._ports = ports
        self._store = store
        self._payloads = payloads

    # -- out ---------------------------------------------------------------------------------------
    def request(
        self, app_id: str, function_id: str, child_id: str, data: str, parent: Parent, trace: Mapping[str, str]
    ) -> None:
        """Asks another app for a run of its function, which carries the trace context on."""
        row = dump({"run_id": child_id, "function_id": function_id, "parent": parent_row(parent), "data": data})
        self._put(REQUEST + app_id, row, f"{child_id}-request", trace)

    def reply(self, parent: Parent, child_id: str, output: str | None, failure: Failure | None) -> None:
        """Tells the app that waits how the run has ended."""
        error = None if failure is None else [failure.name, failure.message, failure.stack]
        row = dump({"parent": parent_row(parent), "output": output, "error": error})
        self._put(REPLY + parent.app, row, f"{child_id}-reply")

    def cancel(self, app_id: str, run_id: str, reason: str) -> None:
        """Asks another app to end its run."""
        self._put(CANCEL + app_id, dump({"run_id": run_id, "reason": reason}), f"{run_id}-cancel")

    def _put(self, name: str, data: str, event_id: str, trace: Mapping[str, str] | None = None) -> None:
        draft = Draft(name=name, data=data)
        self._ports.bus.put(entries_of([draft], [event_id], to_ms(self._ports.clock.now()), self._app_id, trace))

    # -- in ----------------------------------------------------------------------------------------
    def work_of(self, row: dict[str, Any], extra: dict[str, str]) -> Work | None:
        """The work that such an event asks this app for; None: it is none of them. `extra`: as it came with it.

        Raises:
            ValueError: It is not as apps of this package send it. Whoever may put events may put such a one.
        """
        data = row["data"]
        if row["name"] == REQUEST + self._app_id:
            run_id, text, function_id = _name(data, "run_id"), _text(data, "data"), _text(data, "function_id")
            _object(text)
            if (problem := function_problem(function_id)) is not None:
                raise ValueError(problem)
            event = EventRecord(
                name="stepbridge/function.invoked",
                id=run_id,
                ts=row["ts"],
                source=row["source"],
                data=self._payloads.keep(text, run_id),
            )
            return Start(
                run_id=run_id,
                function_id=function_id,
                event=event,
                parent=_parent(data),
                created_at=from_ms(row["ts"]),
                extra=extra,
            )
        if row["name"] == REPLY + self._app_id:
            return self._resolve(_parent(data), _output(data), _error(data), row["ts"])
        if row["name"] == CANCEL + self._app_id:
            return Cancel(run_id=_name(data, "run_id"), reason=_text(data, "reason")[:FAILURE_CHARACTERS])
        return None

    def _resolve(self, parent: Parent, output: str | None, error: list[str] | None, ts_ms: int) -> Work:
        failure = None if error is None else Failure(name=error[0], message=error[1], stack=error[2])
        register = Register(
            key=parent.step_key,
            step_id=parent.step_id,
            occurrence=parent.occurrence,
            kind=Kind.INVOKE,
            mark=Mark.OK if failure is None else Mark.ERROR,
            value=self._payloads.keep(output or "null", parent.run_id) if failure is None else None,
            failure=failure,
            started_at=from_ms(ts_ms),
            ended_at=self._ports.clock.now(),
        )
        self._store.put_register(parent.run_id, register)
        return Go(run_id=parent.run_id, why="reply")


def _text(data: dict[str, Any], name: str) -> str:
    """A field that is a text.

    Raises:
        ValueError: It is none, or not there.
    """
    value = data.get(name)
    if not isinstance(value, str):
        message = f"{name} is a {type(value).__name__}, not a text"
        raise ValueError(message)  # noqa: TRY004 - callers bury what is a ValueError
    return value


def _name(data: dict[str, Any], name: str) -> str:
    """A run's id: it becomes part of keys, so it holds nothing that parts them."""
    text = _text(data, name)
    if not ids.is_id(text):
        message = f"{name} is no id of ours"
        raise ValueError(message)
    return text


def _parent(data: dict[str, Any]) -> Parent:
    row = data.get("parent")
    if not isinstance(row, list):
        message = "parent is not a list"
        raise ValueError(message)  # noqa: TRY004 - callers bury what is a ValueError
    try:
        parent = parent_of(row)
    except (TypeError, ValueError) as error:
        message = "parent is malformed"
        raise ValueError(message) from error
    parent = replace(parent, item=None)
    if (problem := parent_problem(parent)) is not None:
        raise ValueError(problem)
    return parent


def _output(data: dict[str, Any]) -> str | None:
    """The output: JSON text, or None."""
    if data.get("output") is None:
        return None
    text = _text(data, "output")
    _json(text)
    return text


def _object(text: str) -> None:
    if not isinstance(_json(text), dict):
        message = "data is not a JSON object"
        raise ValueError(message)  # noqa: TRY004 - callers bury what is a ValueError


def _json(text: str) -> object:
    return parsed(text)


def _error(data: dict[str, Any]) -> list[str] | None:
    match data.get("error"):
        case None:
            return None
        case [str(name), str(message), str(stack)]:
            return [name[:FAILURE_CHARACTERS], message[:FAILURE_CHARACTERS], stack[:STACK_CHARACTERS]]
        case _:
            message = "error is not [name, message, stack]"
            raise ValueError(message)


def foreign_child_id(parent_run_id: str, step_key: str, app_id: str) -> str:
    """The run that another app is asked for."""
    return ids.child_run_id(parent_run_id, f"{step_key}@{app_id}")
