"""`if_exp`: CEL over `event` (the trigger) and `async` (the candidate), and its index terms.

Numbers compare by value, nothing is coerced. A field that the candidate lacks: `== x` is false,
`!= x` true, `== null` true, anything else an error. A field that the trigger lacks: the same, but
it equals only a literal `null`. Two absent fields are never equal. `&&` and `||` absorb errors as
CEL says; an error that is left, or a result that is not a bool, is no match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product, takewhile
from typing import Any, Final

from stepbridge.core.cel_ast import Call, Ident, Node, chain, decode, reads
from stepbridge.core.cel_eval import Evaluator, ExhaustedError
from stepbridge.core.cel_library import EvaluationError, environment
from stepbridge.core.json_values import MISSING, canonical, prune, value_at
from stepbridge.errors import ConfigError

__all__ = [
    "MAX_ARMS",
    "MAX_CHARACTERS",
    "MISSING",
    "Arm",
    "Expression",
    "JsonScalar",
    "canonical",
    "compile_expression",
    "prune",
    "value_at",
]

MAX_CHARACTERS: Final = 4096
"""Of an expression: it is stored with every wait."""
MAX_ARMS: Final = 32
"""Index items of one wait: each is a write to arm it and one to remove it."""
CACHED: Final = 512
"""Compiled expressions kept, some 10 KB each; an app that builds none from data has fewer."""

_REASON: Final = re.compile(r"(?:[A-Z_]+: )*(?:<input>:(?:-1:-1|([0-9]+):([0-9]+)): )?(.*?)(?: \[[A-Z_]+\])?")
JsonScalar = str | int | float | bool | None
_Alternative = dict[str, JsonScalar]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way for the expression to be true: the candidate has these values at these paths."""

    paths: tuple[str, ...]
    """Dotted paths below `async`, sorted: `"data.orderId"`."""
    values: tuple[JsonScalar, ...]
    """One for each path. Null also stands for an absent field."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression. Get one from `compile_expression`."""

    text: str
    variables: tuple[str, ...]
    tree: Node
    event_paths: tuple[str, ...]
    """Dotted paths of `event` that it reads; `("",)` is all of it. See `prune`."""

    def evaluate(self, values: Mapping[str, Mapping[str, object]]) -> bool:
        """Whether it is true of `{"event": {...}, "async": {...}}`; whatever they hold."""
        try:
            return self._evaluator().value(self.tree, _scope(values)) is True
        except (EvaluationError, ExhaustedError):
            return False

    def arms(self, event: Mapping[str, object]) -> tuple[Arm, ...] | None:
        """The equalities that any match must fulfil at least one set of, given the trigger.

        Returns:
            The arms; `()` where nothing can ever match; None where no equality is required of the
            candidate, so that every candidate must be looked at.
        """
        try:
            found = _Terms(self._evaluator(), _scope({"event": event})).of(self.tree)
        except ExhaustedError:
            return None
        if found is None:
            return None
        distinct = {canonical(terms): dict(sorted(terms.items())) for terms in found}
        return tuple(Arm(tuple(terms), tuple(terms.values())) for terms in distinct.values())

    def _evaluator(self) -> Evaluator:
        return Evaluator(candidate=self.variables[-1])


def compile_expression(text: str, *, variables: tuple[str, ...]) -> Expression:
    """Check and cache an expression over `("event",)` or `("event", "async")`.

    Raises:
        ConfigError: It is not valid CEL, too long or too deep, names an unknown variable or
            function, or the CEL library is not installed. The message has position and mend.
    """
    if type(text) is not str or not text.strip():
        raise ConfigError(f"if_exp is {text!r}. Mend: give it a CEL expression, or leave it out.")
    if len(text) > MAX_CHARACTERS:
        raise ConfigError(
            f"if_exp {text[:40]!r}... has {len(text)} characters, {MAX_CHARACTERS} are allowed."
            " Mend: compute what it compares beforehand, in a step."
        )
    return _compile(text, variables)


@lru_cache(maxsize=CACHED)
def _compile(text: str, variables: tuple[str, ...]) -> Expression:
    env = environment(variables)
    try:
        text.encode()  # the binding's own message over lone surrogates says nothing
        tree = decode(env.compile(text).serialize())
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(_explained(text, variables, error)) from error
    return Expression(text, variables, tree, _outermost(map(_stored, reads(tree, "event"))))


def _explained(text: str, variables: tuple[str, ...], error: Exception) -> str:
    found = _REASON.fullmatch(str(error).splitlines()[0])
    line, column, reason = found.groups() if found else (None, None, str(error))
    where = f" at line {line}, column {column}" if line else ""
    unknown = re.match(r"undeclared reference to ('.*?')", reason)
    allowed = " and ".join(variables)
    if unknown:
        reason = f"{unknown[1]} is neither a variable ({allowed}) nor a function of CEL"
    return f"if_exp {text!r} is not valid{where}: {reason}. Mend: CEL over {allowed}."


# -- index terms -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Terms:
    """What makes a node true: one of these alternatives; None: any candidate may."""

    evaluator: Evaluator
    scope: Mapping[str, object]

    def of(self, node: Node) -> list[_Alternative] | None:
        if not _mentions_candidate(node):
            return None if self._is_true(node) else []
        match node:
            case Call("_&&_", args):
                return _both(*(self.of(arg) for arg in args))
            case Call("_||_", args):
                return _either(*(self.of(arg) for arg in args))
            case Call("_==_", (left, right)):
                field, other = (left, right) if _mentions_candidate(left) else (right, left)
                return self._among(field, other, listed=False)
            case Call("@in", (field, other)):
                return self._among(field, other, listed=True)
        return None

    def _is_true(self, node: Node) -> bool:
        try:
            return self.evaluator.value(node, self.scope) is True
        except EvaluationError:
            return False

    def _among(self, field: Node, other: Node, *, listed: bool) -> list[_Alternative] | None:
        """The field equals the other side, or one of the values in it."""
        base, keys = chain(field)
        if base != Ident("async") or not _is_indexable(keys) or _mentions_candidate(other):
            return None
        try:
            found = self.evaluator.operand(other, self.scope)
        except EvaluationError:
            return []
        if listed:
            values = list(found) if isinstance(found, list | dict) else []
        else:
            values = [] if found is MISSING else [found]
        # On an object `[0]` is absent, hence equal to null, while `value_at` sees the key "0".
        numbered = any(isinstance(key, int) or key.isdigit() for key in keys)
        if not all(isinstance(value, JsonScalar) and not (numbered and value is None) for value in values):
            return None
        path = ".".join(map(str, keys))
        return [{path: value} for value in values] if len(values) <= MAX_ARMS else None


def _mentions_candidate(node: Node) -> bool:
    return any(True for _ in reads(node, "async"))


def _is_indexable(keys: tuple[str | int, ...]) -> bool:
    return bool(keys) and all(isinstance(key, int) or _is_plain(key) for key in keys)


def _is_plain(key: str) -> bool:
    """Whether the key can stand in a dotted path."""
    return bool(key) and "." not in key


def _both(*parts: list[_Alternative] | None) -> list[_Alternative] | None:
    """All parts hold. What would exceed the cap is left out: fewer terms match more, never less."""
    known = sorted((part for part in parts if part is not None), key=len)
    if not known:
        return None
    found: list[_Alternative] = [{}]
    for part in known:
        if len(found) * len(part) <= MAX_ARMS:
            found = [a | b for a, b in product(found, part) if _agree(a, b)]
    return found


def _agree(a: _Alternative, b: _Alternative) -> bool:
    return all(canonical(a[path]) == canonical(b[path]) for path in a.keys() & b.keys())


def _either(*parts: list[_Alternative] | None) -> list[_Alternative] | None:
    found: list[_Alternative] = []
    for part in parts:
        if part is None or len(found) + len(part) > MAX_ARMS:
            return None
        found += part
    return found


def _stored(keys: tuple[str | int, ...]) -> str:
    """The longest path that `prune` can cut at."""
    plain = takewhile(lambda key: isinstance(key, str) and _is_plain(key), keys)
    return ".".join(map(str, plain))


def _outermost(paths: Iterable[str]) -> tuple[str, ...]:
    found = set(paths)
    if "" in found:
        return ("",)
    return tuple(sorted(path for path in found if not any(path.startswith(f"{other}.") for other in found)))


def _scope(values: Mapping[str, Mapping[str, object]]) -> dict[str, Any]:
    return {name: dict(value) for name, value in values.items()}
