"""Fixtures of the security suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stepbridge import App
from tests.waits.bench import Bench


@pytest.fixture
def bench_of() -> Iterator[Callable[..., Bench]]:
    """Makes benches, and closes them."""
    made: list[Bench] = []

    def make(app: App, **options: Any) -> Bench:
        made.append(Bench(app, **options))
        return made[-1]

    yield make
    for bench in made:
        bench.close()
