"""The load in small: `make load` has the figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.load.engine import undisturbed
from tests.load.server import served


@pytest.mark.slow
def test_what_a_burst_begins_ends(tmp_path: Path) -> None:
    """Each event that a real client was told is accepted has one run, COMPLETED."""
    with served(tmp_path) as server:
        server.put(25)
        server.until_through(30)
        assert server.counts() == {"COMPLETED": 25}
        assert server.resident() > 0


def test_the_engine_alone_carries_the_same_app() -> None:
    """Beside which the server's figures stand."""
    assert undisturbed(20, warm=5).per_second > 0
