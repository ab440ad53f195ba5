"""`App`: a set of functions that is deployed together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, overload

from typing_extensions import TypeVar

from stepbridge.context import Context, ContextSync
from stepbridge.core.durations import shown
from stepbridge.core.limits import FUNCTION_ID_MAX, INVOCATIONS_MAX
from stepbridge.core.triggers import CronTrigger, InvokeTrigger, Trigger
from stepbridge.declare import Cancel, EventMatch, Timeouts, cancellers_of, idempotency_of, limits_of, waits_of
from stepbridge.errors import ConfigError
from stepbridge.events import text_problem
from stepbridge.function import (
    APP_ID,
    FAILURE_SUFFIX,
    Function,
    TypedTrigger,
    check_handler,
    check_retries,
    output_hint,
    triggers_of,
)

T = TypeVar("T")
D = TypeVar("D", default=Any)


class Decorator(Protocol[D]):
    """What `App.function` returns: it makes a `Function` of a handler of either colour, for data of type `D`."""

    @overload
    def __call__(self, handler: Callable[[Context[D]], Awaitable[T]], /) -> Function[T]: ...
    @overload
    def __call__(self, handler: Callable[[ContextSync[D]], T], /) -> Function[T]: ...


class App:
    """Holds the functions of one deployment.

    Args:
        app_id: 1 to 32 of `a-z`, `0-9` and `-`. Run ids are made of it: another id, other runs.
        publish_finished: Send `stepbridge/function.finished` for every run that ends.
        max_invocations: A run that has taken so many is parked, as one that would never end: hand-overs and
            wakes alike. There is no other limit of hops. With a larger number, a `resume` lets it go on.

    Raises:
        ConfigError: The id is malformed, or the number is.
    """

    def __init__(self, app_id: str, *, publish_finished: bool = False, max_invocations: int = INVOCATIONS_MAX) -> None:
        if type(app_id) is not str or not APP_ID.fullmatch(app_id):
            message = f"app id {app_id!r}. Mend: 1 to 32 of a-z, 0-9 and '-'."
            raise ConfigError(message)
        if type(max_invocations) is not int or max_invocations < 1:
            message = f"app {app_id!r}: max_invocations={max_invocations!r}. Mend: a whole number from 1."
            raise ConfigError(message)
        self.id = app_id
        self.publish_finished = publish_finished
        self.max_invocations = max_invocations
        self.functions: dict[str, Function[Any]] = {}

    def function(  # noqa: PLR0913 - a declaration's keywords
        self,
        function_id: str,
        *,
        trigger: TypedTrigger[D] | CronTrigger | InvokeTrigger | Sequence[Trigger],
        retries: int = 4,
        on_failure: Callable[..., Any] | None = None,
        waits: Sequence[EventMatch] = (),
        cancel: Sequence[Cancel] = (),
        timeouts: Timeouts | None = None,
        idempotency: str | None = None,
        name: str | None = None,
        output_type: Any = None,
    ) -> Decorator[D]:
        """Declares a durable function; use it as a decorator.

        Args:
            function_id: Names the function for ever; any characters.
            trigger: One trigger or several. An event starts the function at most once.
            retries: Of the body and of each step, separately: 0 to 20.
            on_failure: A handler of its own run, `<function_id>-failure`, once a run has failed.
            waits: Awaited events, declared ahead: what makes `lookback` possible, and narrows the bus rule.
            cancel: Events that cancel a run.
            timeouts: How long a run may wait for its start, and last.
            idempotency: A path of the trigger, `"event.data.orderId"`: events that are equal there start one run.
            name: For people; the id where it is left out.
            output_type: By which the output is stored, instead of the return annotation.

        Raises:
            ConfigError: The declaration is wrong; names the function and the mend.
        """
        what = f"function {function_id!r} of app {self.id!r}"
        if type(function_id) is not str or not function_id:
            message = f"{what}. Mend: an id is a string that is not empty."
            raise ConfigError(message)
        if (problem := text_problem(function_id, FUNCTION_ID_MAX)) or len(function_id.encode()) > FUNCTION_ID_MAX:
            message = f"function {function_id[:40]!r}... of app {self.id!r}: the id"
            message += f" {problem or f'has more than {FUNCTION_ID_MAX} bytes. Mend: a shorter one.'}"
            raise ConfigError(message)
        if not isinstance(name, str | None):
            raise ConfigError(f"{what}: name={shown(name)}. Mend: a string, for people; or leave it out.")
        if function_id.endswith(FAILURE_SUFFIX):
            message = f"{what}: ids that end in {FAILURE_SUFFIX!r} are reserved for on_failure handlers."
            raise ConfigError(message)
        if function_id in self.functions:
            message = f"{what} is declared twice. Mend: give one of them another id."
            raise ConfigError(message)
        triggers = triggers_of(trigger, what)
        check_retries(retries, what)
        declared: dict[str, Any] = {
            "waits": waits_of(waits, what),
            "cancellers": cancellers_of(cancel, what),
            "limits": limits_of(timeouts, what),
            "idempotency": idempotency_of(idempotency, what),
        }

        def decorate(handler: Callable[..., Any]) -> Function[Any]:
            check_handler(handler, what)
            failure: Function[Any] | None = None
            if on_failure is not None:
                check_handler(on_failure, f"on_failure of {what}")
                failure = Function(
                    id=function_id + FAILURE_SUFFIX,
                    app_id=self.id,
                    name=f"{name or function_id} (failure)",
                    handler=on_failure,
                    triggers=(InvokeTrigger(),),
                    retries=0,
                    hint=output_hint(on_failure, None),
                )
            made: Function[Any] = Function(
                id=function_id,
                app_id=self.id,
                name=name or function_id,
                handler=handler,
                triggers=triggers,
                retries=retries,
                hint=output_hint(handler, output_type),
                on_failure=failure,
                **declared,
            )
            self.functions[function_id] = made
            if failure is not None:
                self.functions[failure.id] = failure
            return made

        return decorate
