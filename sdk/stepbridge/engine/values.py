"""What recorded texts stand for, in the hands of user code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stepbridge.core import codec
from stepbridge.core.records import Failure, Kind
from stepbridge.core.steps import MapStep, RunStep, SleepStep, Step, WaitStep
from stepbridge.engine.failures import step_error
from stepbridge.events import Event


def decoded(step: Step, text: str) -> Any:
    """What the recorded text of a step's result stands for."""
    match step:
        case RunStep():
            return codec.decode(text, step.hint)
        case WaitStep(kind=Kind.WAIT_ANY):
            row = json.loads(text)
            return None if row is None else (row[0], event_for(row[1], None))
        case WaitStep():
            row = json.loads(text)
            return None if row is None else event_for(row, step.model)
        case MapStep():
            return map_results(json.loads(text), step)
        case SleepStep():
            return None
        case _:
            return codec.decode(text, getattr(step, "hint", codec.PLAIN))


def event_for(row: Mapping[str, Any], model: Any) -> Event[Any]:
    """An event as user code sees it, its data validated by `model` where there is one."""
    data = row["data"] if model is None else model.model_validate(row["data"])
    return Event[Any].model_construct(name=row["name"], data=data, id=row["id"], ts=row["ts"], source=row["source"])


def map_results(row: Mapping[str, Any], step: MapStep) -> list[Any]:
    """The results of a map, in order; raises the first error unless errors are wanted as results."""
    results = [codec.decode(codec.dump(value), step.hint) if value is not None else None for value in row["v"]]
    for index, (name, message, stack, attempts) in sorted((int(i), error) for i, error in row["e"].items()):
        failure = Failure(name=name, message=message, stack=stack)
        error = step_error(failure, step_id=step.step_id, attempts=attempts)
        if not step.return_exceptions:
            raise error
        results[index] = error
    return results
