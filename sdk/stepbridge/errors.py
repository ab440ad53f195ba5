"""Every error of the package, sorted by who must act.

Exception
├── ConfigError                  the developer: a declaration, a setting or an argument is wrong
├── NonRetriableError            raised by user code: no further attempt
├── RetryAfterError              raised by user code: the next attempt after this delay
├── StepError                    a step failed for good; catch it, or let the run fail
│   └── StepInterruptedError     a step with `on_interrupt="raise"` was cut off by a crash
├── NestedStepError              a step inside a step; fails the run, cannot be swallowed
├── UnserializableOutputError    a value that JSON cannot carry; fails the run
├── NondeterminismError          code no longer fits the recorded history; parks the run
├── LostValueError               the operator: a value at rest is gone or is another one; parks the run
└── EncryptionError              the operator: a key is missing or another one, or a record was moved or altered
    ├── UnreadableError          the same, of what a write has just given back
    └── AlteredError             a `LostValueError` too: no key opens it any more
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

__all__ = [
    "AlteredError",
    "ConfigError",
    "EncryptionError",
    "LostValueError",
    "NestedStepError",
    "NonRetriableError",
    "NondeterminismError",
    "RetryAfterError",
    "StepError",
    "StepInterruptedError",
    "UnreadableError",
    "UnserializableOutputError",
]


class ConfigError(Exception):
    """A declaration, a setting or an argument is wrong; the message names it and the mend."""


class NonRetriableError(Exception):
    """Raise it in a step or a handler to stop further attempts.

    In a step: the step fails for good and its call raises `StepError`. Outside steps: the run fails.
    """


class RetryAfterError(Exception):
    """Raise it in a step or a handler to choose the delay before the next attempt.

    Args:
        message: What went wrong.
        retry_after: `"30s"`, a `timedelta`, milliseconds, or an aware `datetime`. The delay is exact,
            without jitter, and kept between 1 second and 24 hours. The attempt still counts.
    """

    def __init__(self, message: str, retry_after: str | float | timedelta | datetime) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class StepError(Exception):
    """A step failed for good: the same object, field by field, on the first run and on every replay.

    Attributes:
        name: Class name of the original error, `"ValueError"` say.
        message: Its message.
        stack: Its traceback as text, frames of this package left out.
        step_id: The step that failed.
        attempts: How many attempts were made.
    """

    def __init__(self, name: str, message: str, *, stack: str = "", step_id: str = "", attempts: int = 1) -> None:
        super().__init__(f"{name}: {message}" if message else name)
        self.name = name
        self.message = message
        self.stack = stack
        self.step_id = step_id
        self.attempts = attempts


class StepInterruptedError(StepError):
    """A step with `on_interrupt="raise"` began and a crash hid how it ended; it is not repeated."""


class NestedStepError(Exception):
    """A step was called inside the function of another step; the run fails at once."""


class UnserializableOutputError(Exception):
    """A value cannot be stored as JSON; the message names the step, the path and the mend."""


class NondeterminismError(Exception):
    """Replayed code does not fit the recorded history; the run is parked until the code is mended."""


class LostValueError(Exception):
    """A value at rest is gone, or is not what was written; the message names it. Once it is back, resume the run."""


class EncryptionError(Exception):
    """A record at rest cannot be opened or sealed; the message names the mend. The message that needs it comes back."""


class UnreadableError(EncryptionError):
    """A write took effect, and what stands now cannot be opened.

    Args:
        reason: Why.
        item: What stands, as it is.
    """

    def __init__(self, reason: str, item: Mapping[str, str | int | bytes]) -> None:
        super().__init__(reason)
        self.item = item


class AlteredError(EncryptionError, LostValueError):
    """A sealed value was altered, or moved from where it was sealed; the message names where it stands."""
