"""What `doctor` says of a dispatcher, an account and a refusal; the rest is shown against moto."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

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
}


class Lambda:
    """Answers as told; an exception is raised."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        def answer(**_given: object) -> Any:
            if isinstance(self._answers[name], Exception):
                raise self._answers[name]
            return self._answers[name]

        return answer


def findings(check: str, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> list[doctor.Finding]:
    """Of one check, against a Lambda that answers so."""
    clients = SimpleNamespace(other=lambda _service: Lambda(GOOD | answers))
    account = cast("Account", SimpleNamespace(clients=clients, found=SimpleNamespace(settings=SETTINGS)))
    monkeypatch.setattr(doctor, "_CHECKS", {check: doctor._CHECKS[check]})
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
