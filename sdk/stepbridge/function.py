"""`Function`: what `@app.function` makes of a handler; and the triggers that start it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Generic, Protocol, TypeVar, cast, overload, runtime_checkable

from stepbridge.core import codec
from stepbridge.core.durations import shown
from stepbridge.core.limits import EVENT_NAME_MAX, RETRIES_MAX
from stepbridge.core.matching import lookback_signature
from stepbridge.core.triggers import Canceller, CronTrigger, EventTrigger, InvokeTrigger, Limits, Pattern, Trigger
from stepbridge.errors import ConfigError
from stepbridge.events import DataT

T_co = TypeVar("T_co", covariant=True)
M = TypeVar("M")

APP_ID: Final = re.compile(r"[a-z0-9-]{1,32}")
"""What an app may be called."""
FAILURE_SUFFIX = "-failure"
"""Function ids that end so are reserved for `on_failure` handlers."""


class TypedTrigger(EventTrigger, Generic[DataT]):
    """An event trigger whose data is a `DataT`, as type checkers see it: the handler's context must say the same."""


@overload
def event(
    name: str, *, if_exp: str | None = ..., model: None = ..., source: str | None = ...
) -> TypedTrigger[dict[str, Any]]: ...
@overload
def event(name: str, *, if_exp: str | None = ..., model: type[M], source: str | None = ...) -> TypedTrigger[M]: ...
def event(
    name: str, *, if_exp: str | None = None, model: type[Any] | None = None, source: str | None = None
) -> TypedTrigger[Any]:
    """Starts the function for events of this name.

    Args:
        name: The event's name; may end in `*` after `/` or `.` (`app/*`, `app/user.*`).
        if_exp: CEL over `event`; only events for which it is true count. Needs `stepbridge[cel]`.
        model: A pydantic model that `ctx.event.data` becomes an instance of; an event that does not
            validate fails the run at once. The handler's context is then a `Context[TheModel]`.
        source: Only events of this EventBridge `Source`, `"aws.s3"` say.

    A malformed name or expression is a `ConfigError` of the function that is given the trigger.
    """
    problem = _event_problem(name, if_exp) or model_problem(model) or _source_problem(source)
    return TypedTrigger(name=name, if_exp=if_exp, model=model, source=source, problem=problem)


def _event_problem(name: object, if_exp: str | None) -> str:
    if type(name) is not str or not name or len(name) > EVENT_NAME_MAX or not name.isprintable():
        return f"event name {name!r}. Mend: 1 to {EVENT_NAME_MAX} printable characters."
    bare = name.removesuffix("*")
    if "*" in bare or (name.endswith("*") and not bare.endswith(("/", "."))):
        return f"event name {name!r}. Mend: a wildcard stands at the end, after '/' or '.': 'app/*' or 'app/user.*'."
    if if_exp is not None:
        try:
            from stepbridge.core.expression import compile_expression

            compile_expression(if_exp, variables=("event",))
        except ConfigError as error:
            return str(error)
    return ""


def model_problem(model: object) -> str:
    """What is wrong with the model of an event's data; nothing where it is fine, or there is none."""
    if model is None or hasattr(model, "model_validate"):
        return ""
    return f"model={shown(model)} is no pydantic model. Mend: class Order(BaseModel), and model=Order."


def _source_problem(source: object) -> str:
    if source is None or (isinstance(source, str) and source):
        return ""
    return f"source={shown(source)}. Mend: an EventBridge source such as 'aws.s3', or leave it out."


def cron(expression: str, *, timezone: str = "UTC") -> CronTrigger:
    """Starts the function at scheduled times.

    Args:
        expression: Five-field Unix cron: minute, hour, day of month, month, day of week.
        timezone: IANA name, `"Europe/Paris"` say.

    What is malformed, or what AWS cannot say, is a `ConfigError` of the function that is given the trigger.
    """
    from stepbridge.core.cron import parse_cron

    try:
        return CronTrigger(cron=parse_cron(expression, timezone))
    except ConfigError as error:
        return CronTrigger(cron=parse_cron("0 0 * * *"), problem=str(error))


def invoke_only() -> InvokeTrigger:
    """The function starts by `step.invoke` only."""
    return InvokeTrigger()


@runtime_checkable
class StandsIn(Protocol):
    """What becomes a context for the function that is called with it: `stepbridge.testing.context`."""

    def for_handler(self, function: Function[Any], /) -> object:
        """A context of the function's colour."""


@dataclass(frozen=True, kw_only=True)  # no slots: CPython 3.11 cannot make generic ones
class Function(Generic[T_co]):
    """A durable function: what `step.invoke(function=...)` takes. Calling it calls the handler."""

    id: str
    app_id: str
    name: str
    handler: Callable[..., Any]
    triggers: tuple[Trigger, ...]
    retries: int
    hint: object
    """By which the output is stored: the handler's return annotation or `output_type`."""
    on_failure: Function[Any] | None = None
    waits: tuple[Pattern, ...] = ()
    cancellers: tuple[Canceller, ...] = ()
    limits: Limits = field(default_factory=Limits)
    idempotency: str | None = None
    """Dotted path below `event` whose value stands for the event's id."""
    warned: set[Any] = field(default_factory=set, compare=False, repr=False)
    """Pairs of source lines that share a step id and have been told of."""

    def lookback_of(self, pattern: Pattern) -> timedelta | None:
        """How far back the function declared that such a wait may look; None: not at all."""
        signature = lookback_signature(pattern.match, pattern.if_exp)
        for declared in self.waits:
            same = declared.event == pattern.event
            if (
                same
                and isinstance(declared.lookback, timedelta)
                and lookback_signature(declared.match, declared.if_exp) == signature
            ):
                return declared.lookback
        return None

    @property
    def is_async(self) -> bool:
        """Whether the handler is `async def`."""
        return is_async(self.handler)

    @property
    def max_attempts(self) -> int:
        """Of the body, and of each step that does not say otherwise."""
        return self.retries + 1

    def __call__(self, ctx: Any) -> Any:
        """The handler itself, for plain unit tests with `stepbridge.testing.context`."""
        return self.handler(ctx.for_handler(self) if isinstance(ctx, StandsIn) else ctx)


def is_async(handler: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004 - of callable objects
    )


def check_handler(handler: Callable[..., Any], what: str) -> None:
    """Raises a `ConfigError` unless the handler takes exactly the context."""
    if not callable(handler):
        message = f"{what}: the handler is a {type(handler).__name__}, not a function. Mend: `async def handler(ctx):`."
        raise ConfigError(message)
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        message = f"{what}: the handler is a generator. Mend: `return` instead of `yield`."
        raise ConfigError(message)
    try:
        inspect.signature(handler).bind(object())
    except (TypeError, ValueError) as error:  # the latter of builtins, which do not say what they take
        message = f"{what}: the handler takes one argument, the context: {error}. Mend: `def handler(ctx):`."
        raise ConfigError(message) from error


def check_retries(retries: object, what: str) -> int:
    """`retries` as a whole number of 0 to 20, or a `ConfigError`."""
    if type(retries) is not int or not 0 <= retries <= RETRIES_MAX:
        message = f"{what}: retries={shown(retries)}. Mend: a whole number from 0 to {RETRIES_MAX}."
        raise ConfigError(message)
    return retries


def triggers_of(trigger: Trigger | Sequence[Trigger], what: str) -> tuple[Trigger, ...]:
    """One trigger or several, as a tuple; a `ConfigError` for anything else."""
    many = tuple(trigger) if isinstance(trigger, list | tuple) else (trigger,)
    for one in many:
        if not isinstance(one, EventTrigger | CronTrigger | InvokeTrigger):
            message = f"{what}: trigger={one!r}. Mend: use event(...), cron(...) or invoke_only()."
            raise ConfigError(message)
        if not isinstance(one, InvokeTrigger) and one.problem:
            raise ConfigError(f"{what}: {one.problem}")
    if not many:
        message = f"{what}: no trigger. Mend: use event(...), cron(...) or invoke_only()."
        raise ConfigError(message)
    return cast("tuple[Trigger, ...]", many)


def output_hint(handler: Callable[..., Any], output_type: object) -> object:
    """The hint by which the handler's output is stored."""
    return codec.return_hint(handler) if output_type is None else codec.usable_hint(output_type)
