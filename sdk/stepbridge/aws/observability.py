"""What the dispatcher tells: JSON lines by Powertools' formatter, and metrics as lines too (EMF).

Powertools is imported with the first line that is said, never at the start: 20 ms (median of 9, 2026-11).
Counts are read from the writes that the engine makes anyway, so it has no part in this. Dimensions are the
app and the function, which are few; ids belong in lines: a metric for each run costs $0.30 a month.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from stepbridge.aws.table import DynamoTable
from stepbridge.core.conditions import ALWAYS, Change, Condition, Item, Key, Updated
from stepbridge.core.instants import to_ms
from stepbridge.core.keys import HEAD_SK
from stepbridge.core.matching import is_scan
from stepbridge.core.messages import Go, work_of
from stepbridge.core.records import Mark, Status
from stepbridge.ports import Message
from stepbridge.step import CURRENT

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.client import DynamoDBClient

NAMESPACE: Final = "stepbridge"
PARKED: Final = "RunsParked"
"""Counted by app too: an alarm names every dimension of its metric, and one alarm is to watch all functions."""
_RUN: Final = "R#"
_WAIT: Final = "W#"
_ENDED: Final[Mapping[object, str]] = {
    Status.COMPLETED.value: "RunsCompleted",
    Status.FAILED.value: "RunsFailed",
    Status.CANCELLED.value: "RunsCancelled",
    Status.PARKED.value: PARKED,
}
_LATENESS: Final = "TimerLateness"
"""Milliseconds from a timer's due time to the run's claim."""
_VALUES_MAX: Final = 99
"""Of a metric in one line: at the hundredth Powertools prints by itself, and may have nothing left for the line."""


class Observer:
    """One app's ids and counts, from what its dispatcher receives and writes. Safe for threads.

    Args:
        app_id: Of the app.
        say: Where metrics go, a line each.
    """

    def __init__(self, app_id: str, say: Callable[[str], object] | None = None) -> None:
        self._app_id = app_id
        self._say = say or _print
        self.request_id = ""
        """Of the invocation under way."""
        self._lock = Lock()
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._lateness: defaultdict[str, list[int]] = defaultdict(list)
        self._due: dict[str, int] = {}
        self._ids: dict[str, dict[str, str]] = {}

    # -- what happens ------------------------------------------------------------------------------
    def begin(self, messages: Sequence[Message], request_id: str) -> None:
        """An invocation begins with these messages."""
        self.request_id = request_id
        for message in messages:
            if message.internal and '"due"' in message.body:
                with suppress(ValueError):  # of what is no message the engine tells
                    work = work_of(message.body)
                    if isinstance(work, Go) and work.due_at is not None:
                        self._due[work.run_id] = to_ms(work.due_at)

    def head_claimed(self, item: Item, now_ms: int) -> None:
        """A run was claimed; its head as it stands."""
        function_id, run_id = str(item["fn"]), str(item["pk"])[len(_RUN) :]
        event = json.loads(str(item["ev"]))
        ids = {"function_id": function_id, "message_id": str(item.get("ho", "")).rpartition(":")[2]}
        with self._lock:
            self._ids[run_id] = {**ids, "event_id": str(event[1])}
            if item.get("ep") == 1:
                self._counts[function_id]["RunsStarted"] += 1
            due_ms = self._due.pop(run_id, None)
            if due_ms is not None:
                self._lateness[function_id].append(max(now_ms - due_ms, 0))

    def claim_refused(self, item: Item) -> None:
        """Another invocation has the run: the message comes back."""
        if item.get("st") == Status.RUNNING.value:
            self._count(str(item["fn"]), "LeaseBounces")

    def head_ended(self, item: Item) -> None:
        """A run has ended, or is parked; its head as it stands."""
        self._count(str(item["fn"]), _ENDED[item["st"]])

    def scan_armed(self, run_id: str) -> None:
        """A wait without an equality stands in the index: every event of its name is held against it."""
        self._count(self._ids.get(run_id, {}).get("function_id", ""), "ScanWaits")

    def step_failed(self, run_id: str) -> None:
        """A step is to be tried again."""
        self._count(self._ids.get(run_id, {}).get("function_id", ""), "StepRetries")

    def _count(self, function_id: str, name: str) -> None:
        if function_id:  # a run that was cancelled before it began has none
            with self._lock:
                self._counts[function_id][name] += 1

    # -- what is told of it ------------------------------------------------------------------------
    def ids_of(self, run_id: str) -> Mapping[str, str]:
        """What lines of the run carry beside its id."""
        return self._ids.get(run_id, {})

    def end(self) -> None:
        """The invocation ends: says the counts, a line for each function, and forgets all."""
        with self._lock:
            counts, lateness = dict(self._counts), dict(self._lateness)
            self._counts.clear()
            self._lateness.clear()
            self._due.clear()
            self._ids.clear()
        for function_id in sorted({*counts, *lateness}):
            late = lateness.get(function_id, [])
            for at in range(0, len(late) or 1, _VALUES_MAX):
                told: Mapping[str, int] = {} if at else counts.get(function_id, {})
                self._say(_emf(self._app_id, function_id, told, late[at : at + _VALUES_MAX]))


class ObservedTable(DynamoTable):
    """A table that tells an observer of the writes to runs; adds no request."""

    def __init__(
        self, client: Callable[[], DynamoDBClient], name: str, observer: Observer, now: Callable[[], datetime]
    ) -> None:
        super().__init__(client, name)
        self._observer = observer
        self._now = now

    def put(self, item: Item, when: Condition = ALWAYS) -> Item | None:
        """As the table's."""
        standing = super().put(item, when)
        if standing is None and item.get("st") == Mark.RETRY.value and str(item["pk"]).startswith(_RUN):
            self._observer.step_failed(str(item["pk"])[len(_RUN) :])
        elif standing is None and str(item["pk"]).startswith(_WAIT) and is_scan(str(item["pk"])):
            self._observer.scan_armed(str(item["sk"]).partition("#")[0])
        return standing

    def update(self, key: Key, change: Change, when: Condition = ALWAYS) -> Updated:
        """As the table's."""
        answer = super().update(key, change, when)
        status = change.set.get("st")
        if key.sk == HEAD_SK and status is not None and answer.item is not None:
            if status == Status.RUNNING.value and answer.item.get("ho") == change.set["ho"]:
                self._observer.head_claimed(answer.item, to_ms(self._now()))
            elif status == Status.RUNNING.value:
                self._observer.claim_refused(answer.item)
            elif answer.ok and status in _ENDED:
                self._observer.head_ended(answer.item)
        return answer


# -- lines ---------------------------------------------------------------------------------------------
def log_as_json(app_id: str, level: str, observer: Observer) -> Callable[[], None]:
    """From now on the engine's lines and those of `ctx.logger` are JSON on standard output.

    Args:
        app_id: The lines' `service`.
        level: From which on.
        observer: Knows the ids of the runs under way.

    Returns:
        What puts things back as they were.
    """
    logger = logging.getLogger("stepbridge")
    before = logger.level, logger.propagate
    handler = _Lines(app_id, observer)
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False  # else the runtime's own handler says each line again

    def undo() -> None:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]

    return undo


class _Lines(logging.Handler):
    """Prints records as JSON; makes its formatter with the first."""

    def __init__(self, app_id: str, observer: Observer) -> None:
        super().__init__()
        self._app_id = app_id
        self._observer = observer

    def emit(self, record: logging.LogRecord) -> None:
        """Prints the line."""
        try:
            _print(self.format(record))
        except Exception:  # noqa: BLE001 - a line is not worth a run
            self.handleError(record)

    def format(self, record: logging.LogRecord) -> str:
        """The line, with all ids that are known."""
        if self.formatter is None:
            from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

            self.formatter = LambdaPowertoolsFormatter(service=self._app_id, utc=True, use_rfc3339=True)
        step = CURRENT.get()
        run_id = getattr(record, "run_id", None) or (step.run_id if step is not None else None)
        ids: dict[str, object] = {"function_request_id": self._observer.request_id}
        if run_id is not None:
            ids |= {**self._observer.ids_of(run_id), "run_id": run_id}
        if step is not None:
            ids |= {"step_id": step.step_id, "attempt": step.attempt}
        for name, value in ids.items():
            record.__dict__.setdefault(name, value)
        return super().format(record)


def _emf(app_id: str, function_id: str, counts: Mapping[str, int], lateness: Sequence[int]) -> str:
    """One line of CloudWatch's embedded metric format."""
    from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

    metrics = AmazonCloudWatchEMFProvider(metric_set={}, dimension_set={}, namespace=NAMESPACE, service="")
    metrics.add_dimension("app", app_id)
    metrics.add_dimension("function", _dimension(function_id))
    for name, count in counts.items():
        metrics.add_metric(name, "Count", count)
    for late in lateness:
        metrics.add_metric(_LATENESS, "Milliseconds", late)
    row: dict[str, Any] = {**metrics.serialize_metric_set()}
    if PARKED in counts:
        by_app = {"Namespace": NAMESPACE, "Dimensions": [["app"]], "Metrics": [{"Name": PARKED, "Unit": "Count"}]}
        row["_aws"]["CloudWatchMetrics"].append(by_app)
    return json.dumps(row, separators=(",", ":"))


def _dimension(function_id: str) -> str:
    """A function's id as CloudWatch takes it: 1 to 1024 printable ASCII characters, not a colon first.

    Source: CloudWatch API reference, Dimension, 2026-11.
    """
    text = ascii(function_id)[1:-1][:1000]
    return "_" + text if text.startswith(":") or not text.strip() else text


def _print(line: str) -> None:
    """Half a character, which an event may hold, is written as JSON escapes it."""
    sys.stdout.write(line.encode("utf-8", "backslashreplace").decode() + "\n")
    sys.stdout.flush()
