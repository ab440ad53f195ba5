"""S3: where values go."""

from __future__ import annotations

from datetime import timedelta

from tests.contract.aws_backend import MotoBackend


def test_a_value_is_one_request_each_way_under_the_prefix(moto: MotoBackend) -> None:
    """And a second write of it is one too."""
    moto.ports.blobs.put("r/1", b"data")
    moto.ports.blobs.put("r/1", b"data")
    assert moto.ports.blobs.get("r/1") == b"data"
    assert moto.requests == ["PutObject", "PutObject", "GetObject"]
    found = moto.clients.s3().list_objects_v2(Bucket="shop-blobs")["Contents"]
    assert [one["Key"] for one in found] == ["shop/r/1"]


def test_a_value_that_is_renewed_is_written_anew(moto: MotoBackend) -> None:
    """Over itself: a bucket's lifecycle counts from then on."""
    blobs, s3 = moto.ports.blobs, moto.clients.s3()
    blobs.put("r/1", b"data")
    before = s3.head_object(Bucket="shop-blobs", Key="shop/r/1")["LastModified"]
    moto.clock.move_to(moto.clock.now() + timedelta(days=9))
    moto.requests.clear()
    blobs.renew("r/1")
    assert moto.requests == ["GetObject", "PutObject"]
    found = s3.list_objects_v2(Bucket="shop-blobs")["Contents"]
    assert [(one["Key"], one["LastModified"] - before) for one in found] == [("shop/r/1", timedelta(days=9))]
