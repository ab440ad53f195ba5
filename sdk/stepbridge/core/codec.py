"""Values as JSON text and back. What a step returns is what its text says, on the first run as on replay.

A return annotation that JSON cannot carry by itself (a model, a dataclass, a datetime, a tuple…) is handed
to pydantic, which is loaded only then. Without one the value must be plain JSON.
"""

from __future__ import annotations

import functools
import inspect
import json
import types
import typing
import zlib
from collections.abc import Callable
from typing import Any, Final

from stepbridge.core.limits import COMPRESS_BYTES, INT_BITS_MAX
from stepbridge.errors import UnserializableOutputError

PLAIN: Final = object()
"""The hint of a value that is plain JSON."""

_PLAIN_LEAVES: Final = (str, int, float, bool, None, type(None), dict, list, Any, object)


_JSON_CLASSES: Final[dict[object, tuple[type, ...]]] = {
    str: (str,),
    int: (int,),
    float: (float, int),
    bool: (bool,),
    dict: (dict,),
    list: (list, tuple),
}
"""Annotations that are plain JSON by themselves, and what they promise."""

_COMPACT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)

_READ: Final = json.JSONDecoder().decode
"""`json.loads`, its look at what it is given left out."""


def usable_hint(hint: object) -> object:
    """`PLAIN` when the annotation says no more than JSON does, else the annotation itself."""
    return PLAIN if _is_plain(hint) and not (isinstance(hint, type) and hint in _JSON_CLASSES) else hint


def _is_plain(hint: object) -> bool:
    if isinstance(hint, typing.TypeVar):
        return True
    origin = typing.get_origin(hint)
    if origin is None:
        return hint is PLAIN or any(hint is leaf for leaf in _PLAIN_LEAVES)
    arguments = typing.get_args(hint)
    if origin is dict:
        return arguments[0] in (str, Any) and _is_plain(arguments[1])
    if origin in {list, typing.Union, types.UnionType}:
        return all(_is_plain(argument) for argument in arguments)
    return False


def return_hint(fn: Callable[..., object]) -> object:
    """The hint by which a function's results are stored: its return annotation, or `PLAIN`."""
    target = getattr(fn, "__func__", fn)
    return _return_hint(target) if isinstance(target, types.FunctionType) else PLAIN


@functools.lru_cache(maxsize=1024)
def _return_hint(target: types.FunctionType) -> object:
    if "return" not in target.__annotations__:
        return PLAIN
    try:
        hints = typing.get_type_hints(inspect.unwrap(target), include_extras=True)
    except (NameError, TypeError, AttributeError):
        return PLAIN
    return usable_hint(hints.get("return", PLAIN))


@functools.lru_cache(maxsize=1024)
def _adapter(hint: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(hint)


def encode(value: object, hint: object, *, what: str) -> str:
    """`value` as compact JSON text.

    Raises:
        UnserializableOutputError: It cannot be stored; names `what`, the path in the value and the mend.
    """
    try:
        return _encoded(value, hint, what)
    except UnserializableOutputError:
        raise
    except RecursionError:
        message = f"{what} returned a value that is nested too deeply, or holds itself. Mend: return a flat one."
        raise UnserializableOutputError(message) from None
    except Exception as error:  # whatever code of the value's own raises while it is looked at
        message = f"{what} returned a value that cannot be looked at: {type(error).__name__}. Mend: return plain JSON."
        raise UnserializableOutputError(message) from error


def _encoded(value: object, hint: object, what: str) -> str:
    promised = _JSON_CLASSES.get(hint) if isinstance(hint, type) else None
    if promised is not None and not isinstance(value, promised):
        message = (
            f"{what} returned a {type(value).__name__} that does not fit its annotation {_show(hint)}."
            " Mend: return what the annotation says, or give the step with_options(output_type=...)."
        )
        raise UnserializableOutputError(message)
    if hint is PLAIN or promised is not None:
        _check_plain(value, what, "$")
        return dump(value)
    try:
        if not _is_instance(value, hint):
            raise TypeError(f"it is no {_show(hint)}")  # noqa: TRY301 - one mend for all that does not fit
        text: str = _adapter(hint).dump_json(value, warnings="error").decode()
        _adapter(hint).validate_json(text)
    except Exception as error:
        message = (
            f"{what} returned a {type(value).__name__} that does not fit its annotation {_show(hint)}"
            f" as JSON: {_first_line(error)}. Mend: return what the annotation says, or give the step"
            " with_options(output_type=...)."
        )
        raise UnserializableOutputError(message) from error
    return text


def _is_instance(value: object, hint: object) -> bool:
    """False where the hint is a class of which the value is none; kinds of types that cannot say are let through."""
    try:
        return not isinstance(hint, type) or isinstance(value, hint)
    except TypeError:  # a TypedDict, a protocol
        return True


def decode(text: str, hint: object) -> Any:
    """The value that `text` holds, typed by `hint`."""
    if hint is PLAIN or (isinstance(hint, type) and hint in _JSON_CLASSES):
        return _READ(text)
    return _adapter(hint).validate_json(text)


def misfit(error: Exception) -> str:
    """What does not fit its type, and where; nothing of the value, since this may be logged."""
    errors = getattr(error, "errors", None)
    if not callable(errors):
        return type(error).__name__
    found = errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, one['loc'])) or '$'}: {one['msg']}" for one in found)


def dump(value: object) -> str:
    """Plain JSON as compact text; text that UTF-8 cannot carry is escaped."""
    text = _COMPACT.encode(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text


def _check_plain(value: object, what: str, path: str) -> None:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return
    if kind is int or kind is float:
        _check_number(typing.cast("float", value), what, path)
    elif kind is dict:
        for key, item in typing.cast("dict[object, object]", value).items():
            if type(key) is not str:
                message = (
                    f"{what} returned a dict with the key {key!r} at {path}; JSON has string keys only."
                    " Mend: use str keys, or annotate the function's return type."
                )
                raise UnserializableOutputError(message)
            _check_plain(item, what, f"{path}.{key}")
    elif kind is list or kind is tuple:
        for index, item in enumerate(typing.cast("list[object]", value)):
            _check_plain(item, what, f"{path}[{index}]")
    else:
        mend = "annotate the function's return type, or use with_options(output_type=...)"
        raise UnserializableOutputError(
            f"{what} returned a {kind.__module__}.{kind.__qualname__} at {path}, which plain JSON cannot carry."
            f" Mend: {'await it' if inspect.isawaitable(value) else mend}."
        )


def _check_number(value: float, what: str, path: str) -> None:
    if isinstance(value, int) and value.bit_length() > INT_BITS_MAX:
        message = f"{what} returned an integer of 4,300 digits or more at {path}. Mend: return it as text."
        raise UnserializableOutputError(message)
    if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN
        message = f"{what} returned {value!r} at {path}, which JSON cannot carry. Mend: return None or a string."
        raise UnserializableOutputError(message)


def _show(hint: object) -> str:
    return getattr(hint, "__name__", None) or str(hint)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


# -- size ------------------------------------------------------------------------------------------
def squeeze(text: str) -> str | bytes:
    """`text`, or the same compressed where that is worth it."""
    if len(text) <= COMPRESS_BYTES:
        return text
    data = text.encode()
    packed = zlib.compress(data, 6)
    return packed if len(packed) < len(data) * 3 // 4 else text


def unsqueeze(stored: str | bytes) -> str:
    """The text that `squeeze` was given."""
    return stored if isinstance(stored, str) else zlib.decompress(stored).decode()


def size_of(stored: str | bytes) -> int:
    """Bytes that it takes in the table."""
    return len(stored) if isinstance(stored, bytes) else len(stored.encode())
