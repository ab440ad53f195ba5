"""Fixtures of the waits suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stepbridge import App
from tests.waits.bench import Bench


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> str:
    """What benches play on; a file that forces its orders on both has a fixture of its own."""
    return str(request.config.getoption("--backend"))


@pytest.fixture
def bench_of(backend: str) -> Iterator[Callable[..., Bench]]:
    """Makes benches, and closes them."""
    made: list[Bench] = []

    def make(app: App, **options: Any) -> Bench:
        made.append(Bench(app, **{"backend": backend, **options}))
        return made[-1]

    yield make
    for bench in made:
        bench.close()
