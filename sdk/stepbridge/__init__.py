"""stepbridge: durable functions for Python on plain AWS."""

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from stepbridge.client import AsyncClient, Client

__all__ = [
    "App",
    "AsyncClient",
    "Cancel",
    "Client",
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


def __getattr__(name: str) -> Any:
    """The clients are loaded at their first use: a function's cold start does without them."""
    if name in {"AsyncClient", "Client"}:
        from stepbridge import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
