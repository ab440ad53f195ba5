"""CEL's tree, evaluated under the semantics promised for `if_exp`.

The library's own evaluator rejects absent fields, nulls and big integers where the contract
promises otherwise, so logic, comparison, access and macros are done here; what is left (arithmetic,
`matches`, conversions, time) is the library's, one call at a time.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, assert_never

from stepbridge.core.cel_ast import (
    ACCUMULATOR,
    Call,
    Const,
    Fold,
    Has,
    Ident,
    ListOf,
    MapOf,
    Node,
    Select,
    reads,
)
from stepbridge.core.cel_library import EvaluationError, call, run
from stepbridge.core.json_values import MISSING
from stepbridge.core.regex_cost import size_of

MAX_STEPS: Final = 2_000_000
"""Nodes visited in one evaluation, about two seconds: a macro over a 1 MB event fits in."""
CALL_STEPS: Final = 10
"""What a call into the library counts as; it takes as long as visiting so many nodes."""
BYTES_PER_STEP: Final = 100
"""Text handled in the time of one step."""
BYTES_PER_NEW_STEP: Final = 10
"""Text put together for one step: 20 MB in all, since what is made takes memory as well as time."""
REGEX_UNITS_PER_STEP: Final = 40
"""Characters times instructions that RE2 handles at worst in the time of one step (measured 2026-11)."""


class ExhaustedError(Exception):
    """The evaluation took more than `MAX_STEPS`; nothing absorbs it."""


class _Failed(Enum):
    FAILED = "what a macro gathered so far is an error, which a later item may absorb"


_Scope = Mapping[str, object]

_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "_<_": operator.lt,
    "_<=_": operator.le,
    "_>_": operator.gt,
    "_>=_": operator.ge,
}
_ORDERED: Final = (bool, int, float, str, bytes, datetime, timedelta)
_TEXT: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "contains": operator.contains,
    "startsWith": str.startswith,
    "endsWith": str.endswith,
}


@dataclass(slots=True)
class Evaluator:
    """One evaluation, with what is left of its steps."""

    candidate: str
    """Absent fields of this variable equal any null, those of another only the literal."""
    left: int = MAX_STEPS

    def value(self, node: Node, scope: _Scope) -> Any:
        """The value of `node`.

        Raises:
            EvaluationError: It has none: an absent field, a wrong type, an overflow.
            ExhaustedError: It takes too long.
        """
        found = self.operand(node, scope)
        if found is MISSING:
            raise EvaluationError
        return found

    def operand(self, node: Node, scope: _Scope) -> Any:
        """As `value`, but `MISSING` for a field (`a.b`, `a["b"]`, `a[0]`) that is not there."""
        self._spend(1)
        match node:
            case Const(value):
                return value
            case Ident(name):
                return _named(name, scope)
            case Select(of, field):
                return self._at(self.operand(of, scope), field)
            case Call("_[_]", (of, key), _):
                return self._at(self.operand(of, scope), self.value(key, scope))
            case Has(of, field):
                return field in _need(dict, self.value(of, scope))
            case ListOf(items):
                return [self.value(item, scope) for item in items]
            case MapOf(entries):
                return {_need((str, int), self.value(key, scope)): self.value(value, scope) for key, value in entries}
            case Fold():
                return self._fold(node, scope)
            case Call():
                return self._call(node, scope)
            case _:
                assert_never(node)

    def _same(self, a: object, b: object) -> bool:
        """Equality: numbers by value, nothing coerced, lists and maps deep, to any depth."""
        self._spend(1)
        todo = [(a, b)]
        while todo:
            a, b = todo.pop()
            if isinstance(a, list | dict) and isinstance(b, list | dict) and len(a) == len(b):
                self._spend(len(a))  # before they are looked at: two that differ may do so in the last place only
            if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
                todo += zip(a, b, strict=True)
            elif isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
                todo += ((value, b[key]) for key, value in a.items())
            elif not _same_scalar(a, b):
                return False
        return True

    def _call(self, node: Call, scope: _Scope) -> Any:
        name, args = node.name, node.args
        match name, args:
            case "_&&_", _:
                return self._logic(args, scope, decisive=False)
            case "_||_", _:
                return self._logic(args, scope, decisive=True)
            case "!_", (of,):
                return not _need(bool, self.value(of, scope))
            case "_?_:_", (condition, yes, no):
                return self.value(yes if _need(bool, self.value(condition, scope)) else no, scope)
            case "_==_", (a, b):
                return self._equal(a, b, scope)
            case "_!=_", (a, b):
                return not self._equal(a, b, scope)
            case "@not_strictly_false", (of,):
                return self._holds_so_far(of, scope)
            case "_+_", (Ident(accumulator), ListOf((item,))) if accumulator == ACCUMULATOR:
                gathered: list[Any] = self.value(args[0], scope)
                gathered.append(self.value(item, scope))  # in place: a new list each is quadratic
                return gathered
        return self._apply(name, [self.value(arg, scope) for arg in args], method=node.method)

    def _apply(self, name: str, values: list[Any], *, method: bool) -> Any:
        match name, values:
            case "@in", [item, list() as items]:
                return any(self._same(item, other) for other in items)
            case "@in", [key, dict() as entries]:
                return self._at(entries, key) is not MISSING
            case "size", [str() | bytes() | list() | dict() as sized]:
                return len(sized)
            case "dyn", [same]:
                return same
            case "_+_", [list() as a, list() as b]:
                self._spend(len(a) + len(b))
                return a + b
            case "_+_", [str() as a, str() as b]:
                self._spend((len(a) + len(b)) // BYTES_PER_NEW_STEP)
                return a + b
            case (("contains" | "startsWith" | "endsWith"), [str() as text, str() as part]):
                self._spend((len(text) + len(part)) // BYTES_PER_STEP)
                return _TEXT[name](text, part)
            case (("_<_" | "_<=_" | "_>_" | "_>=_"), [a, b]):
                return _ORDER[name](*_comparable(a, b))
            case "matches", [str() as text, str() as pattern]:
                self._spend(len(pattern))
                size = size_of(pattern)
                self._spend(size + len(text) * size // REGEX_UNITS_PER_STEP)
        self._spend(CALL_STEPS + sum(len(v) // BYTES_PER_STEP for v in values if isinstance(v, str)))
        return call(name, values, method=method)

    def _logic(self, args: tuple[Node, ...], scope: _Scope, *, decisive: bool) -> bool:
        """`&&` and `||`: the decisive value wins on either side, over errors too."""
        failed = False
        for arg in args:
            try:
                value: object = self.value(arg, scope)
            except EvaluationError:
                failed = True
                continue
            if value is decisive:
                return decisive
            failed |= not isinstance(value, bool)
        if failed:
            raise EvaluationError
        return not decisive

    def _equal(self, left: Node, right: Node, scope: _Scope) -> bool:
        a, b = self.operand(left, scope), self.operand(right, scope)
        if a is MISSING:
            return b is None and self._absence_is_null(left, right)
        if b is MISSING:
            return a is None and self._absence_is_null(right, left)
        return self._same(a, b)

    def _absence_is_null(self, absent: Node, null: Node) -> bool:
        return null == Const(None) or any(True for _ in reads(absent, self.candidate))

    def _holds_so_far(self, node: Node, scope: _Scope) -> bool:
        try:
            return self.value(node, scope) is not False
        except EvaluationError:
            return True

    def _fold(self, fold: Fold, scope: _Scope) -> Any:
        over = _need((list, dict), self.value(fold.over, scope))
        inner = {**scope, ACCUMULATOR: self.value(fold.start, scope)}
        for item in over:
            inner[fold.item] = item
            if not self.value(fold.going, inner):
                break
            try:
                inner[ACCUMULATOR] = self.value(fold.step, inner)
            except EvaluationError:
                inner[ACCUMULATOR] = _Failed.FAILED
        return self.value(fold.result, inner)

    def _at(self, of: object, key: object) -> Any:
        if isinstance(of, dict):
            if isinstance(key, str):
                return of.get(key, MISSING)
            return next((value for name, value in of.items() if self._same(key, name)), MISSING)
        if isinstance(of, list) and isinstance(key, int | float) and not isinstance(key, bool):
            return of[int(key)] if 0 <= key < len(of) and key == int(key) else MISSING
        return MISSING

    def _spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise ExhaustedError


def _named(name: str, scope: _Scope) -> object:
    found = scope.get(name, MISSING)
    if found is MISSING:
        return run(name)
    if found is _Failed.FAILED:
        raise EvaluationError
    return found


def _same_scalar(a: object, b: object) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b
    return type(a) is type(b) and not isinstance(a, list | dict) and bool(a == b)


def _need(kind: type | tuple[type, ...], value: Any) -> Any:
    if not isinstance(value, kind):
        raise EvaluationError
    return value


def _comparable(a: Any, b: Any) -> tuple[Any, Any]:
    kinds = {type(a), type(b)}
    if kinds == {int, float} or (len(kinds) == 1 and isinstance(a, _ORDERED)):
        return a, b
    raise EvaluationError
