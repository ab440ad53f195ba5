"""Large values on S3."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from botocore.exceptions import ClientError

from stepbridge.aws.failures import Resource, code_of
from stepbridge.aws.settings import variable

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PAUSES_SECONDS: Final = (0.1, 0.4, 1.6)
"""Before each further try of a write that met another of the same key."""


class S3Blobs:
    """`ports.Blobs` on S3.

    Args:
        client: Gives the client, which may be made only then.
        bucket: Where the values are.
        prefix: Put before every key as it is.
        sleep: Waits between two tries.
    """

    def __init__(
        self,
        client: Callable[[], S3Client],
        bucket: str,
        prefix: str = "",
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._sleep = sleep
        self._resource = Resource(f"The S3 bucket {bucket}", variable("blobs_bucket"))

    def put(self, key: str, data: bytes) -> None:
        """Writes the value unless the key is taken: the value that stands is kept, and is success.

        S3 answers 409 to a write that meets another of the same key; it is sent again. Source: S3
        user guide, "Conditional writes", 2026.

        Raises:
            Unavailable: S3 cannot answer now.
            Misconfigured: The bucket or the permission is missing.
        """
        for pause_seconds in (*PAUSES_SECONDS, None):
            with self._resource.calling("s3:PutObject"):
                try:
                    self._client().put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data, IfNoneMatch="*")
                except ClientError as error:
                    code = code_of(error)
                    if code == "PreconditionFailed":
                        return
                    if code != "ConditionalRequestConflict" or pause_seconds is None:
                        raise
                else:
                    return
            self._sleep(pause_seconds)

    def get(self, key: str) -> bytes:
        """The value.

        Raises:
            KeyError: There is none. S3 says so only to those who may list the bucket.
            Unavailable: S3 cannot answer now.
            Misconfigured: The bucket or the permission is missing; or the value, where the role has
                no `s3:ListBucket`.
        """
        with self._resource.calling("s3:GetObject"):
            try:
                answer = self._client().get_object(Bucket=self._bucket, Key=self._prefix + key)
            except ClientError as error:
                if code_of(error) == "NoSuchKey":
                    raise KeyError(key) from error
                raise
            return answer["Body"].read()

    def renew(self, key: str) -> None:
        """Writes the value over itself: a bucket's lifecycle counts from the last write.

        Source: S3 user guide, "Lifecycle configuration elements", 2026. Not `CopyObject`, which asks for a change of
        the metadata; such values are few.

        Raises:
            KeyError: There is none.
            Unavailable: S3 cannot answer now.
            Misconfigured: The bucket or a permission is missing.
        """
        data = self.get(key)
        with self._resource.calling("s3:PutObject"):
            self._client().put_object(Bucket=self._bucket, Key=self._prefix + key, Body=data)
