"""CEL's tree, decoded from the bytes that the library serialises it to.

The binding shows its tree only as `Expression.serialize()`: protobuf `cel.expr.CheckedExpr` inside
an `Any`. Generated classes would bring protobuf along for a dozen fields, so the wire format is
read here. Numbers in the patterns are field numbers. Source: google/cel-spec `syntax.proto` and
`checked.proto`, 2026-11.

Everything that `decode` returns can be evaluated; what cannot be is refused there, at import.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

MAX_DEPTH: Final = 100
"""Levels of a tree: bounds our recursion. The parser itself stops at 32, which macros expand."""
MAX_FOLD_DEPTH: Final = 2
"""Macros inside macros: each level multiplies the work by the length of a list in the event."""
ACCUMULATOR: Final = "@result"
"""What macros gather their result in; no source text can name it."""


@dataclass(frozen=True, slots=True)
class Const:
    """A literal."""

    value: bool | int | float | str | bytes | None


@dataclass(frozen=True, slots=True)
class Ident:
    """A variable, or a name that CEL brings along: `string`, `google.protobuf.Timestamp`."""

    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`of.field`."""

    of: Node
    field: str


@dataclass(frozen=True, slots=True)
class Has:
    """`has(of.field)`."""

    of: Node
    field: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator; a method's target is its first argument."""

    name: str
    args: tuple[Node, ...]
    method: bool = False


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[items]`."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MapOf:
    """`{key: value}`."""

    entries: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True, slots=True)
class Fold:
    """A macro (`all`, `exists`, `map`…): steps over a range while a condition holds."""

    over: Node
    item: str
    start: Node
    going: Node
    step: Node
    result: Node


Node = Const | Ident | Select | Has | Call | ListOf | MapOf | Fold


def decode(serialized: bytes) -> Node:
    """The tree of a checked expression.

    Raises:
        ValueError: It holds what is not evaluated here, or is nested too deeply.
    """
    match _fields(serialized):
        case {2: [checked]}:
            return _node(_fields(checked)[4][0], MAX_DEPTH, MAX_FOLD_DEPTH)
    raise ValueError("the CEL library's serialised form is not the one known (cel-expr-python 0.1)")


def _below(node: Node) -> tuple[Node, ...]:
    """The nodes directly below one that `chain` stops at."""
    match node:
        case Call(_, nodes, _) | ListOf(nodes):
            return nodes
        case MapOf(entries):
            return tuple(node for entry in entries for node in entry)
        case Fold(over, _, start, going, step, result):
            return (over, start, going, step, result)
        case _:
            return ()


def chain(node: Node) -> tuple[Node, tuple[str | int, ...]]:
    """What a static path such as `async.data["items"][0]` starts from, and its keys."""
    keys: list[str | int] = []
    while True:
        match node:
            case Select(of, key):
                pass
            case Call("_[_]", (of, Const(str() | int() as key))) if not isinstance(key, bool):
                pass
            case _:
                return node, tuple(reversed(keys))
        keys.append(key)
        node = of


def reads(node: Node, variable: str) -> Iterator[tuple[str | int, ...]]:
    """The paths at which `node` reads the variable; `()` is the whole of it."""
    base, keys = chain(Select(node.of, node.field) if isinstance(node, Has) else node)
    if base == Ident(variable):
        yield keys
    for child in _below(base):
        yield from reads(child, variable)


def _node(data: bytes, depth: int, folds: int) -> Node:
    if depth == 0:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")

    def node(data: bytes) -> Node:
        return _node(data, depth - 1, folds)

    match _fields(data):
        case {3: [const]}:
            return Const(_constant(const))
        case {4: [ident]}:
            return Ident(_text(_fields(ident)[1]).removeprefix("."))
        case {5: [select]}:
            wire = _fields(select)
            form = Has if wire.get(3) else Select
            return form(node(wire[1][0]), _text(wire[2]))
        case {6: [call]}:
            wire = _fields(call)
            args = wire.get(1, []) + wire.get(3, [])
            return Call(_text(wire[2]), tuple(node(arg) for arg in args), method=1 in wire)
        case {7: [items]}:
            return ListOf(tuple(node(item) for item in _fields(items).get(1, [])))
        case {8: [entries]}:
            return _map(_fields(entries), depth, folds)
        case {9: [fold]}:
            return _fold(_fields(fold), depth, folds)
    raise ValueError("it holds a form that is not supported")


def _map(wire: dict[int, list[Any]], depth: int, folds: int) -> MapOf:
    if 1 in wire:
        raise ValueError(f"messages such as {_text(wire[1])} are not supported")
    entries = (_fields(entry) for entry in wire.get(2, []))
    return MapOf(
        tuple((_node(entry[3][0], depth - 1, folds), _node(entry[4][0], depth - 1, folds)) for entry in entries)
    )


def _fold(wire: dict[int, list[Any]], depth: int, folds: int) -> Fold:
    if folds == 0:
        raise ValueError(f"macros are nested deeper than {MAX_FOLD_DEPTH} levels")
    over = _node(wire[2][0], depth - 1, folds)  # runs once: a chain of macros is no nesting
    start, going, step, result = (_node(wire[field][0], depth - 1, folds - 1) for field in (4, 5, 6, 7))
    return Fold(over, _text(wire[1]), start, going, step, result)


def _constant(data: bytes) -> bool | int | float | str | bytes | None:
    match _fields(data):
        case {1: _}:
            return None
        case {2: [flag]}:
            return bool(flag)
        case {3: [int(number)]}:
            return number - (1 << 64) if number >> 63 else number
        case {4: [int(number)]}:
            return number
        case {5: [bytes(double)]}:
            return float(struct.unpack("<d", double)[0])
        case {6: text}:
            return _text(text)
        case {7: [bytes(raw)]}:
            return raw
    raise ValueError("it holds a literal that is not supported")


def _text(values: list[Any]) -> str:
    return bytes(values[0]).decode()


def _fields(data: bytes) -> dict[int, list[Any]]:
    """A protobuf message: per field number its values, ints for varints, else bytes."""
    found: dict[int, list[Any]] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value: int | bytes
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
            case kind:
                size, at = _varint(data, at) if kind == 2 else (8 if kind == 1 else 4, at)  # noqa: PLR2004
                value, at = data[at : at + size], at + size
        found.setdefault(tag >> 3, []).append(value)
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:  # noqa: PLR2004
            return value, at
