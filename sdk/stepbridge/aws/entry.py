"""The Lambda entry: SQS messages in, those that must come back out.

How an invocation ends, in this order: every run of the batch has ended, suspended or handed over, and its
tasks and step threads with it; what bounced has been given the time of its return; the answer goes to
Lambda, whose event source mapping deletes all but the failures. Threads and loop are kept, idle, for the
next invocation: a frozen sandbox has nothing to go on with when it thaws.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, Protocol

from stepbridge.app import App
from stepbridge.aws.clients import Clients
from stepbridge.aws.observability import Observer, log_as_json
from stepbridge.aws.queue import message_of
from stepbridge.aws.settings import Settings
from stepbridge.aws.wiring import ports as ports_of
from stepbridge.engine.answers import Invocation
from stepbridge.engine.calls import Stubs, no_stubs
from stepbridge.engine.engine import Engine
from stepbridge.engine.store import Store
from stepbridge.engine.tracking import RunLoop
from stepbridge.engine.workers import Workers
from stepbridge.ports import Message, Ports

_LOG = logging.getLogger("stepbridge")
_SQS: Final = "aws:sqs"


class LambdaContext(Protocol):
    """What is asked of Lambda's context object."""

    @property
    def aws_request_id(self) -> str:
        """The invocation's id."""

    def get_remaining_time_in_millis(self) -> int:
        """What is left until the sandbox is killed."""


class Dispatcher:
    """One app's handler, kept for the process: its loop, its threads, and which signatures it has put.

    Args:
        app: Whose events and runs it handles.
        ports: The app's world.
        store: Of an earlier dispatcher in the same process; None: a new one, which knows no signature.
        stubs: What a test says of steps.
        observer: Is told when an invocation begins and ends; None: nobody is.
    """

    def __init__(
        self,
        app: App,
        ports: Ports,
        *,
        store: Store | None = None,
        stubs: Stubs = no_stubs,
        observer: Observer | None = None,
    ) -> None:
        self._app = app
        self._ports = ports
        self._store = store or Store(ports.table)
        self._stubs = stubs
        self._observer = observer
        self._undo: Callable[[], None] | None = None
        self._loop = RunLoop()
        self._workers = Workers(blocking=ports.blocking)

    @classmethod
    def of(cls, app: App, settings: Settings) -> Dispatcher:
        """The handler on AWS. Makes the one client that every invocation needs.

        While a sandbox starts it has a whole processor, which at 256 MB it never has again.
        """
        clients = Clients.of(settings)
        clients.dynamodb()
        observer = Observer(app.id)
        ports = ports_of(settings, clients, observer=observer)
        store = Store(ports.table, timedelta(days=settings.retention_days) // timedelta(seconds=1))
        made = cls(app, ports, store=store, observer=observer)
        made._undo = log_as_json(app.id, settings.log_level, observer)
        return made

    def __call__(self, event: Mapping[str, Any], context: LambdaContext) -> dict[str, list[dict[str, str]]]:
        """Handles a batch, its runs side by side.

        Returns:
            Lambda's partial batch response: the messages that must come back, and only those. When they
            come is set on the queue already.

        Raises:
            ValueError: The event is not one of SQS.
        """
        messages, strays = messages_of(event)
        for stray in strays:
            self._bury(stray)
        left = timedelta(milliseconds=context.get_remaining_time_in_millis())
        invocation = Invocation(id=context.aws_request_id, deadline=self._ports.clock.now() + left)
        engine = Engine(self._app, self._ports, self._workers, self._store, self._stubs)
        if self._observer is not None:
            self._observer.begin(messages, context.aws_request_id)
        try:
            bounced = self._loop.run_until_complete(engine.handle_all(messages, invocation=invocation))
        finally:
            if self._observer is not None:
                self._observer.end()
        return {"batchItemFailures": [{"itemIdentifier": message.id} for message in bounced]}

    def _bury(self, stray: object) -> None:
        reason = "a record that is not as SQS makes it"
        _LOG.error("%s goes to the dead-letter queue: %.300r", reason, stray)
        message = Message(id="", body=json.dumps(stray, default=repr), receipt="")
        self._ports.queue.bury(message, reason)

    def close(self) -> None:
        """Ends loop and threads, where the process goes on without them; AWS has no use for it."""
        if self._undo is not None:
            self._undo()
        self._workers.close()
        self._loop.close()


def messages_of(event: object) -> tuple[list[Message], list[object]]:
    """The messages of Lambda's event, and what stands among them and is none: it is not to hold them up.

    Raises:
        ValueError: It is of another service, or of none; says what was expected.
    """
    records = event.get("Records") if isinstance(event, Mapping) else None
    of_sqs = [record for record in records if _is_of_sqs(record)] if isinstance(records, list) else []
    if not of_sqs and records != []:
        raise ValueError(
            f"This function takes events of its SQS queue, not {event!s:.120}."
            " Mend: send events to the bus; the stack's event source mapping calls this function."
        )
    return [message_of(record) for record in of_sqs], [record for record in records or () if not _is_of_sqs(record)]


def _is_of_sqs(record: object) -> bool:
    """Whether it is such a record, with all that is needed of one."""
    return (
        isinstance(record, Mapping)
        and record.get("eventSource") == _SQS
        and all(isinstance(record.get(name), str) for name in ("messageId", "receiptHandle", "body"))
        and record["messageId"].isascii()
        and all(isinstance(record.get(name, {}), Mapping) for name in ("attributes", "messageAttributes"))
    )
