"""Errors of user code as records."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from stepbridge.core.limits import FAILURE_CHARACTERS, NAME_CHARACTERS, STACK_CHARACTERS
from stepbridge.core.records import Failure
from stepbridge.errors import NonRetriableError, StepError, StepInterruptedError

_OWN = str(Path(__file__).parent.parent)
LEAVING: Final = (KeyboardInterrupt, GeneratorExit)
"""What ends the process or a coroutine, and so leaves the engine; all else that user code raises is recorded."""


def failure_of(error: BaseException) -> Failure:
    """An error as it is recorded; a `StepError` keeps the original's name and message.

    Whatever the error's own code does while it is looked at, and whatever it holds where texts are expected.
    """
    name, message, stack = type(error).__name__, "", ""
    if isinstance(error, StepError):
        name, message, stack = (_held(error, attribute) for attribute in ("name", "message", "stack"))
    return Failure(
        name=_cut(name or type(error).__name__, NAME_CHARACTERS),
        message=_cut(message or _message(error), FAILURE_CHARACTERS),
        stack=_ends(stack or _stack(error)),
    )


def _held(error: StepError, attribute: str) -> str:
    """What a `StepError` says; nothing, where a subclass of the user's has not called `__init__`."""
    try:
        value = getattr(error, attribute)
    except Exception:  # noqa: BLE001 - of user code, and no reason to lose its run
        return ""
    return value if type(value) is str else ""


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - of user code, and no reason to lose its run
        return f"an error of {type(error).__qualname__}, which cannot be shown: its __str__ raises"


def _cut(text: str, most: int) -> str:
    """The beginning of a text that is too long to be kept beside a run, and how much is left out."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text) - most} characters more)"


def _ends(text: str) -> str:
    """Beginning and end of a traceback that is too long to be kept."""
    half = STACK_CHARACTERS // 2
    return text if len(text) <= STACK_CHARACTERS else f"{text[:half]}\n...\n{text[-half:]}"


def step_error(failure: Failure, *, step_id: str, attempts: int) -> StepError:
    """What the step call raises, on the first run as on every replay."""
    kind = StepInterruptedError if failure.name == StepInterruptedError.__name__ else StepError
    return kind(failure.name, failure.message, stack=failure.stack, step_id=step_id, attempts=attempts)


def decisive(error: BaseException) -> BaseException:
    """Of a group that escaped a handler (a TaskGroup's), the one that decides: the first that is final."""
    leaves = list(_leaves(error))
    return next((leaf for leaf in leaves if isinstance(leaf, StepError | NonRetriableError)), leaves[0])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """In their order, at any depth."""
    todo = [error]
    while todo:
        one = todo.pop()
        if isinstance(one, BaseExceptionGroup):
            todo += reversed(one.exceptions)
        else:
            yield one


def _stack(error: BaseException) -> str:
    """The traceback without our own frames."""
    try:
        return _formatted(error)
    except Exception as unshown:  # noqa: BLE001 - groups in groups without end, code of the error's own
        return f"the traceback cannot be shown: {type(unshown).__name__}"


def _formatted(error: BaseException) -> str:
    whole = traceback.TracebackException.from_exception(error)
    seen: set[int] = set()
    part: traceback.TracebackException | None = whole
    while part is not None and id(part) not in seen:
        seen.add(id(part))
        own = [frame for frame in part.stack if not frame.filename.startswith(_OWN)]
        part.stack = traceback.StackSummary.from_list(own)
        part = part.__cause__ or part.__context__
    return "".join(whole.format())
