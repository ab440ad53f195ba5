"""moto in this process: one lock around it, its time ours if wanted, and clients that reach nothing else."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from threading import Lock, RLock
from typing import Any, Final
from unittest.mock import patch

import botocore.session
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.models import DEFAULT_ACCOUNT_ID, botocore_stubber

from stepbridge.aws.clients import Clients
from stepbridge.memory.requests import Requests
from stepbridge.ports import Clock

ACCOUNT: Final = DEFAULT_ACCOUNT_ID
REGION: Final = "us-east-1"
LOCK: Final = RLock()
"""Around every request, the user's own too: moto loses updates between threads (measured 2026-11)."""
NUDGE: Final = timedelta(microseconds=100)
"""moto shows a message only after the instant at which its visibility ends."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_SERVICES: Final = ("dynamodb", "sqs", "events", "scheduler", "s3")
_NUMBERS: Final = itertools.count(1)
_POOL: Final[list[Counted]] = []
_POOL_LOCK: Final = Lock()


class Now:
    """What moto takes for the time: the clock's, or a nudge later while the driver looks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = timedelta(0)

    def __call__(self) -> datetime:
        """Naive UTC, as moto has it."""
        return self._clock.now().replace(tzinfo=None) + self._ahead

    def millis(self) -> float:
        """Milliseconds since the epoch: a thousand times a second for a thousand messages, so in short."""
        return (self._clock.now() - _EPOCH + self._ahead) / _MILLISECOND

    @contextmanager
    def nudged(self) -> Iterator[None]:
        """What is due now is shown now."""
        with LOCK:
            self._ahead = NUDGE
            try:
                yield
            finally:
                self._ahead = timedelta(0)


@contextmanager
def mocked(now: Now | None) -> Iterator[None]:
    """All AWS clients of this process are answered by moto, under our lock.

    Inside somebody else's `mock_aws` it joins in, and leaves the data alone. `now` is moto's time and
    nobody else's; None: it stays real.
    """
    request = BotocoreStubber.__call__

    def in_turn(stubber: BotocoreStubber, *args: Any, **options: Any) -> Any:
        with LOCK:
            return request(stubber, *args, **options)

    with ExitStack() as undo:
        undo.enter_context(mock_aws())
        undo.enter_context(patch.object(BotocoreStubber, "__call__", in_turn))
        if now is not None:
            undo.enter_context(patch("moto.core.utils.utcnow", now))
            undo.enter_context(patch("moto.sqs.models.unix_time_millis", now.millis))
        yield


def is_mocked() -> bool:
    """Whether moto answers now."""
    return bool(botocore_stubber.enabled)


def unique(name: str) -> str:
    """A name that no other world of this process has, in whatever mock."""
    return f"sb{next(_NUMBERS)}-{name}"


class Counted:
    """Clients of their own, whose requests are counted as they leave."""

    def __init__(self) -> None:
        self.requests = Requests()
        self.access_key = f"MOTO{next(_NUMBERS)}"
        """Tells on the wire whose a request is."""
        with patch.dict(os.environ, _quiet_environment(), clear=True):
            session = botocore.session.get_session()
            session.set_credentials(self.access_key, "secret")
            session.register("before-send", self._count)
            self.clients = Clients(region=REGION, session=session)
            for service in _SERVICES:
                getattr(self.clients, service)()

    def _count(self, **event: Any) -> None:
        self.requests.count(event["event_name"].rpartition(".")[2])


def take_clients(requests: Requests) -> Counted:
    """Clients that count into `requests`; made once for a process, since that takes longer than a test."""
    with _POOL_LOCK:
        counted = _POOL.pop() if _POOL else Counted()
    counted.requests = requests
    return counted


def give_back(counted: Counted) -> None:
    """The clients are free for another world."""
    with _POOL_LOCK:
        _POOL.append(counted)


def _quiet_environment() -> dict[str, str]:
    """The process's, without what would lead a client elsewhere than to moto."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return {**kept, **nowhere, "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled", "AWS_EC2_METADATA_DISABLED": "true"}
