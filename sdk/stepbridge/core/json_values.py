"""JSON values: what stands at a path, and text that equal values share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "a field that is not there"


MISSING: Final = Missing.MISSING
_INDEX: Final = re.compile("[0-9]{1,9}")


def value_at(event: Mapping[str, object], path: str) -> object:
    """What stands at a dotted path, `MISSING` where nothing does; digits index a list."""
    found: object = event
    for key in path.split("."):
        if isinstance(found, Mapping):
            found = found.get(key, MISSING)
        elif isinstance(found, list) and _INDEX.fullmatch(key):
            found = found[int(key)] if int(key) < len(found) else MISSING
        else:
            return MISSING
    return found


def prune(event: Mapping[str, object], paths: Iterable[str]) -> dict[str, object]:
    """What of `event` stands at or around `paths`; who reads only these sees no difference."""
    below: dict[str, list[str]] = {}
    for path in paths:
        if not path:
            return dict(event)
        key, _, rest = path.partition(".")
        below.setdefault(key, []).append(rest)
    return {key: _pruned(event[key], rests) for key, rests in below.items() if key in event}


def _pruned(value: object, paths: list[str]) -> object:
    return prune(value, paths) if isinstance(value, Mapping) else value


def canonical(value: object) -> str:
    """Text that two JSON values share exactly when they are equal.

    Numbers count by value, nothing is coerced: `1` is `1.0`, not `true`, not `"1"`. `MISSING` is
    written as null is: the index may over-match, and expressions tell the two apart. Any depth of
    nesting and any size of number will do.

    Raises:
        TypeError: It is not a JSON value.
    """
    done: list[str] = []
    todo: list[tuple[str, object]] = [("", value)]
    while todo:
        before, item = todo.pop()
        done.append(before)
        match item:
            case list() | tuple():
                todo.append(("]", _END))
                todo.extend((",", inner) for inner in reversed(item))
                done.append("[")
            case Mapping():
                keyed = {_scalar(key): inner for key, inner in item.items()}
                todo.append(("}", _END))
                todo.extend((f",{key}:", keyed[key]) for key in sorted(keyed, reverse=True))
                done.append("{")
            case _ if item is not _END:
                done.append(_scalar(item))
    return "".join(done)


_END: Final = object()


def _scalar(value: object) -> str:
    match value:
        case None | Missing():
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if not value.is_integer():
            return f"n{value!r}"  # exact: no other float or int has this value
        case int() | float():
            return f"n{int(value):x}"  # in hex, which unlike decimal has no limit of digits
        case str():
            return json.dumps(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")
