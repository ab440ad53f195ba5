"""S3: where values go."""

from __future__ import annotations

from tests.contract.aws_backend import MotoBackend


def test_a_value_is_one_request_each_way_under_the_prefix(moto: MotoBackend) -> None:
    """And a second write of it is one too."""
    moto.ports.blobs.put("r/1", b"data")
    moto.ports.blobs.put("r/1", b"data")
    assert moto.ports.blobs.get("r/1") == b"data"
    assert moto.requests == ["PutObject", "PutObject", "GetObject"]
    found = moto.clients.s3().list_objects_v2(Bucket="shop-blobs")["Contents"]
    assert [one["Key"] for one in found] == ["shop/r/1"]
