"""Spans, where the process has OpenTelemetry: one each time that a run goes on, one for each step carried out.

Its API is no dependency, and is never imported first: who has an exporter has imported it. Elsewhere nothing
here does anything. What runs and events carry is the W3C `traceparent`; so all invocations of a run are in
one trace, with what had sent its event. Attributes are ids; of an error there is only its name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from stepbridge.core.envelope import TRACE

_API: Final = "opentelemetry.trace"
_NAME: Final = "stepbridge"


def current() -> dict[str, str]:
    """The caller's own trace context, as events and runs carry it; empty where there is none."""
    if _API not in sys.modules:
        return {}
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return {TRACE: carrier[TRACE]} if TRACE in carrier else {}


def begun(what: str) -> dict[str, str]:
    """The context of a new trace, for a run whose event came without one; empty without OpenTelemetry."""
    with span(what, {}):
        return current()


def span(name: str, carried: Mapping[str, str], **ids: str | int) -> AbstractContextManager[Callable[[str], None]]:
    """A span below the carried context, current meanwhile; gives what notes that it failed, by the error's name."""
    return _made(name, carried, ids) if _API in sys.modules else _NONE


@contextmanager
def _made(name: str, carried: Mapping[str, str], ids: Mapping[str, str | int]) -> Iterator[Callable[[str], None]]:
    from opentelemetry import context, trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    above = TraceContextTextMapPropagator().extract(
        {TRACE: carried[TRACE]} if TRACE in carried else {}, context.Context()
    )
    with trace.get_tracer(_NAME).start_as_current_span(
        name,
        above,
        kind=trace.SpanKind.INTERNAL if "step_id" in ids else trace.SpanKind.CONSUMER,
        attributes={f"{_NAME}.{key}": value for key, value in ids.items()},
        record_exception=False,
        set_status_on_exception=False,
    ) as made:
        yield lambda error: made.set_status(trace.StatusCode.ERROR, error)


def _nothing(error: str) -> None:
    """Nobody listens."""


_NONE: Final = nullcontext(_nothing)
