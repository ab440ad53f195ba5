"""stepbridge: durable functions for Python on plain AWS."""

from stepbridge.app import App
from stepbridge.context import Context, ContextSync
from stepbridge.errors import (
    ConfigError,
    NestedStepError,
    NondeterminismError,
    NonRetriableError,
    RetryAfterError,
    StepError,
    StepInterruptedError,
    UnserializableOutputError,
)
from stepbridge.events import Event
from stepbridge.function import Function, cron, event, invoke_only
from stepbridge.step import current_step

__all__ = [
    "App",
    "ConfigError",
    "Context",
    "ContextSync",
    "Event",
    "Function",
    "NestedStepError",
    "NonRetriableError",
    "NondeterminismError",
    "RetryAfterError",
    "StepError",
    "StepInterruptedError",
    "UnserializableOutputError",
    "cron",
    "current_step",
    "event",
    "invoke_only",
]
