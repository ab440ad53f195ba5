"""Every number of the engine: unit, reason, and source with date where AWS sets it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

FORMAT_VERSION: Final = 1
"""Of the record format. Histories of every released version replay for ever."""

# -- time ------------------------------------------------------------------------------------------
RUN_MAX: Final = timedelta(days=366)
"""How long a run, a sleep or a wait may last."""
RETENTION: Final = timedelta(days=30)
"""How long records stay after a run's end; so long an event id never starts a second run."""
LEASE_MARGIN: Final = timedelta(seconds=2)
"""A lease outlives its invocation's deadline by this; covers clock skew between NTP-synced hosts."""
INVOCATION: Final = timedelta(seconds=120)
"""Default time of one invocation: short, so that a crash is noticed soon; long runs hand over."""
HAND_OVER_MARGIN: Final = timedelta(seconds=10)
"""No step begins with less than this left; the run goes on in the next invocation."""
HAND_OVER_GRACE: Final = timedelta(seconds=4)
"""Of that margin, what running async steps may use before they are cut off to run again."""
CALL_LONGEST: Final = timedelta(seconds=30)
"""What an AWS call may take with all its attempts and pauses, when the service ails."""
QUEUE_DELAY_MAX: Final = timedelta(seconds=900)
"""SQS `DelaySeconds`, per message. Source: SQS quotas, 2026-11."""
TIMEOUT_DELAY_MAX: Final = timedelta(seconds=120)
"""Timeouts up to here use the queue; longer ones a schedule, because a schedule can be deleted."""
SCHEDULE_GRAIN: Final = timedelta(seconds=60)
"""Scheduler fires `at()` within the minute that follows. Source: Scheduler user guide, 2026."""
VISIBILITY_MARGIN: Final = timedelta(seconds=30)
"""From an invocation's deadline to its messages' return: past the lease. AWS advises six times the timeout,
against throttling; here a message that comes back early bounces off the lease, and a crash is noticed sooner."""
MESSAGE_RETENTION: Final = timedelta(days=14)
"""All that SQS allows: two weeks to mend what is broken. Source: SQS quotas, 2026-11."""
BOUNCE_MAX: Final = timedelta(seconds=60)
"""Longest pause before a message that met a held lease comes back; the pauses double from 1 s."""

# -- retries ---------------------------------------------------------------------------------------
RETRIES_DEFAULT: Final = 4
RETRIES_MAX: Final = 20
RETRY_DELAYS_SECONDS: Final = (15, 30, 60, 120, 300, 600, 1200, 2400, 3600, 7200)
"""Delay before retry n; the last one repeats."""
RETRY_JITTER_SECONDS: Final = 30
"""Added to each delay: 0 to this, a hash of run, step and attempt."""
RETRY_AFTER_MIN: Final = timedelta(seconds=1)
RETRY_AFTER_MAX: Final = timedelta(hours=24)
CRASH_LIMIT: Final = 5
"""Claims in a row that ended without a record or an orderly release, before a run is parked."""
SUSPECT_AT_RECEIVE: Final = 3
"""A message received so often may be what kills its sandbox: of a batch's such messages only one is handled."""
RESEND_AT_RECEIVE: Final = 50
"""A message received so often is sent anew, so that no live wake reaches the DLQ."""
MAX_RECEIVES: Final = 100
"""Of the queue's redrive policy. High, because bounces count as receives."""

# -- sizes -----------------------------------------------------------------------------------------
HEAD_VALUE_BYTES: Final = 360
"""A trigger's data or an output above this leaves the head, which stays under 1 KB: one write unit."""
COMPRESS_BYTES: Final = 1024
"""Values above this are compressed when that saves space."""
INLINE_BYTES: Final = 8 * 1024
"""Values above this after compression go to S3: $5.63/M there equals 9 write units (2026-08)."""
ARMED_INLINE: Final = 4
"""Waits and children listed in the head itself; more of them go to pages beside it."""
ARMED_PAGE_BYTES: Final = 256 * 1024
"""Of such a page; one above 400 KB would be no item."""
SEEN_INLINE: Final = 16
"""Outside results listed in the head itself; more of them go to a register of their own."""
FAILURE_CHARACTERS: Final = 4_096
"""Of an error's message that are kept: an item has 400 KB at most, and the head is read at every wake."""
NAME_CHARACTERS: Final = 256
"""Of an error's name that are kept: classes can be made with names of any length."""
STACK_CHARACTERS: Final = 16_384
"""Of a traceback that are kept: its beginning and its end."""
SYSTEM_EVENT_BYTES: Final = 900_000
"""Of a system event; what would be larger is told without its result or its trigger's data."""
EVENT_NAME_MAX: Final = 128
"""Characters of EventBridge's `DetailType`. Source: PutEvents API, 2026-11."""
EVENT_TS_MAX_MS: Final = 32_503_680_000_000
"""The year 3000: a later time than any that an event means, and one that dates can still be added to."""
EVENT_ID_MAX: Final = 256
"""Characters of an event's id; a longer one counts as its hash. Ids stand in the records of every run they start."""
OCCURRENCES_MAX: Final = 1_000_000
"""Of one step id in a run, as another app may name them."""
STEP_ID_MAX: Final = 1_024
"""Characters of a step's id, which stands in its record: ids made of an event's data must not outgrow an item."""
FUNCTION_ID_MAX: Final = 1_024
"""Bytes of a function's id, which is part of a key of the run list; DynamoDB's have 2,048 at most (2026-11)."""
DEPTH_MAX: Final = 200
"""Levels of lists and objects in an event: far below what parsers take, so that what was read can be written."""
INT_BITS_MAX: Final = 14_284
"""Of an integer: 4,300 digits, the most that Python reads and writes by default (`int_max_str_digits`, 2026-11)."""
CONSUMED_MAX: Final = 5_000
"""Events that a wait names as used already, the latest: at 52 bytes each they fit into an item of 400 KB."""
ITEMS_MAX: Final = 100_000
"""Items of a map, and events sent at once: an iterable that gives more may have no end."""
EVENT_BYTES_MAX: Final = 1024 * 1024
"""Of one PutEvents request, so of one event. Source: EventBridge quotas, 2026-01."""
EVENTS_PER_CALL: Final = 10
"""Entries of one PutEvents call. Source: EventBridge API (Classic), 2026-11."""
MESSAGES_PER_CALL: Final = 10
"""Entries of one SendMessageBatch call. Source: SQS API, 2026-11."""

SCAN_SHARDS: Final = 16
"""Partitions of the waits for an event name that have no equality term; each event reads all of them."""

# -- fan-out ---------------------------------------------------------------------------------------
MAP_SHARD: Final = 100
"""Items that one partition joins: its join item stays under 1 KB, and no key takes 1,000 writes a second."""
INVOCATIONS_MAX: Final = 100_000
"""Of one run, before it is parked: the guard that Lambda's own loop detection would be. `App` may raise it."""
IDLE_HAND_OVERS_MAX: Final = 3
"""Invocations in a row that recorded nothing before their time was up: the handler's own wait never ends."""
CANCEL_CHECK_SECONDS: Final = 1.0
"""A long invocation looks so often whether another one has ended its run."""

# -- work in one invocation ------------------------------------------------------------------------
PORT_THREADS: Final = 104
"""Threads for AWS calls, with as many pooled connections: a hundred parallel steps are written in one round."""
BODY_THREADS: Final = 32
"""Threads for the sync functions of steps."""
BRANCH_THREADS: Final = 16
"""Threads of one `ctx.group.parallel` in a sync handler."""
