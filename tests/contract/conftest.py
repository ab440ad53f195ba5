"""The backends that the contract suite runs on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest

from stepbridge.ports import Ports
from tests.contract.aws_backend import MotoBackend, moto_backend
from tests.contract.backend import Backend, MemoryBackend

BACKENDS: dict[str, Callable[[], AbstractContextManager[Backend]]] = {
    "memory": lambda: nullcontext(MemoryBackend()),
    "moto": moto_backend,
}

GAPS = [
    (
        r"test_a_schedule_sends_its_message_within_the_minute\[moto\]",
        pytest.mark.xfail(
            strict=False,
            reason="the test's body lacks the key `stepbridge`, by which AWS knows Scheduler's"
            " messages; tests/contract/test_aws_timers.py claims the same with the key",
        ),
    ),
]
"""Where the suite is right and moto is not, and why."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the gaps."""
    for item in items:
        for pattern, mark in GAPS:
            if re.search(pattern, item.nodeid):
                item.add_marker(mark)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    """A new world, empty."""
    with BACKENDS[request.param]() as backend:
        yield backend


@pytest.fixture
def ports(backend: Backend) -> Ports:
    """The ports of that world."""
    return backend.ports


@pytest.fixture
def moto() -> Iterator[MotoBackend]:
    """The AWS adapters alone, for what only AWS has."""
    with moto_backend() as backend:
        yield backend
