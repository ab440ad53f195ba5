"""AWS's errors become ours: what passes is `Unavailable`, what must be mended is `Misconfigured`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore import exceptions as raised
from botocore.exceptions import ClientError
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

from stepbridge.aws.clients import ATTEMPTS
from stepbridge.aws.failures import Misconfigured, Resource, Unavailable
from stepbridge.aws.table import DynamoTable
from stepbridge.aws.wiring import ports
from stepbridge.core.conditions import Change, Key
from stepbridge.ports import Entry, Message, Outgoing, Ports
from tests.contract.aws_backend import settings
from tests.unit.aws_script import Answer, Script, error, ok, s3_error

KEY = Key("R#1", "#")
MESSAGE = Message(id="1", body="{}", receipt="r")
LATER = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that botocore makes, without making them."""
    made: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", made.append)
    return made


def table(script: Script) -> DynamoTable:
    """The table `shop` by script."""
    return DynamoTable(script.clients.dynamodb, "shop")


PASSING = [
    error("ThrottlingException"),
    error("ProvisionedThroughputExceededException"),
    error("RequestLimitExceeded"),
    error("InternalServerError", 500),
    error("ServiceUnavailable", 503),
    error("NobodyKnows", 502),
    error("NobodyKnows", 429),
    raised.ReadTimeoutError(endpoint_url="https://aws"),
    raised.ConnectTimeoutError(endpoint_url="https://aws"),
    raised.EndpointConnectionError(endpoint_url="https://aws"),
    raised.ConnectionClosedError(endpoint_url="https://aws"),
]


@pytest.mark.parametrize("answer", PASSING, ids=repr)
def test_what_passes_is_unavailable(answer: Answer) -> None:
    """It names the table and the call; nobody has to mend anything."""
    with pytest.raises(Unavailable, match=r"The DynamoDB table shop .*\(dynamodb:GetItem"):
        table(Script(answer)).get(KEY)


@pytest.mark.parametrize("answer", PASSING, ids=repr)
def test_what_passes_is_tried_again_with_pauses(answer: Answer, pauses: list[float]) -> None:
    """Four times in all, within seconds."""
    script = Script(answer)
    with pytest.raises(Unavailable):
        table(script).get(KEY)
    assert script.operations == ["GetItem"] * ATTEMPTS
    assert len(pauses) == ATTEMPTS - 1
    assert sum(pauses) < 8


def test_what_has_passed_is_not_seen() -> None:
    """Two faults, then the item."""
    script = Script(
        raised.ReadTimeoutError(endpoint_url="https://aws"),
        error("ThrottlingException"),
        ok(Item={"pk": {"S": "R#1"}, "n": {"N": "-12"}, "b": {"B": "AAE="}}),
    )
    assert table(script).get(KEY) == {"pk": "R#1", "n": -12, "b": b"\0\1"}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            error("ResourceNotFoundException"),
            r"The DynamoDB table shop does not exist .*Mend: deploy the stack, or correct STEPBRIDGE_TABLE",
        ),
        (
            error("AccessDeniedException"),
            r"The DynamoDB table shop refuses this role .*Mend: allow the role dynamodb:GetItem",
        ),
        (error("UnrecognizedClientException"), r"does not accept these credentials .*Mend: renew"),
        (error("ExpiredTokenException"), r"does not accept these credentials .*Mend: renew"),
    ],
)
def test_what_must_be_mended_is_misconfigured(answer: Answer, message: str) -> None:
    """It names the resource, the cause in AWS's words, the permission and the mend; once is enough."""
    script = Script(answer)
    with pytest.raises(Misconfigured, match=message) as caught:
        table(script).get(KEY)
    assert "says AWS" in str(caught.value)
    assert isinstance(caught.value.__cause__, ClientError)
    assert script.operations == ["GetItem"]


def test_no_credentials_is_misconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent."""
    script = Script(ok())
    monkeypatch.setattr(script.clients._session, "get_credentials", lambda: None)
    with pytest.raises(Misconfigured, match="Mend: give this process AWS credentials"):
        table(script).get(KEY)
    assert script.sent == []


def test_an_error_of_our_own_making_stays_what_it_is() -> None:
    """A request that AWS calls invalid is a fault of this package."""
    with pytest.raises(ClientError, match="ValidationException"):
        table(Script(error("ValidationException"))).get(KEY)


CALLS: dict[str, tuple[str, Callable[[Ports], object]]] = {
    "get": ("dynamodb:GetItem", lambda aws: aws.table.get(KEY)),
    "put": ("dynamodb:PutItem", lambda aws: aws.table.put({"pk": "R#1", "sk": "#"})),
    "update": ("dynamodb:UpdateItem", lambda aws: aws.table.update(KEY, Change(set={"a": 1}))),
    "delete": ("dynamodb:DeleteItem", lambda aws: aws.table.delete(KEY)),
    "query": ("dynamodb:Query", lambda aws: list(aws.table.query("R#1"))),
    "list": ("dynamodb:Query", lambda aws: aws.table.query_index("f#1")),
    "send one": ("sqs:SendMessage", lambda aws: aws.queue.send([Outgoing(body="{}")])),
    "send two": ("sqs:SendMessage", lambda aws: aws.queue.send([Outgoing(body="{}")] * 2)),
    "postpone": ("sqs:ChangeMessageVisibility", lambda aws: aws.queue.postpone(MESSAGE, timedelta(0))),
    "bury": ("sqs:SendMessage", lambda aws: aws.queue.bury(MESSAGE, "why")),
    "event": ("events:PutEvents", lambda aws: aws.bus.put([Entry(name="n", source="s", detail="{}")])),
    "arm": ("scheduler:CreateSchedule", lambda aws: aws.timers.create("n", LATER, "{}")),
    "disarm": ("scheduler:DeleteSchedule", lambda aws: aws.timers.delete("n")),
}
S3_CALLS: dict[str, tuple[str, Callable[[Ports], object]]] = {
    "write": ("s3:PutObject", lambda aws: aws.blobs.put("k", b"")),
    "read": ("s3:GetObject", lambda aws: aws.blobs.get("k")),
}


@pytest.mark.parametrize(("permission", "call"), CALLS.values(), ids=CALLS)
def test_every_call_tells_its_permission(permission: str, call: Callable[[Ports], object]) -> None:
    """And that a throttle passes."""
    denied = Script(error("AccessDeniedException"))
    with pytest.raises(Misconfigured, match=f"Mend: allow the role {permission}"):
        call(ports(settings(), denied.clients))
    throttled = Script(error("ThrottlingException"))
    with pytest.raises(Unavailable, match=permission):
        call(ports(settings(), throttled.clients))


@pytest.mark.parametrize(("permission", "call"), S3_CALLS.values(), ids=S3_CALLS)
def test_every_call_to_s3_tells_its_permission(permission: str, call: Callable[[Ports], object]) -> None:
    """And that a throttle passes, and which bucket is missing."""
    denied = Script(s3_error("AccessDenied", 403))
    with pytest.raises(Misconfigured, match=f"bucket shop-blobs .*Mend: allow the role {permission}"):
        call(ports(settings(), denied.clients))
    throttled = Script(s3_error("SlowDown", 503))
    with pytest.raises(Unavailable, match=permission):
        call(ports(settings(), throttled.clients))
    missing = Script(s3_error("NoSuchBucket", 404))
    with pytest.raises(Misconfigured, match=r"does not exist .*STEPBRIDGE_BLOBS_BUCKET"):
        call(ports(settings(), missing.clients))


RESOURCE = Resource("It", "STEPBRIDGE_IT")


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("KMS.DisabledException", 400, Misconfigured),
        ("KMS.ThrottlingException", 400, Unavailable),
        ("ServiceQuotaExceededException", 402, Misconfigured),
        ("ConflictException", 409, Unavailable),
        ("InvalidParameterValue", 400, type(None)),
    ],
)
def test_codes_are_sorted_by_who_must_act(code: str, status: int, expected: type) -> None:
    """None: a fault of this package."""
    assert type(RESOURCE.failure("s:Do", code, "", status=status)) is expected


def test_whatever_botocore_tries_again_passes() -> None:
    """Its own lists, of throttles and of transient errors; and a clock that NTP has not set yet."""
    throttled: Any = ThrottledRetryableChecker
    transient: Any = TransientRetryableChecker
    codes = {
        *throttled._THROTTLED_ERROR_CODES,
        *transient._TRANSIENT_ERROR_CODES,
        "RequestTimeTooSkewed",
    } - {"BandwidthLimitExceeded", "EC2ThrottledException", "TransactionInProgressException"}  # of other services
    assert {code for code in codes if type(RESOURCE.failure("s:Do", code, "")) is not Unavailable} == set()


MENDS = {
    "deploy the stack": ["QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "NoSuchBucket"],
    "allow the role": ["AccessDenied", "NotAuthorizedForDetailTypeException", "NotAuthorizedForSourceException"],
    "renew the credentials": [
        *("ExpiredToken", "ExpiredTokenException", "IncompleteSignature", "InvalidAccessKeyId", "InvalidToken"),
        *("InvalidClientTokenId", "InvalidSignatureException", "MissingAuthenticationToken", "SignatureDoesNotMatch"),
        *("MissingAuthenticationTokenException", "UnrecognizedClientException"),
    ],
    "enable the key": ["KMS.AccessDeniedException", "KMS.InvalidStateException", "KmsDisabled", "KmsNotFound"],
    "Service Quotas": ["ServiceQuotaExceededException"],
}
"""Of the services' common errors, whose models botocore does not have."""


@pytest.mark.parametrize(("mend", "code"), [(mend, code) for mend, codes in MENDS.items() for code in codes])
def test_what_does_not_pass_has_a_mend(mend: str, code: str) -> None:
    """One that fits it."""
    failure = RESOURCE.failure("s:Do", code, "")
    assert isinstance(failure, Misconfigured)
    assert mend in str(failure)


OURS: dict[tuple[str, tuple[str, ...]], set[str]] = {
    ("dynamodb", ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query")): {
        *("ConditionalCheckFailedException", "ItemCollectionSizeLimitExceededException"),
    },
    ("sqs", ("SendMessage", "SendMessageBatch", "ChangeMessageVisibility")): {
        *("InvalidMessageContents", "UnsupportedOperation", "InvalidSecurity", "MessageNotInflight"),
        *("ReceiptHandleIsInvalid", "BatchEntryIdsNotDistinct", "BatchRequestTooLong", "EmptyBatchRequest"),
        *("InvalidBatchEntryId", "TooManyEntriesInBatchRequest"),
    },
    ("events", ("PutEvents",)): set(),
    ("scheduler", ("CreateSchedule", "DeleteSchedule")): {"ValidationException"},
    ("kms", ("GenerateDataKey", "Decrypt")): {"DryRunOperationException", "InvalidGrantTokenException"},
    ("s3", ("GetObject", "PutObject")): {
        *("EncryptionTypeMismatch", "InvalidObjectState", "InvalidRequest", "InvalidWriteOffset"),
        *("NoSuchKey", "TooManyParts"),
    },
}
"""What the adapters call, and which of the errors that these calls have are neither passing nor the operator's."""


@pytest.mark.parametrize(("called", "left"), OURS.items(), ids=[service for service, _ in OURS])
def test_every_error_of_every_call_is_sorted(called: tuple[str, tuple[str, ...]], left: set[str]) -> None:
    """By the service models of botocore: what a new release adds shows here."""
    service, operations = called
    model = Script(ok()).clients._client(service).meta.service_model
    shapes = [shape for name in operations for shape in model.operation_model(name).error_shapes]
    codes = {shape.error_code for shape in shapes}
    assert {code for code in codes if RESOURCE.failure("s:Do", code, "") is None} == left


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (raised.CredentialRetrievalError(provider="iam", error_msg="no"), Unavailable),
        (raised.MetadataRetrievalError(error_msg="no"), Unavailable),
        (raised.IncompleteReadError(actual_bytes=1, expected_bytes=2), Unavailable),
        (raised.ChecksumError(checksum_type="crc32", expected_checksum="1", actual_checksum="2"), Unavailable),
        (raised.FlexibleChecksumError(error_msg="no"), Unavailable),
        (raised.NoRegionError(), Misconfigured),
        (raised.InvalidRegionError(region_name="?"), Misconfigured),
        (raised.PartialCredentialsError(provider="env", cred_var="secret"), Misconfigured),
        (raised.ProfileNotFound(profile="mine"), Misconfigured),
        (raised.SSOTokenLoadError(error_msg="no"), Misconfigured),
        (raised.TokenRetrievalError(provider="sso", error_msg="no"), Misconfigured),
    ],
    ids=lambda one: type(one).__name__,
)
def test_what_botocore_raises_by_itself_is_sorted_too(error: Exception, expected: type[Exception]) -> None:
    """Nothing was asked of AWS, or nothing whole came back."""
    with pytest.raises(expected, match=r"^It .*s:Do"), RESOURCE.calling("s:Do"):
        raise error
