"""EventBridge: how events are put into calls."""

from __future__ import annotations

import json

import pytest

from stepbridge.aws.bus import bytes_of
from stepbridge.core.limits import EVENT_BYTES_MAX
from stepbridge.ports import Entry
from tests.contract.aws_backend import MotoBackend


def event(size: int) -> Entry:
    """An event that EventBridge counts as `size` bytes."""
    empty = Entry(name="n", source="s", detail='{"x": ""}')
    return Entry(name="n", source="s", detail=f'{{"x": "{"x" * (size - bytes_of(empty))}"}}')


def test_ten_events_are_one_request(moto: MotoBackend) -> None:
    """Twenty-one are three."""
    moto.ports.bus.put([event(100)] * 10)
    moto.ports.bus.put([event(100)] * 21)
    assert moto.requests == ["PutEvents"] * 4


def test_a_call_stays_below_its_limit_of_bytes(moto: MotoBackend) -> None:
    """Less than 1 MB: two halves are one byte too much."""
    half = EVENT_BYTES_MAX // 2
    moto.ports.bus.put([event(half - 1), event(half)])
    assert moto.requests == ["PutEvents"]
    moto.requests.clear()
    moto.ports.bus.put([event(half), event(half)])
    assert moto.requests == ["PutEvents"] * 2


def test_size_is_counted_in_bytes() -> None:
    """Of source, name and detail in UTF-8."""
    assert bytes_of(Entry(name="\u00e9", source="s", detail=json.dumps("\U0001f680"))) == 2 + 1 + 14
    assert bytes_of(Entry(name="n", source="\u00e9", detail="\u00e9")) == 1 + 2 + 2


def test_an_event_that_is_too_large_is_refused_by_name(moto: MotoBackend) -> None:
    """Before any of them is put."""
    with pytest.raises(ValueError, match=r"The event 'n' has 1048576 bytes.*Mend"):
        moto.ports.bus.put([event(100), event(EVENT_BYTES_MAX)])
    assert moto.requests == []


def test_a_malformed_event_is_named_and_not_tried_again(moto: MotoBackend) -> None:
    """No further try can help it; its neighbours have been put."""
    with pytest.raises(ValueError, match=r"event-bus/shop can never take this.*MalformedDetail.*'x'"):
        moto.ports.bus.put([event(100), Entry(name="x", source="s", detail="{")])
    assert moto.requests == ["PutEvents"]
    assert len(moto.receive()) == 1
