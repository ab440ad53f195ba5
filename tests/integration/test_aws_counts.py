"""The same price list, told by moto's side of the wire: nothing of the engine counts here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from moto.core.botocore_stubber import BotocoreStubber

from stepbridge import App
from stepbridge.testing import Simulation
from tests.counting import DEALS, Deal, owed, spent

DRIVER = ("Scan", "GetSchedule")
"""What only tests and the local driver ask for."""


class Wire:
    """A log of the requests that reached moto, by operation."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def note(self, event_name: str) -> None:
        """One request."""
        self.asked[event_name.rpartition(".")[2]] += 1


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """Listens where moto takes requests in, from whichever client."""
    wire = Wire()
    take = BotocoreStubber.__call__

    def listen(stubber: Any, event_name: str, **request: Any) -> Any:
        wire.note(event_name)
        return take(stubber, event_name, **request)

    monkeypatch.setattr(BotocoreStubber, "__call__", listen)
    return wire


@pytest.mark.parametrize("deal", DEALS, ids=str)
def test_the_wire_sees_exactly_this(deal: Deal, wire: Wire) -> None:
    """The driver's part is told from the app's: who starts runs, polls, fires and looks on is no cost of a run."""
    app = App("shop")
    deal.build(app)
    with Simulation(app, backend="moto") as sim:
        asked = deal.play(sim, lambda: Counter(wire.asked))
