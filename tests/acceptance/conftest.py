"""Both colours for every test that asks for `colour`."""

from __future__ import annotations

import pytest

from tests.acceptance.helpers import ASYNC, SYNC, Colour


@pytest.fixture(params=[ASYNC, SYNC], ids=["async", "sync"])
def colour(request: pytest.FixtureRequest) -> Colour:
    """The colour of the handlers of this test."""
    made: Colour = request.param
    return made
