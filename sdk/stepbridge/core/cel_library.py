"""The CEL library: the only place that loads it, and the only one that knows its ways.

It has no type stubs, hence `Any`. Values go in and come out as plain Python; there are no unsigned
integers in Python, so those come out as ints.
"""

from __future__ import annotations

import importlib
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from stepbridge.errors import ConfigError

_SIGNS: Final = {f"_{sign}_": sign for sign in "+-*/%"}


class EvaluationError(Exception):
    """What CEL calls an error: `false &&` and `true ||` absorb it; left over, it is no match."""


@lru_cache(maxsize=1)
def library() -> Any:
    """The module `cel`, which has no types.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module("cel_expr_python.cel")
    except ImportError as error:
        raise ConfigError(
            'if_exp is written in CEL, which is not installed. Mend: pip install "stepbridge[cel]".'
        ) from error


@lru_cache(maxsize=8)
def environment(variables: tuple[str, ...]) -> Any:
    """Where expressions over these variables are compiled; types show only in evaluation."""
    cel = library()
    return cel.NewEnv(variables=dict.fromkeys(variables, cel.Type.DYN))


@lru_cache(maxsize=256)
def _program(text: str) -> Any:
    return environment(("x0", "x1", "x2", "x3")).compile(text)


def call(name: str, values: list[Any], *, method: bool) -> Any:
    """What a function, method or operator of CEL makes of `values`.

    Raises:
        EvaluationError: The library has no result: a wrong type, an overflow.
    """
    slots, plain = [], []
    for index, value in enumerate(values):
        slot, given = _slot(f"x{index}", value)
        slots.append(slot)
        plain.append(given)
    if name in _SIGNS:
        text = f"{slots[0]} {_SIGNS[name]} {slots[1]}"
    elif name == "-_":
        text = f"-{slots[0]}"
    elif method:
        text = f"{slots[0]}.{name}({', '.join(slots[1:])})"
    else:
        text = f"{name}({', '.join(slots)})"
    return run(text, tuple(plain))


def _slot(name: str, value: Any) -> tuple[str, Any]:
    """How an argument is written and what is bound: the binding takes plain values only."""
    match value:
        case str() if "\0" in value:
            raise EvaluationError  # the binding would cut it off there
        case datetime():
            return f"timestamp({name})", value.isoformat()
        case timedelta():
            return f"duration({name})", f"{value // timedelta(microseconds=1)}us"
        case list() | dict():
            return name, type(value)()  # what is left takes none of them but `type()`
        case _:
            return name, value


def run(text: str, values: tuple[Any, ...] = ()) -> Any:
    """The value of an expression over `x0`, `x1`...

    Raises:
        EvaluationError: It has none.
    """
    try:
        result = _program(text).eval(data={f"x{i}": value for i, value in enumerate(values)})
        if result.type() == library().Type.ERROR:
            raise EvaluationError
        plain = result.plain_value()
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise EvaluationError from error
    return bytes(plain) if isinstance(plain, bytearray) else plain
