"""What `doctor` says of each resource that is not as it should be; the rest is shown against moto."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from stepbridge.aws import doctor
from stepbridge.aws.account import Account
from tests.unit.test_aws_stacks import SETTINGS

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:shop"
GOOD: dict[str, Any] = {
    "list_event_source_mappings": {
        "EventSourceMappings": [
            {"FunctionArn": ARN, "State": "Enabled", "FunctionResponseTypes": ["ReportBatchItemFailures"]}
        ]
    },
    "get_function_configuration": {
        "Description": "dispatcher of stepbridge 0.1.0",
        "Runtime": "python3.13",
        "LastModified": "2026-11-01T10:00:00.000+0000",
        "Environment": {"Variables": {"STEPBRIDGE_TABLE": "table"}},
    },
    "get_function_recursion_config": {"RecursiveLoop": "Allow"},
    "get_account_settings": {"AccountLimit": {"UnreservedConcurrentExecutions": 900}},
    "get_caller_identity": {"Arn": "arn:aws:iam::123456789012:user/me", "Account": "123456789012"},
    "describe_table": {"Table": {"TableStatus": "ACTIVE", "GlobalSecondaryIndexes": [{"IndexName": "runs"}]}},
    "describe_continuous_backups": {
        "ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"}}
    },
    "get_queue_attributes": {
        "Attributes": {
            "ApproximateNumberOfMessages": "1000",
            "ApproximateNumberOfMessagesNotVisible": "5000",
            "RedrivePolicy": json.dumps({"deadLetterTargetArn": SETTINGS.dlq_arn}),
        }
    },
    "get_schedule_group": {"State": "ACTIVE"},
    "list_schedules": {"Schedules": [{}, {}], "NextToken": "more"},
    "head_bucket": {},
}


class Service:
    """Answers as told, whichever it is; an exception is raised."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        def answer(**_given: object) -> Any:
            if isinstance(self._answers[name], Exception):
                raise self._answers[name]
            return self._answers[name]

        return answer


def findings(checks: str, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> list[doctor.Finding]:
    """Of some checks, against services that answer so."""
    service = Service(GOOD | answers)
    own = dict.fromkeys(("dynamodb", "sqs", "scheduler", "s3"), lambda: service)
    clients = SimpleNamespace(other=lambda _service: service, **own)
    account = cast("Account", SimpleNamespace(clients=clients, found=SimpleNamespace(settings=SETTINGS)))
    monkeypatch.setattr(doctor, "_CHECKS", {check: doctor._CHECKS[check] for check in checks.split(", ")})
    return list(doctor.examine(account))


def test_a_sound_dispatcher_has_nothing_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its runtime and the day of its deployment are told."""
    found = findings("dispatcher", monkeypatch)
    assert {(one.state, one.mend) for one in found} == {("ok", "")}
    assert any("dispatcher of stepbridge 0.1.0, python3.13, deployed 2026-11-01T10:00:00" in one.text for one in found)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"list_event_source_mappings": {"EventSourceMappings": []}}, "runs stand still"),
        (
            {"list_event_source_mappings": {"EventSourceMappings": [{"FunctionArn": ARN, "State": "Disabled"}]}},
            "shop receives: Disabled",
        ),
        (
            {"list_event_source_mappings": {"EventSourceMappings": [{"FunctionArn": ARN, "State": "Enabled"}]}},
            "messages are lost",
        ),
        ({"get_function_recursion_config": {"RecursiveLoop": "Terminate"}}, "sixteenth hop"),
        (
            {
                "get_function_configuration": {
                    "LastModified": "2026-11-01T10:00:00.000+0000",
                    "Environment": {"Variables": {"STEPBRIDGE_TABLE": "another"}},
                }
            },
            "writes to another",
        ),
    ],
)
def test_what_is_amiss_with_a_dispatcher_is_a_failure(
    answers: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a mend."""
    (failed,) = [one for one in findings("dispatcher", monkeypatch, **answers) if words in one.text]
    assert (failed.state, bool(failed.mend)) == ("fail", True)


def test_what_is_sound_is_told_with_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is to be mended."""
    found = findings("credentials, table, queue, schedules, blobs", monkeypatch)
    assert {(one.state, one.mend) for one in found} == {("ok", "")}
    assert [one.text for one in found] == [
        "arn:aws:iam::123456789012:user/me in account 123456789012",
        "table is ACTIVE",
        "1000 ready, 5000 in hand, 0 delayed",
        "2+ armed in the group group",
        "bucket can be reached",
    ]


@pytest.mark.parametrize(
    ("check", "answers", "state", "words"),
    [
        ("credentials", {"get_caller_identity": {"Arn": "a", "Account": "210"}}, "fail", "is in account 123456789012"),
        ("table", {"describe_table": {"Table": {"TableStatus": "CREATING"}}}, "fail", "table is CREATING"),
        ("table", {"describe_table": {"Table": {"TableStatus": "ACTIVE"}}}, "fail", "lacks the index runs"),
        ("table", {"describe_continuous_backups": {"ContinuousBackupsDescription": {}}}, "warn", "point-in-time"),
        (
            "queue",
            {"get_queue_attributes": {"Attributes": {"ApproximateNumberOfMessages": "1001"}}},
            "warn",
            "1001 ready",
        ),
        ("queue", {"get_queue_attributes": {"Attributes": {}}}, "fail", "no dead-letter queue of the app"),
        ("schedules", {"get_schedule_group": {"State": "DELETING"}}, "fail", "group group is DELETING"),
        (
            "blobs",
            {"head_bucket": ClientError({"Error": {"Code": "404", "Message": "gone"}}, "HeadBucket")},
            "fail",
            "gone",
        ),
        ("blobs", {"head_bucket": EndpointConnectionError(endpoint_url="https://s3")}, "fail", "https://s3"),
    ],
)
def test_what_is_amiss_is_told_with_a_mend(
    check: str, answers: dict[str, Any], state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a failure where runs suffer."""
    (found,) = [one for one in findings(check, monkeypatch, **answers) if words in one.text]
    assert (found.state, bool(found.mend)) == (state, True)


def test_a_check_that_fails_keeps_no_other_from_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that can be seen is seen."""
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeTable")
    silent = EndpointConnectionError(endpoint_url="https://scheduler")
    answers: dict[str, Any] = {"describe_table": denied, "get_schedule_group": silent}
    found = findings("table, schedules, blobs", monkeypatch, **answers)
    assert [(one.check, one.state) for one in found] == [("table", "unknown"), ("schedules", "fail"), ("blobs", "ok")]


def test_parked_runs_are_told_by_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """They need a person; an app whose functions are not known is not asked."""

    def listed(*, status: str, limit: int) -> Any:
        names = ("pay", "pay", "refund") if (status, limit) == ("PARKED", 100) else ()
        return SimpleNamespace(runs=[SimpleNamespace(function_id=name) for name in names])

    operations = SimpleNamespace(list_runs=listed)
    monkeypatch.setattr(doctor, "_CHECKS", {"runs": doctor._CHECKS["runs"]})
    for function_ids, told in ((("pay", "refund"), [("warn", "3 are parked: pay, refund")]), ((), [])):
        account = SimpleNamespace(operations=operations, found=SimpleNamespace(function_ids=function_ids))
        assert [(one.state, one.text) for one in doctor.examine(cast("Account", account))] == told


def test_an_account_with_few_invocations_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """As new ones have."""
    (found,) = findings(
        "quotas", monkeypatch, get_account_settings={"AccountLimit": {"UnreservedConcurrentExecutions": 10}}
    )
    assert (found.state, "Service Quotas" in found.mend) == ("warn", True)


def test_what_may_not_be_seen_is_unknown_and_what_is_not_there_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first names the call to be allowed."""
    denied = ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetAccountSettings")
    (found,) = findings("quotas", monkeypatch, get_account_settings=denied)
    assert (found.state, found.mend) == ("unknown", "allow these credentials the call GetAccountSettings")
    gone = ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "gone"}}, "GetAccountSettings")
    (found,) = findings("quotas", monkeypatch, get_account_settings=gone)
    assert (found.state, "gone" in found.text) == ("fail", True)
