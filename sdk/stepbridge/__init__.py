"""stepbridge: durable functions for Python on plain AWS."""

from stepbridge.app import App
from stepbridge.context import Context, ContextSync
from stepbridge.declare import Cancel, EventMatch, Timeouts
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
    "Cancel",
    "ConfigError",
    "Context",
    "ContextSync",
    "Event",
    "EventMatch",
    "Function",
    "NestedStepError",
    "NonRetriableError",
    "NondeterminismError",
    "RetryAfterError",
    "StepError",
    "StepInterruptedError",
    "Timeouts",
    "UnserializableOutputError",
    "cron",
    "current_step",
    "event",
    "invoke_only",
]
