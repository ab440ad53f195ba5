"""Blobs: written once, read back."""

from __future__ import annotations

import pytest

from stepbridge.ports import Ports


@pytest.mark.parametrize("data", [b"", b"\0\xff" * 1000, b"x" * 2_000_000])
def test_a_value_comes_back_as_it_was_put(ports: Ports, data: bytes) -> None:
    """Bytes of any kind and size."""
    ports.blobs.put("r/1/s/2", data)
    assert ports.blobs.get("r/1/s/2") == data


def test_the_first_value_stays(ports: Ports) -> None:
    """A second write under a key is success and changes nothing."""
    ports.blobs.put("k", b"first")
    ports.blobs.put("k", b"second")
    assert ports.blobs.get("k") == b"first"


def test_a_value_that_is_renewed_stays_what_it_is(ports: Ports) -> None:
    """Its age alone begins anew."""
    ports.blobs.put("k", b"first")
    ports.blobs.renew("k")
    assert ports.blobs.get("k") == b"first"


@pytest.mark.parametrize("method", ["get", "renew"])
def test_a_value_that_is_not_there_is_a_key_error(ports: Ports, method: str) -> None:
    """As the port promises."""
    with pytest.raises(KeyError):
        getattr(ports.blobs, method)("none")
