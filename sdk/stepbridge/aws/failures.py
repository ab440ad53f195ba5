"""What AWS answers when it does not do as asked, sorted by who must act.

    Exception
    ├── Unavailable      nobody: AWS throttles, fails or cannot be reached; it passes
    └── Misconfigured    the operator: a resource, a permission, a key or a quota is missing

Either way the message that drives the work stays on the queue. An error that is in neither list is
a fault of this package and is raised as it came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from botocore import exceptions as raised
from botocore.exceptions import ClientError


class Unavailable(Exception):  # noqa: N818 - it says what AWS is, and passes
    """AWS throttles, fails or cannot be reached, after the retries that time allowed. Try later."""


class Misconfigured(Exception):  # noqa: N818 - as `Unavailable`
    """A resource, a permission, a key or a quota is missing; the message names it and the mend."""


@dataclass(frozen=True, slots=True)
class _Fault:
    cause: str
    mend: str


_MISSING: Final = _Fault("does not exist", "deploy the stack, or correct {setting} and the region")
_DENIED: Final = _Fault("refuses this role", "allow the role {permission} on it")
_STRANGER: Final = _Fault("does not accept these credentials", "renew the credentials")
_KEY: Final = _Fault(
    "is, or has, a KMS key that refuses", "enable the key, allow this role to use it, and correct {setting}"
)
_QUOTA: Final = _Fault("has reached a quota", "have it raised in Service Quotas")

_FAULTS: Final[Mapping[str, _Fault]] = {
    **dict.fromkeys(
        (
            "ResourceNotFoundException",
            "QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue",
            "InvalidAddress",
            "NoSuchBucket",
            "PermanentRedirect",
        ),
        _MISSING,
    ),
    **dict.fromkeys(
        (
            "AccessDenied",
            "AccessDeniedException",
            "NotAuthorizedForDetailTypeException",
            "NotAuthorizedForSourceException",
        ),
        _DENIED,
    ),
    **dict.fromkeys(
        (
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "InvalidAccessKeyId",
            "InvalidAccountIdException",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "InvalidToken",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        ),
        _STRANGER,
    ),
    **dict.fromkeys(
        (
            "KMS.AccessDeniedException",
            "KMS.DisabledException",
            "KMS.InvalidStateException",
            "KMS.NotFoundException",
            "KmsAccessDenied",
            "KmsDisabled",
            "KmsInvalidKeyUsage",
            "KmsInvalidState",
            "KmsNotFound",
            "KmsOptInRequired",
            # Of KMS itself.
            "DisabledException",
            "IncorrectKeyException",
            "InvalidCiphertextException",
            "InvalidKeyUsageException",
            "KMSInvalidStateException",
            "NotFoundException",
        ),
        _KEY,
    ),
    "ServiceQuotaExceededException": _QUOTA,
}
"""Who must act is the operator. Source: service models of botocore 1.44.5, 2026-11."""

_PASSING: Final = frozenset(
    {
        "ConditionalRequestConflict",
        "ConflictException",
        "DependencyTimeoutException",
        "InternalError",
        "InternalException",
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "KMS.ThrottlingException",
        "KMSInternalException",
        "KeyUnavailableException",
        "KmsThrottled",
        "LimitExceededException",
        "OperationAborted",
        "OverLimit",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "ReplicatedWriteConflictException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeTooSkewed",
        "RequestTimeout",
        "RequestTimeoutException",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
    }
)
"""Nobody must act. Source: botocore 1.44.5's standard retries and service models, 2026-11."""

_UNREACHABLE: Final = (
    raised.ChecksumError,
    raised.ConnectionError,
    raised.CredentialRetrievalError,
    raised.FlexibleChecksumError,
    raised.HTTPClientError,
    raised.IncompleteReadError,
    raised.MetadataRetrievalError,
)
_NO_ACCOUNT: Final = (
    raised.InvalidRegionError,
    raised.NoCredentialsError,
    raised.NoRegionError,
    raised.PartialCredentialsError,
    raised.ProfileNotFound,
    raised.SSOError,
    raised.TokenRetrievalError,
)

_TOO_MANY: Final = 429
_SERVER: Final = 500


def code_of(error: ClientError) -> str:
    """AWS's name of the error."""
    return error.response.get("Error", {}).get("Code", "")


@dataclass(frozen=True, slots=True)
class Resource:
    """What calls are made on, as errors name it."""

    name: str
    """As in a sentence: "The DynamoDB table orders"."""
    setting: str
    """The environment variable that says which one."""

    @contextmanager
    def calling(self, permission: str) -> Iterator[None]:
        """Turns what AWS raises inside into our errors; `permission` is what IAM calls the call.

        Raises:
            Unavailable: AWS cannot answer now.
            Misconfigured: Somebody must mend the deployment.
        """
        try:
            yield
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            text = error.response.get("Error", {}).get("Message", "")
            failure = self.failure(permission, code_of(error), text, status=status)
            if failure is None:
                raise
            raise failure from error
        except _UNREACHABLE as error:
            raise Unavailable(f"{self.name} cannot be reached ({permission}): {error}") from error
        except _NO_ACCOUNT as error:
            raise Misconfigured(
                f"{self.name} cannot be called ({permission}): {error}"
                " Mend: give this process AWS credentials and a region."
            ) from error

    def failure(self, permission: str, code: str, text: str, *, status: int = 0) -> Unavailable | Misconfigured | None:
        """Our error for AWS's code; None where the code is in neither list."""
        what = f"({permission}: {code}: {text})"
        if fault := _FAULTS.get(code):
            mend = fault.mend.format(setting=self.setting, permission=permission)
            return Misconfigured(f"{self.name} {fault.cause} {what}. Mend: {mend}.")
        if code in _PASSING or status == _TOO_MANY or status >= _SERVER:
            return Unavailable(f"{self.name} cannot answer now {what}.")
        return None
