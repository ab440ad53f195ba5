"""moto in this process: one lock around it, for each request its caller's time, and clients that reach nothing else.

Several worlds share one moto, each with a clock of its own. They may end in any order, so moto and the patches
begin with the first world and end with the last one.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from threading import RLock
from types import ModuleType
from typing import Any, Final
from unittest.mock import patch

import botocore.session
import moto.core.utils
from botocore.awsrequest import AWSPreparedRequest
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.models import DEFAULT_ACCOUNT_ID, botocore_stubber

from stepbridge.aws.clients import Clients
from stepbridge.local.moto_mended import mended
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
_PUTTING: Final = ("events.PutEvents", "sqs.SendMessage", "sqs.SendMessageBatch", "sqs.ChangeMessageVisibility")
_NUMBERS: Final = itertools.count(1)
_POOL: Final[list[Counted]] = []
_CREDENTIAL: Final = re.compile("Credential=([^/]+)/")


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


class _Shared:
    """moto as the open worlds share it; looked at and changed under the lock."""

    def __init__(self) -> None:
        self.open: list[Now | None] = []
        """The worlds' times, the latest world last; None: the host's."""
        self.of: dict[str, Now | None] = {}
        """By access key."""
        self._now: Now | None = None
        """Of the request under way."""
        self._millis: float | None = None
        """The same as a number: moto asks for it once for each message of a queue, and it stands meanwhile."""
        self._asked = 0
        """Requests under way: one may make others."""
        self._undo = ExitStack()

    def enter(self, now: Now | None) -> None:
        """A world begins."""
        with LOCK:
            if not self.open:
                self._start()
            self.open.append(now)

    def leave(self, now: Now | None) -> None:
        """A world has ended."""
        with LOCK:
            self.open.remove(now)
            if not self.open:
                self._undo.close()

    def utcnow(self) -> datetime:
        """The time for moto: the caller's, where it is not one of ours that of the latest world."""
        now = self._current()
        return _UTCNOW() if now is None else now()

    def millis(self) -> float:
        """The same in milliseconds."""
        if self._asked and self._millis is not None:
            return self._millis
        now = self._current()
        return _MILLIS() if now is None else now.millis()

    def _current(self) -> Now | None:
        if self._asked:
            return self._now
        # A module of moto's that was first imported in a world keeps our `utcnow` when the world has ended.
        return self.open[-1] if self.open else None

    def _start(self) -> None:
        answer = BotocoreStubber.__call__

        def in_turn(stubber: BotocoreStubber, event_name: str, request: AWSPreparedRequest, **more: Any) -> Any:
            with LOCK:
                before = self._now, self._millis, self._asked
                now = self.of.get(_access_key(request), self.open[-1])
                self._now, self._millis, self._asked = now, None if now is None else now.millis(), self._asked + 1
                try:
                    return answer(stubber, event_name, request, **more)
                finally:
                    self._now, self._millis, self._asked = before

        with ExitStack() as undo:
            undo.enter_context(mock_aws())
            undo.enter_context(patch.object(BotocoreStubber, "__call__", in_turn))
            for module in with_time():
                undo.enter_context(patch.object(module, "utcnow", self.utcnow))
            undo.enter_context(patch("moto.sqs.models.unix_time_millis", self.millis))
            undo.enter_context(mended())
            self._undo = undo.pop_all()


def with_time() -> list[ModuleType]:
    """The modules of moto that are loaded and hold its clock; one that is loaded later is given ours."""
    loaded = [module for name, module in list(sys.modules.items()) if name.startswith("moto.")]
    return [module for module in loaded if vars(module).get("utcnow") is _UTCNOW]


_UTCNOW: Final = moto.core.utils.utcnow
_MILLIS: Final = moto.core.utils.unix_time_millis
_SHARED: Final = _Shared()


def _access_key(request: AWSPreparedRequest) -> str:
    found = _CREDENTIAL.search(str(request.headers.get("Authorization", "")))
    return "" if found is None else found[1]


@contextmanager
def mocked(now: Now | None) -> Iterator[None]:
    """All AWS clients of this process are answered by moto, under our lock.

    Inside somebody else's `mock_aws` it joins in, and leaves the data alone. `now` is moto's time for the
    requests of this world and nobody else's; None: it stays real.
    """
    _SHARED.enter(now)
    try:
        yield
    finally:
        _SHARED.leave(now)


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
        self.told: Callable[[], object] = _nobody
        """Called after each request that may have put an event or a message."""
        self.access_key = f"MOTO{next(_NUMBERS)}"
        """Tells on the wire whose a request is."""
        with patch.dict(os.environ, _quiet_environment(), clear=True):
            session = botocore.session.get_session()
            session.set_credentials(self.access_key, "secret")
            session.register("before-send", self._count)
            for operation in _PUTTING:
                session.register(f"after-call.{operation}", self._tell)
            self.clients = Clients(region=REGION, session=session)
            for service in _SERVICES:
                getattr(self.clients, service)()

    def _tell(self, **_: Any) -> None:
        self.told()

    def _count(self, **event: Any) -> None:
        self.requests.count(event["event_name"].rpartition(".")[2])


def _nobody() -> None:
    """Wants to know nothing."""


def take_clients(requests: Requests, now: Now | None, told: Callable[[], object]) -> Counted:
    """Clients that count into `requests`, and whose time is `now`; they outlast worlds, being slow to make."""
    with LOCK:
        counted = _POOL.pop() if _POOL else Counted()
        _SHARED.of[counted.access_key] = now
    counted.requests, counted.told = requests, told
    return counted


def give_back(counted: Counted) -> None:
    """The clients are free for another world."""
    with LOCK:
        del _SHARED.of[counted.access_key]
        counted.told = _nobody
        _POOL.append(counted)


def _quiet_environment() -> dict[str, str]:
    """The process's, without what would lead a client elsewhere than to moto."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return {**kept, **nowhere, "AWS_ACCOUNT_ID_ENDPOINT_MODE": "disabled", "AWS_EC2_METADATA_DISABLED": "true"}
