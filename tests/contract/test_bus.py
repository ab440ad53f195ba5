"""The bus: what was put reaches the app's queue in EventBridge's envelope."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from stepbridge.ports import Entry, Message, Ports
from tests.contract.backend import Backend

ORDER = Entry(name="order/created", source="shop", detail='{"orderId": "o-1", "total": 1.5}')


def envelopes(messages: list[Message]) -> list[dict[str, Any]]:
    """What is in the bodies."""
    return [json.loads(message.body) for message in messages]


def test_an_event_arrives_in_its_envelope(backend: Backend, ports: Ports) -> None:
    """Name, source and data are `detail-type`, `source` and `detail`."""
    ports.bus.put([ORDER])
    (envelope,) = envelopes(backend.receive())
    assert envelope["detail-type"] == "order/created"
    assert envelope["source"] == "shop"
    assert envelope["detail"] == {"orderId": "o-1", "total": 1.5}
    assert envelope["id"]


def test_the_envelope_tells_the_second_in_utc(backend: Backend, ports: Ports) -> None:
    """`time` is when it was put."""
    ports.bus.put([ORDER])
    (envelope,) = envelopes(backend.receive())
    assert envelope["time"].endswith("Z")
    age = ports.clock.now() - datetime.fromisoformat(envelope["time"])
    assert timedelta(0) <= age < timedelta(seconds=5)


def test_an_event_is_never_the_engines_own(backend: Backend, ports: Ports) -> None:
    """The bus cannot set the attribute that marks internal messages."""
    ports.bus.put([ORDER])
    assert [message.internal for message in backend.receive()] == [False]


def test_more_events_than_one_call_takes_all_arrive(backend: Backend, ports: Ports) -> None:
    """Twenty-three are put in three calls; each has an id of its own."""
    ports.bus.put([Entry(name="n", source="s", detail=json.dumps({"n": number})) for number in range(23)])
    found = [one for _ in range(3) for one in envelopes(backend.receive(10))]
    assert sorted(one["detail"]["n"] for one in found) == list(range(23))
    assert len({one["id"] for one in found}) == 23


def test_equal_events_are_different_events(backend: Backend, ports: Ports) -> None:
    """The bus does not deduplicate."""
    ports.bus.put([ORDER, ORDER])
    first, second = envelopes(backend.receive())
    assert first["id"] != second["id"]


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {"t": 'gr\u00fc\u00df \U0001f680 "quoted" \\ \n'},
        {"deep": [{"a": [None, True, 1e300]}]},
        {"big": "x" * 200_000},
    ],
)
def test_data_comes_through_unchanged(backend: Backend, ports: Ports, detail: dict[str, Any]) -> None:
    """Any JSON object, of any size that fits."""
    ports.bus.put([Entry(name="caf\u00e9/\U0001f680", source="s", detail=json.dumps(detail))])
    (envelope,) = envelopes(backend.receive())
    assert envelope["detail"] == detail
    assert envelope["detail-type"] == "caf\u00e9/\U0001f680"


def test_putting_nothing_is_nothing(backend: Backend, ports: Ports) -> None:
    """An empty list of events is allowed."""
    ports.bus.put([])
    assert backend.receive() == []
