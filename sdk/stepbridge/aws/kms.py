"""Data keys wrapped by AWS KMS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from stepbridge.aws.failures import Resource
from stepbridge.aws.settings import variable
from stepbridge.errors import EncryptionError

if TYPE_CHECKING:
    from mypy_boto3_kms.client import KMSClient

CONTEXT: Final = {"stepbridge": "data-key"}
"""The encryption context of every call: CloudTrail shows it, and a key policy may ask for it."""


class KmsKeys:
    """`engine.sealing.Keys` on KMS. A key that KMS rotates by itself stays the same key here.

    Args:
        client: Gives the client, which may be made only then.
        arns: Of the keys. The first wraps; the others are those of before, which only unwrap.
    """

    def __init__(self, client: Callable[[], KMSClient], arns: Sequence[str]) -> None:
        self._client = client
        self._arns = tuple(arns)

    def new(self) -> tuple[bytes, bytes]:
        """A new data key, and the same wrapped, with the ARN of the key that did it.

        Raises:
            Unavailable: KMS cannot answer now.
            Misconfigured: The key or the permission is missing.
        """
        arn = self._arns[0]
        with _resource(arn).calling("kms:GenerateDataKey"):
            answer = self._client().generate_data_key(KeyId=arn, KeySpec="AES_256", EncryptionContext=CONTEXT)
        return answer["Plaintext"], arn.encode() + b"\0" + answer["CiphertextBlob"]

    def unwrap(self, wrapped: bytes) -> bytes:
        """The data key.

        Raises:
            EncryptionError: It was wrapped by a key that is not among the settings'.
            Unavailable: KMS cannot answer now.
            Misconfigured: The key or the permission is missing, or the key is another one.
        """
        name, _, blob = wrapped.partition(b"\0")
        arn = name.decode("utf-8", "replace")
        if arn not in self._arns:
            raise EncryptionError(
                f"a data key was wrapped by {arn}, which is not among {variable('encryption_keys')}."
                " Mend: add it behind the first; a key that wrapped something is needed for as long as that is kept."
            )
        with _resource(arn).calling("kms:Decrypt"):
            answer = self._client().decrypt(CiphertextBlob=blob, KeyId=arn, EncryptionContext=CONTEXT)
        return answer["Plaintext"]


def _resource(arn: str) -> Resource:
    return Resource(f"The KMS key {arn}", variable("encryption_keys"))
