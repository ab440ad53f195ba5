"""The stack's own numbers: unit, reason, and source with date where AWS sets it. The engine's: `core.limits`."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from stepbridge.core.limits import HAND_OVER_MARGIN, QUEUE_DELAY_MAX

# -- dispatcher ------------------------------------------------------------------------------------
MEMORY_MB: Final = 256
"""A seventh of a processor, enough for what mostly waits for AWS; 100 ms of it cost half a step's write."""
TIMEOUT_MIN: Final = 3 * HAND_OVER_MARGIN
"""Below it most of an invocation would be the margin in which no step begins."""
TIMEOUT_MAX: Final = timedelta(seconds=900)
"""Source: Lambda quotas, 2026-11."""
BATCH_SIZE: Final = 1
"""A message an invocation: a run has it whole, and one that crashes its sandbox takes no other with it."""
BATCH_MAX: Final = 10
"""Above it Lambda waits for a batch to fill. Source: Lambda guide, "Using Lambda with SQS", 2026."""
CONCURRENCY_MIN: Final = 2
CONCURRENCY_MAX: Final = 1000
"""Of an event source mapping's maximum. Source: Lambda API, 2026-11."""
LOG_DAYS: Final = 30
"""As long as the records of a run that has ended."""

# -- bus -------------------------------------------------------------------------------------------
PATTERN_MAX: Final = 2048
"""Characters of a rule's pattern. Source: EventBridge quotas, 2026-10."""

# -- alarms ----------------------------------------------------------------------------------------
ALARM_PERIOD: Final = timedelta(minutes=1)
OLDEST_MESSAGE: Final = QUEUE_DELAY_MAX
"""Messages may be that old by design, as delayed ones; to it comes one visibility timeout."""
OLDEST_PERIODS: Final = 5
"""Minutes in a row, so that one late message wakes nobody."""
THROTTLE_PERIODS: Final = 3
"""Minutes in a row: throttling for less is what retries are for."""

# -- asset -----------------------------------------------------------------------------------------
ASSET_BYTES_BUDGET: Final = 20_000_000
"""Of the example's asset unzipped, without CEL, which adds 54 MB: cold starts load it. 11.2 MB in 2026-11."""
MODULES_BUDGET: Final = 600
"""Modules that a cold start imports before its first message: what it waits for, and nearly the same on every
machine, which milliseconds are not. 481 in 2026-11."""
ASSET_BYTES_MAX: Final = 262_144_000
"""Unzipped. Source: Lambda quotas, 2026-11."""
