"""Least privilege: what roles and resource policies allow, and that it is what the adapters call."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import stepbridge.aws
from stepbridge.aws import schema
from tests.infra.templates import Json, Template, actions_of, listed, written

pytestmark = pytest.mark.slow

POLLERS = {"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"}
LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}


def _inline(template: Template, part: str) -> list[Json]:
    (policy,) = template.one("IAM::Role", part)["Policies"]
    return list(policy["PolicyDocument"]["Statement"])


def _actions(statements: list[Json]) -> set[str]:
    return {action for statement in statements for action in actions_of(statement)}


def test_the_dispatcher_may_do_what_the_adapters_call(plain: Template) -> None:
    """Every permission that an adapter names when it calls, and no other; the rest is Lambda's own."""
    sources = [file.read_text() for file in Path(stepbridge.aws.__file__).parent.glob("*.py")]
    named = {
        found for text in sources for found in re.findall(r"\b(?:dynamodb|events|iam|s3|scheduler|sqs):[A-Z]\w+", text)
    }
    assert _actions(_inline(plain, "DispatcherRole")) - POLLERS - LOGS == named


def test_no_role_has_a_policy_of_somebody_else(template: Template) -> None:
    """What a role may do is all in this template."""
    assert [one for one in template.all("IAM::Role") if "ManagedPolicyArns" in one] == []
    assert template.all("IAM::ManagedPolicy") == []


def test_no_statement_allows_every_action(template: Template) -> None:
    """No `*`, whole or in part, but in the account's own power over its key and what CloudWatch Logs asks of it."""
    wide = [
        (action, statement["Principal"])
        for name, statement in template.statements()
        if statement["Effect"] == "Allow"
        for action in actions_of(statement)
        if "*" in action and not name.startswith("Key")
    ]
    assert wide == []


def test_roles_reach_the_apps_resources_only(template: Template) -> None:
    """No resource is `*`; those that end so lie within one of the app's own."""
    resources = [
        written(resource)
        for one in template.all("IAM::Role")
        for policy in one.get("Policies", [])
        for statement in policy["PolicyDocument"]["Statement"]
        for resource in listed(statement["Resource"])
    ]
    open_ended = sorted(one.rpartition(":")[2].rpartition("]}")[2] for one in resources if one.endswith("*"))
    group, app = template.one("Scheduler::ScheduleGroup")["Name"], "shop" if "Shop" in resources[0] else "wares"
    assert open_ended == [f"/{app}/*", f"schedule/{group}/*"]


def test_only_scheduler_gets_the_timers_role(plain: Template) -> None:
    """Passed to Scheduler and nobody else; assumed for this group of this account; sends to two queues."""
    (passed,) = [one for one in _inline(plain, "DispatcherRole") if "iam:PassRole" in actions_of(one)]
    assert passed["Resource"] == plain.arn("IAM::Role", "TimersRole")
    assert passed["Condition"] == {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}
    (trust,) = plain.one("IAM::Role", "TimersRole")["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"] == {
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}},
        "ArnEquals": {"aws:SourceArn": plain.arn("Scheduler::ScheduleGroup")},
    }
    (send,) = _inline(plain, "TimersRole")
    assert actions_of(send) == ["sqs:SendMessage"]
    assert send["Resource"] == [plain.arn("SQS::Queue", "QueuesQueue"), plain.arn("SQS::Queue", "DeadLetters")]


def test_services_act_for_this_app_only(template: Template) -> None:
    """Whatever lets EventBridge, Scheduler or Logs in says on whose behalf (confused deputy)."""
    allowed = [
        statement
        for _, statement in template.statements()
        if statement["Effect"] == "Allow" and "lambda" not in str(statement.get("Principal", "lambda"))
    ]
    services = [one for one in allowed if "Service" in one["Principal"]]
    assert len(services) > 2
    assert [one for one in services if "Source" not in str(one.get("Condition")) and "logs:arn" not in str(one)] == []


def test_rules_and_nobody_else_put_into_the_queues(template: Template) -> None:
    """The rules' ARNs are the condition; a bus under a customer key may put what it cannot encrypt aside too."""
    rules = [{"Fn::GetAtt": [name, "Arn"]} for name in template.named("Events::Rule")]
    buses = [template.arn("Events::EventBus")] if template.all("KMS::Key") else []
    for part, sources in (("QueuesQueuePolicy", rules), ("DeadLettersPolicy", [*rules, *buses])):
        _, send = template.one("SQS::QueuePolicy", part)["PolicyDocument"]["Statement"]
        assert send["Principal"] == {"Service": "events.amazonaws.com"}
        assert send["Action"] == "sqs:SendMessage"
        assert listed(send["Condition"]["ArnEquals"]["aws:SourceArn"]) == sources


def test_nothing_is_taken_without_tls(template: Template) -> None:
    """Each queue and the bucket refuse plain HTTP."""
    policies = [*template.all("SQS::QueuePolicy"), *template.all("S3::BucketPolicy")]
    refusals = [policy["PolicyDocument"]["Statement"][0] for policy in policies]
    assert len(refusals) == 3
    assert {one["Effect"] for one in refusals} == {"Deny"}
    assert [one["Condition"] for one in refusals] == [{"Bool": {"aws:SecureTransport": "false"}}] * 3


def test_all_is_encrypted_at_rest(plain: Template) -> None:
    """By keys of AWS, where no other is given. DynamoDB, EventBridge and Logs always do."""
    assert {queue["SqsManagedSseEnabled"] for queue in plain.all("SQS::Queue")} == {True}
    assert "AES256" in str(plain.one("S3::Bucket")["BucketEncryption"])


def test_one_customer_key_goes_through_every_part(full: Template) -> None:
    """Table, queues, bucket, bus, logs, environment, crons and the runs' schedules, under the one key."""
    key = full.arn("KMS::Key")
    assert {str(queue["KmsMasterKeyId"]) for queue in full.all("SQS::Queue")} == {str(key)}
    assert {str(one["KmsKeyArn"]) for one in full.all("Scheduler::Schedule")} == {str(key)}
    assert full.one("DynamoDB::Table")["SSESpecification"]["KMSMasterKeyId"] == key
    (rule,) = full.one("S3::Bucket")["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"KMSMasterKeyID": key, "SSEAlgorithm": "aws:kms"}
    assert rule["BucketKeyEnabled"]  # else each blob is a request to KMS
    assert full.one("Events::EventBus")["KmsKeyIdentifier"] == key
    assert full.one("Logs::LogGroup")["KmsKeyId"] == key
    assert full.one("Lambda::Function")["KmsKeyArn"] == key
    assert full.one("Lambda::Function")["Environment"]["Variables"]["STEPBRIDGE_KMS_KEY_ARN"] == key


def _let_in(template: Template, service: str) -> Json:
    """What the key's policy lets a service do on behalf of many: CDK adds a statement for the bus alone."""
    found = [one for name, one in template.statements() if name.startswith("Key") and service in str(one["Principal"])]
    (wide,) = [one for one in found if "ArnLike" in one["Condition"]]
    return wide


def test_the_keys_policy_lets_in_whom_the_services_act_for(full: Template) -> None:
    """EventBridge for this account's rules and buses, CloudWatch Logs for its log groups; nobody else by itself."""
    events, logs = _let_in(full, "events.amazonaws.com"), _let_in(full, "logs.")
    assert set(actions_of(events)) == {"kms:Decrypt", "kms:GenerateDataKey"}
    assert events["Condition"]["StringEquals"] == {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}
    sources = [written(one).rpartition(":")[2] for one in events["Condition"]["ArnLike"]["aws:SourceArn"]]
    assert sources == ["rule/*", "event-bus/*"]
    assert logs["Principal"]["Service"] == {"Fn::Join": ["", ["logs.", {"Ref": "AWS::Region"}, ".amazonaws.com"]]}
    assert {one.partition(":")[2].rstrip("*") for one in actions_of(logs)} == {
        *("Decrypt", "DescribeKey", "Encrypt", "GenerateDataKey", "ReEncrypt"),
    }
    (groups,) = logs["Condition"]["ArnLike"].values()
    assert written(groups).endswith(":log-group:*")


def test_scheduler_may_use_the_key_for_what_it_sends(full: Template) -> None:
    """The key of the queues, and for nothing else."""
    (send, use) = _inline(full, "TimersRole")
    assert actions_of(send) == ["sqs:SendMessage"]
    assert (set(actions_of(use)), use["Resource"]) == ({"kms:Decrypt", "kms:GenerateDataKey"}, full.arn("KMS::Key"))


def test_the_key_is_used_through_the_apps_services(full: Template) -> None:
    """The dispatcher cannot decrypt by itself what they keep."""
    (use,) = [one for one in _inline(full, "DispatcherRole") if one["Sid"] == "Key"]
    assert use["Resource"] == full.arn("KMS::Key")
    through = [written(one) for one in use["Condition"]["StringEquals"]["kms:ViaService"]]
    assert [one.partition(".")[0] for one in through] == ["dynamodb", "s3", "scheduler", "sqs"]


def test_step_data_is_sealed_under_the_keys_given(full: Template, plain: Template) -> None:
    """Data keys are made and unwrapped for nothing else, by dispatcher and client; the dispatcher is told which key."""
    key, only = full.arn("KMS::Key"), {"StringEquals": {"kms:EncryptionContext:stepbridge": "data-key"}}
    client = [one for name, one in full.statements() if name.startswith("ClientDefaultPolicy")]
    for statements in (_inline(full, "DispatcherRole"), client):
        found = {one["Sid"]: one for one in statements if one.get("Condition") == only}
        assert {sid: (one["Action"], one["Resource"]) for sid, one in found.items()} == {
            "SealStepData": ("kms:GenerateDataKey", key),
            "OpenStepData": ("kms:Decrypt", key),
        }
    variables = full.one("Lambda::Function")["Environment"]["Variables"]
    assert variables["STEPBRIDGE_ENCRYPTION_KEYS"] == key
    assert "STEPBRIDGE_ENCRYPTION_KEYS" not in plain.one("Lambda::Function")["Environment"]["Variables"]
    assert not any("kms" in action for action in _actions(_inline(plain, "DispatcherRole")))


def test_a_key_of_before_opens_step_data_and_seals_none(tmp_path: Path, quick_cdk: None) -> None:
    """The first key seals, all of them open, in the order in which the dispatcher is told."""
    from tests.infra.stacks import rotated

    new, old = (f"arn:aws:kms:eu-west-1:123456789012:key/{name}" for name in ("new", "old"))
    template = rotated(tmp_path, new, old)
    found = {one.get("Sid"): one["Resource"] for one in _inline(template, "DispatcherRole")}
    assert (found["SealStepData"], found["OpenStepData"]) == (new, [new, old])
    variables = template.one("Lambda::Function")["Environment"]["Variables"]
    assert variables["STEPBRIDGE_ENCRYPTION_KEYS"] == f"{new},{old}"


def test_a_client_reads_and_asks_but_does_not_decide(full: Template) -> None:
    """No update, no delete, no taking from the queue; the run list is its alone."""
    statements = [one for name, one in full.statements() if name.startswith("ClientDefaultPolicy")]
    assert _actions(statements) - {one for one in _actions(statements) if one.startswith("kms:")} == {
        *("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "events:PutEvents"),
        *("s3:GetObject", "s3:PutObject", "s3:ListBucket", "sqs:SendMessage", "cloudformation:DescribeStacks"),
    }
    assert any(written(one["Resource"]).endswith(f"/index/{schema.INDEX}") for one in statements)
