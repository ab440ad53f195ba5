"""The backends that the contract suite runs on."""

from __future__ import annotations

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
