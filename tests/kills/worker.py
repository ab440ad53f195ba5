"""A dispatcher process: the Lambda entry, fed from the queue as Lambda's poller feeds it, until it is killed.

`python -m tests.kills.worker` is the warm parent. It obeys lines on its input and answers each with one line:

    keep 4      has four dispatchers live, forking what is missing; answers how many ended by themselves
    kill 2 7    kills two of them with SIGKILL, the choice being seeded with 7; answers how many lived until then
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from stepbridge.core import ids, limits

limits.HAND_OVER_MARGIN = timedelta(seconds=1)  # type: ignore[misc]  # invocations are short here: a kill holds for less
limits.HAND_OVER_GRACE = timedelta(seconds=0.5)  # type: ignore[misc]

import stepbridge.aws  # noqa: E402 - after the limits
from stepbridge.aws.clients import Clients  # noqa: E402
from stepbridge.aws.settings import Settings  # noqa: E402
from stepbridge.local.moto_queue import lambda_record  # noqa: E402
from tests.kills.orders import BATCH, app  # noqa: E402

INVOCATION_SECONDS: Final = 4.0
_PAUSE: Final = 0.2
"""Between two looks at an empty queue."""


@dataclass(frozen=True)
class Invoked:
    """Lambda's context."""

    aws_request_id: str
    ends_at: float

    def get_remaining_time_in_millis(self) -> int:
        """What is left."""
        return int((self.ends_at - time.monotonic()) * 1000)


def dispatch() -> None:
    """Receives, handles, deletes, for ever. At an invocation's deadline the process ends, as Lambda ends it."""
    handler = stepbridge.aws.dispatcher(app)
    settings = Settings.from_environment()
    sqs = Clients.of(settings).sqs()
    number = 0
    while True:
        answer = sqs.receive_message(
            QueueUrl=settings.queue_url,
            MaxNumberOfMessages=BATCH,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = answer.get("Messages", [])
        if not messages:
            time.sleep(_PAUSE)
            continue
        number += 1
        signal.setitimer(signal.ITIMER_REAL, INVOCATION_SECONDS)  # by default the alarm kills
        context = Invoked(f"{os.getpid()}-{number}", time.monotonic() + INVOCATION_SECONDS)
        event = {"Records": [lambda_record(message, settings.queue_arn) for message in messages]}
        failed = {one["itemIdentifier"] for one in handler(event, context)["batchItemFailures"]}
        signal.setitimer(signal.ITIMER_REAL, 0)
        for message in messages:
            if message["MessageId"] not in failed:
                sqs.delete_message(QueueUrl=settings.queue_url, ReceiptHandle=message["ReceiptHandle"])


class Parent:
    """The dispatchers that live. They are waited for here only, so no process id is ever another's."""

    def __init__(self) -> None:
        self._live: list[int] = []

    def keep(self, number: int) -> int:
        """Has so many live; how many ended by themselves since."""
        ended = [child for child in self._live if os.waitpid(child, os.WNOHANG)[0]]
        self._live = [child for child in self._live if child not in ended]
        while len(self._live) < number:
            self._live.append(_fork())
        return len(ended)

    def kill(self, number: int, seed: int) -> int:
        """Kills so many; how many of them were alive until then."""
        chosen = sorted(self._live, key=lambda child: ids.digest(str(seed), str(child)))[:number]
        for child in chosen:
            os.kill(child, signal.SIGKILL)
        self._live = [child for child in self._live if child not in chosen]
        return sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL for child in chosen)


def _fork() -> int:
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)  # its log; the answers are the parent's
        dispatch()
    return child


def main() -> None:
    """Obeys until its input ends, and takes its dispatchers with it."""
    parent = Parent()
    try:
        for line in sys.stdin:
            word, *numbers = line.split()
            print(getattr(parent, word)(*map(int, numbers)), flush=True)
    finally:
        parent.kill(1_000, 0)


if __name__ == "__main__":
    main()
