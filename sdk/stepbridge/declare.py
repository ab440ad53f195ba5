"""What a function declares beside its trigger: awaited events, cancelling events, limits of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from stepbridge.core import codec
from stepbridge.core.durations import parse_duration, shown
from stepbridge.core.limits import RUN_MAX
from stepbridge.core.triggers import Canceller, Limits, Pattern
from stepbridge.errors import ConfigError, UnserializableOutputError
from stepbridge.events import name_problem

Duration = str | float | timedelta
_FIELDS = ("data", "id", "name", "source", "ts")


@dataclass(frozen=True, slots=True)
class EventMatch:
    """Events of a name that match.

    Args:
        event: The event's name.
        match: A path that must be equal in the trigger and in the candidate, or a dict of paths and values.
        if_exp: CEL over `event`, the trigger, and `async`, the candidate. Not with `match`.
        lookback: In a function's `waits=`: how far back an event counts that came before the wait.
    """

    event: str
    match: str | Mapping[str, object] | None = None
    if_exp: str | None = None
    lookback: Duration | bool | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Events that cancel a run of the function.

    Args:
        event: The event's name.
        match: As in `EventMatch`.
        if_exp: As in `EventMatch`.
        timeout: For how long after the run's start; as long as the run lasts where it is left out.
    """

    event: str
    match: str | Mapping[str, object] | None = None
    if_exp: str | None = None
    timeout: Duration | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of a run's time; a run that exceeds one fails with `RunTimeoutError`.

    Args:
        start: From the event to the first execution.
        finish: From the first execution to the end.
    """

    start: Duration | None = None
    finish: Duration | None = None


def check_path(path: object, what: str) -> str:
    """`path` as it is, or a `ConfigError`: a dotted path below an event, `data.orderId` say."""
    parts = path.split(".") if isinstance(path, str) else [""]
    if not isinstance(path, str) or parts[0] not in _FIELDS or not all(parts):
        message = f"{what}: {shown(path)} is no path of an event."
        message += f" Mend: 'data.orderId', or another of {', '.join(_FIELDS)}."
        raise ConfigError(message)
    return path


def pattern_of(
    event: str,
    match: str | Mapping[str, object] | None,
    if_exp: str | None,
    lookback: Duration | bool | None,  # noqa: FBT001 - True is a value here
    what: str,
) -> Pattern:
    """The checked pattern, or a `ConfigError`."""
    if problem := name_problem(event, system=True):
        raise ConfigError(f"{what}: {problem}")
    if match is not None and if_exp is not None:
        raise ConfigError(f"{what}: match and if_exp are exclusive. Mend: say it all in if_exp.")
    if match is not None and not isinstance(match, str | Mapping):
        raise ConfigError(f"{what}: match={shown(match)}. Mend: a path, or a dict of paths and values.")
    for path in [match] if isinstance(match, str) else match or ():
        check_path(path, what)
    if isinstance(match, Mapping):
        match = _terms(match, what)
    if if_exp is not None:
        try:
            from stepbridge.core.expression import compile_expression

            compile_expression(if_exp, variables=("event", "async"))
        except ConfigError as error:
            raise ConfigError(f"{what}: {error}") from error
    back: timedelta | bool | None = None
    if lookback is not None and lookback is not False:
        back = True if lookback is True else parse_duration(lookback, what=f"lookback of {what}", maximum=RUN_MAX)
    return Pattern(event=event, match=match, if_exp=if_exp, lookback=back)


def _terms(match: Mapping[str, object], what: str) -> dict[str, object]:
    """The paths and values as they are now; a `ConfigError` where no event could have such a value."""
    try:
        codec.encode(dict(match), codec.PLAIN, what="match")
    except UnserializableOutputError as error:
        found = str(error).partition(". Mend:")[0].replace(" returned ", " has ", 1)
        raise ConfigError(
            f"{what}: {found}. Mend: compare with text, numbers, booleans, None, lists and dicts"
            " (a UUID as str(...), a datetime as its isoformat())."
        ) from error
    return dict(match)


def waits_of(waits: object, what: str) -> tuple[Pattern, ...]:
    """A function's `waits=`, checked; `lookback=True` there means as long as a run may last."""
    patterns = []
    for one in waits if isinstance(waits, list | tuple) else [waits]:
        if not isinstance(one, EventMatch) or one is waits:
            raise ConfigError(f"{what}: waits={shown(one)}. Mend: [EventMatch(event, match=..., lookback=...)].")
        lookback = RUN_MAX if one.lookback is True else one.lookback
        patterns.append(pattern_of(one.event, one.match, one.if_exp, lookback, f"waits of {what}"))
    return tuple(patterns)


def cancellers_of(cancel: object, what: str) -> tuple[Canceller, ...]:
    """A function's `cancel=`, checked."""
    cancellers = []
    for one in cancel if isinstance(cancel, list | tuple) else [cancel]:
        if not isinstance(one, Cancel) or one is cancel:
            raise ConfigError(f"{what}: cancel={shown(one)}. Mend: [Cancel(event, match=...)].")
        pattern = pattern_of(one.event, one.match, one.if_exp, None, f"cancel of {what}")
        span = None if one.timeout is None else parse_duration(one.timeout, what=f"timeout of cancel of {what}")
        cancellers.append(Canceller(pattern=pattern, timeout=span))
    return tuple(cancellers)


def limits_of(timeouts: Any, what: str) -> Limits:
    """A function's `timeouts=`, checked."""
    if timeouts is None:
        return Limits()
    if not isinstance(timeouts, Timeouts):
        raise ConfigError(f"{what}: timeouts={timeouts!r}. Mend: Timeouts(start=..., finish=...).")

    def span(value: Duration | None, name: str) -> timedelta | None:
        return None if value is None else parse_duration(value, what=f"{name} of timeouts of {what}", maximum=RUN_MAX)

    return Limits(start=span(timeouts.start, "start"), finish=span(timeouts.finish, "finish"))


def idempotency_of(path: object, what: str) -> str | None:
    """A function's `idempotency=` as a path below the event, or a `ConfigError`."""
    if path is None:
        return None
    if not isinstance(path, str) or not path.startswith("event."):
        raise ConfigError(f"{what}: idempotency={shown(path)}. Mend: a path like 'event.data.orderId'.")
    return check_path(path.removeprefix("event."), f"idempotency of {what}")
