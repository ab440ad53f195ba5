"""When the next attempt is: pure functions of names and errors."""

from __future__ import annotations

from datetime import datetime, timedelta

from stepbridge.core.durations import parse_duration
from stepbridge.core.ids import fraction
from stepbridge.core.limits import (
    RETRY_AFTER_MAX,
    RETRY_AFTER_MIN,
    RETRY_DELAYS_SECONDS,
    RETRY_JITTER_SECONDS,
)
from stepbridge.errors import ConfigError, NonRetriableError, RetryAfterError, StepError


def backoff(run_id: str, name: str, retry: int) -> timedelta:
    """The delay before retry number `retry` (from 0) of the step or body `name`, jitter included."""
    delay = RETRY_DELAYS_SECONDS[min(retry, len(RETRY_DELAYS_SECONDS) - 1)]
    jitter = fraction(run_id, name, str(retry)) * RETRY_JITTER_SECONDS
    return timedelta(seconds=delay, milliseconds=int(jitter * 1000))


def next_attempt_at(
    error: BaseException, *, run_id: str, name: str, attempts: int, max_attempts: int, now: datetime
) -> datetime | None:
    """When to try again after attempt number `attempts` (from 1) failed with `error`; None: never."""
    if attempts >= max_attempts or _is_final(error):
        return None
    if isinstance(error, RetryAfterError):
        return now + min(max(_wanted(error, now), RETRY_AFTER_MIN), RETRY_AFTER_MAX)
    return now + backoff(run_id, name, attempts - 1)


def sound(error: BaseException) -> BaseException:
    """The error itself; for a `RetryAfterError` whose delay is malformed, a `ConfigError` that says so.

    From here on an error can be asked for its kind, whatever code of its own that runs.
    """
    try:
        if not isinstance(error, RetryAfterError):
            return error
    except Exception as unseen:  # noqa: BLE001 - of user code, and no reason to lose its run
        name = type(error).__qualname__
        return RuntimeError(f"an error of {name}, which raises {type(unseen).__name__} where it is looked at")
    try:
        return _checked(error)
    except Exception as broken:  # noqa: BLE001 - a subclass of the user's that is no RetryAfterError but by name
        return ConfigError(
            f"{type(error).__name__} does not say when to retry: {type(broken).__name__}."
            " Mend: call super().__init__(message, retry_after) in it."
        )


def _checked(error: RetryAfterError) -> BaseException:
    after = error.retry_after
    if isinstance(after, datetime):
        if after.tzinfo is not None:
            return error
        return ConfigError(
            f"RetryAfterError({str(error)!r}): retry_after={after!r} has no time zone. Mend: an aware one."
        )
    try:
        parse_duration(after, what=f"retry_after of RetryAfterError({str(error)!r})")
    except ConfigError as malformed:
        return malformed
    return error


def _is_final(error: BaseException) -> bool:
    return isinstance(error, NonRetriableError | StepError | ConfigError)


def _wanted(error: RetryAfterError, now: datetime) -> timedelta:
    after = error.retry_after
    if isinstance(after, datetime):
        return after - now
    return parse_duration(after, what="retry_after")
