"""Laws of DESIGN.md that live in infrastructure, and the data that adapters, local driver and stack share."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from functions.shop import app as shop
from stepbridge.aws import schema, timers
from stepbridge.aws.observability import Observer
from stepbridge.aws.settings import Settings, variable
from stepbridge.cdk import numbers
from stepbridge.cdk.patterns import aws_pattern, own_pattern
from stepbridge.core import limits
from stepbridge.core.cron import parse_cron
from stepbridge.core.messages import Tick, work_of
from stepbridge.core.records import Status
from stepbridge.local import moto_stack
from tests.infra.project.wares import app as wares
from tests.infra.templates import Json, Template

pytestmark = pytest.mark.slow


RETRIES = {"MaximumRetryAttempts": timers.RETRIES, "MaximumEventAgeInSeconds": timers.RETRY_SECONDS}


# -- dispatcher ------------------------------------------------------------------------------------
def test_lambda_does_not_stop_a_run_that_goes_on_by_its_own_queue(template: Template) -> None:
    """Law: without ALLOW, Lambda drops a run at about its sixteenth hop."""
    assert template.one("Lambda::Function")["RecursiveLoop"] == "Allow"


def test_only_the_messages_that_must_come_back_do(template: Template) -> None:
    """The mapping reads the handler's partial batch response."""
    mapping = template.one("Lambda::EventSourceMapping")
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["EventSourceArn"] == template.arn("SQS::Queue", "QueuesQueue")


def test_a_message_stays_hidden_until_its_lease_has_ended(template: Template) -> None:
    """Law 5: the lease outlives the deadline; the message comes back after both."""
    visibility = template.one("SQS::Queue", "QueuesQueue")["VisibilityTimeout"]
    lease = timedelta(seconds=template.one("Lambda::Function")["Timeout"]) + limits.LEASE_MARGIN
    assert timedelta(seconds=visibility) > lease


def test_the_defaults_are_those_of_the_limits(plain: Template) -> None:
    """An invocation's time is written once, and so is the local driver's visibility."""
    assert plain.one("Lambda::Function")["Timeout"] == limits.INVOCATION.total_seconds()
    visibility = plain.one("SQS::Queue", "QueuesQueue")["VisibilityTimeout"]
    assert visibility == moto_stack.VISIBILITY.total_seconds()


def test_the_environment_is_what_the_settings_read(template: Template) -> None:
    """No variable too many, none too few, and each of the form that the code accepts."""
    given = template.one("Lambda::Function")["Environment"]["Variables"]
    own = set(Settings.__dataclass_fields__) - {"region", "endpoint_url"}  # the runtime's own, and an emulator's
    own -= set() if template.all("KMS::Key") else {"encryption_keys", "kms_key_arn", "narrow_rule"}
    assert set(given) == {variable(name) for name in own}
    Settings.from_environment({name: _deployed(name, value) for name, value in given.items()})


def _deployed(name: str, value: object) -> str:
    """A value as it could be once deployed."""
    arns = {
        "QUEUE_ARN": "sqs:eu-west-1:123456789012:queue",
        "DLQ_ARN": "sqs:eu-west-1:123456789012:dead",
        "BUS_ARN": "events:eu-west-1:123456789012:event-bus/bus",
        "SCHEDULER_ROLE_ARN": "iam::123456789012:role/timers",
        "ENCRYPTION_KEYS": "kms:eu-west-1:123456789012:key/8c2d",
        "KMS_KEY_ARN": "kms:eu-west-1:123456789012:key/1",
    }
    if isinstance(value, str):
        return value
    short = name.removeprefix("STEPBRIDGE_")
    return (
        f"arn:aws:{arns[short]}"
        if short in arns
        else {"QUEUE_URL": "https://q/1", "DLQ_URL": "https://q/2"}.get(short, "name")
    )


def test_the_machine_is_what_the_props_say(plain: Template, full: Template) -> None:
    """Defaults and their opposites."""
    names = ("Architectures", "MemorySize", "Timeout", "Runtime")
    assert [plain.one("Lambda::Function")[name] for name in names] == [["arm64"], 256, 120, "python3.14"]
    assert [full.one("Lambda::Function")[name] for name in names] == [["x86_64"], 512, 300, "python3.14"]
    assert "SnapStart" not in plain.one("Lambda::Function")
    assert full.one("Lambda::Function")["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert (plain.one("Lambda::EventSourceMapping")["BatchSize"], plain.all("Lambda::Alias")) == (1, [])
    mapping = full.one("Lambda::EventSourceMapping")
    assert (mapping["BatchSize"], mapping["ScalingConfig"]) == (10, {"MaximumConcurrency": 50})
    assert ":live" in str(mapping["FunctionName"])


def test_the_function_says_of_which_release_it_is(template: Template) -> None:
    """Of the package that synthesised it, which is the one in its asset."""
    assert template.one("Lambda::Function")["Description"] == f"dispatcher of stepbridge {version('stepbridge')}"


def test_logs_end(plain: Template, full: Template) -> None:
    """The log group is the stack's, with a retention; nothing makes one behind its back."""
    assert plain.one("Logs::LogGroup")["RetentionInDays"] == numbers.LOG_DAYS
    assert full.one("Logs::LogGroup")["RetentionInDays"] == 365
    logging = plain.one("Lambda::Function")["LoggingConfig"]
    assert logging == {"LogFormat": "JSON", "LogGroup": {"Ref": plain.id_of("Logs::LogGroup")}}


# -- queues ----------------------------------------------------------------------------------------
def test_bounces_do_not_bury_a_message(template: Template) -> None:
    """Bounces count as receives, so the redrive count is the engine's."""
    queue = template.one("SQS::Queue", "QueuesQueue")
    assert queue["RedrivePolicy"] == {
        "deadLetterTargetArn": template.arn("SQS::Queue", "DeadLetters"),
        "maxReceiveCount": limits.MAX_RECEIVES,
    }


def test_the_queue_is_nobodys_dead_letter_queue(template: Template) -> None:
    """Messages of strangers would be taken for the engine's."""
    assert template.one("SQS::Queue", "QueuesQueue")["RedriveAllowPolicy"] == {"redrivePermission": "denyAll"}


def test_whatever_ended_can_be_moved_back(full: Template) -> None:
    """SQS moves messages back only from a dead-letter queue of a queue: rules, crons, bus and queue share it."""
    dead = full.arn("SQS::Queue", "DeadLetters")
    assert len(full.all("SQS::Queue")) == 2
    assert full.one("SQS::Queue", "QueuesQueue")["RedrivePolicy"]["deadLetterTargetArn"] == dead
    assert full.one("Events::EventBus")["DeadLetterConfig"] == {"Arn": dead}
    targets = [target for rule in full.all("Events::Rule") for target in rule["Targets"]]
    targets += [schedule["Target"] for schedule in full.all("Scheduler::Schedule")]
    assert [one["DeadLetterConfig"]["Arn"] for one in targets] == [dead] * 4


def test_nothing_is_lost_before_somebody_can_look(template: Template) -> None:
    """All queues keep messages for as long as SQS can."""
    kept = {queue["MessageRetentionPeriod"] for queue in template.all("SQS::Queue")}
    assert kept == {limits.MESSAGE_RETENTION.total_seconds()} == {14 * 24 * 3600}


# -- state -----------------------------------------------------------------------------------------
def test_the_table_is_the_adapters(template: Template) -> None:
    """Keys, index and projection are those of `aws.schema`, by which the local table is made too."""
    table = template.one("DynamoDB::Table")
    wanted = schema.definition("")
    same = ("KeySchema", "GlobalSecondaryIndexes", "BillingMode", "AttributeDefinitions")
    assert {name: table[name] for name in same} == {name: wanted[name] for name in same}


def test_records_go_by_themselves_and_by_mistake_never(plain: Template, full: Template) -> None:
    """Time to live and point-in-time recovery always; protection unless it is to be destroyed."""
    for template in (plain, full):
        table = template.one("DynamoDB::Table")
        assert table["TimeToLiveSpecification"] == {"AttributeName": schema.TTL, "Enabled": True}
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert plain.one("DynamoDB::Table")["DeletionProtectionEnabled"]
    assert not full.one("DynamoDB::Table")["DeletionProtectionEnabled"]
    assert _policies(plain) == {"Retain"}
    assert _policies(full) == {"Delete"}


def _policies(template: Template) -> set[str]:
    kinds = {"AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::Logs::LogGroup"}
    kept = [one for one in template.resources.values() if one["Type"] in kinds]
    return {one[policy] for one in kept for policy in ("DeletionPolicy", "UpdateReplacePolicy")}


def test_a_blob_outlives_every_run_that_may_read_it(template: Template) -> None:
    """Written when the run began, read until its records go, which is when the dispatcher is told."""
    (rule,) = template.one("S3::Bucket")["LifecycleConfiguration"]["Rules"]
    days = int(template.one("Lambda::Function")["Environment"]["Variables"]["STEPBRIDGE_RETENTION_DAYS"])
    assert rule["ExpirationInDays"] == limits.RUN_MAX.days + days
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}


def test_records_stay_for_as_long_as_the_props_say(plain: Template, full: Template) -> None:
    """A month, or what is given."""
    name = "STEPBRIDGE_RETENTION_DAYS"
    days = [one.one("Lambda::Function")["Environment"]["Variables"][name] for one in (plain, full)]
    assert days == [str(limits.RETENTION.days), "90"]


def test_schedules_go_with_the_queue_that_they_send_to(template: Template) -> None:
    """Whatever becomes of table and bucket."""
    assert {one["DeletionPolicy"] for one in template.resources.values() if "ScheduleGroup" in one["Type"]} == {
        "Delete"
    }


def test_the_bucket_is_nobody_elses(template: Template) -> None:
    """No public access, no access lists, no versions of what is written once."""
    bucket = template.one("S3::Bucket")
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert "VersioningConfiguration" not in bucket


# -- bus -------------------------------------------------------------------------------------------
def test_the_rule_is_the_local_buses(plain: Template) -> None:
    """By default the pattern is `aws.schema`'s, which the local bus uses."""
    assert plain.one("Events::Rule")["EventPattern"] == own_pattern(shop, narrow=False) == schema.event_pattern(shop)


def test_rules_send_to_the_queue_and_lose_nothing(template: Template) -> None:
    """As many tries as EventBridge allows, then the dead-letter queue, which has an alarm."""
    for rule in template.all("Events::Rule"):
        (target,) = rule["Targets"]
        assert target["Arn"] == template.arn("SQS::Queue", "QueuesQueue")
        assert target["DeadLetterConfig"]["Arn"] == template.arn("SQS::Queue", "DeadLetters")
        assert target["RetryPolicy"] == RETRIES


def test_events_of_aws_come_from_the_default_bus(full: Template) -> None:
    """A second rule for triggers with `source="aws.…"`, and only for those."""
    own, default = full.one("Events::Rule", "RoutingRule"), full.one("Events::Rule", "AwsRule")
    assert own["EventPattern"] == own_pattern(wares, narrow=True)
    assert own["EventBusName"] == {"Ref": full.id_of("Events::EventBus")}
    assert default["EventPattern"] == aws_pattern(wares)
    assert "EventBusName" not in default


# -- timers ----------------------------------------------------------------------------------------
def test_crons_are_the_apps(plain: Template, full: Template) -> None:
    """Each trigger once, in its zone, to the queue, with the engine's own message."""
    found = {_cron(one): one for one in full.all("Scheduler::Schedule")}
    wanted = (parse_cron("0 9 * * MON-FRI", "Europe/Berlin"), parse_cron("*/5 * * * *"))
    assert set(found) == {(one.aws, one.timezone) for one in wanted}
    for one in found.values():
        assert one["GroupName"] == full.one("Scheduler::ScheduleGroup")["Name"]
        assert one["FlexibleTimeWindow"] == {"Mode": "OFF"}
        assert one["Target"]["RoleArn"] == full.arn("IAM::Role", "TimersRole")
        assert one["Target"]["RetryPolicy"] == RETRIES
        assert one["Target"]["Arn"] == full.arn("SQS::Queue", "QueuesQueue")
        assert one["Target"]["DeadLetterConfig"]["Arn"] == full.arn("SQS::Queue", "DeadLetters")
        told = one["Target"]["Input"].replace("<aws.scheduler.scheduled-time>", "2026-11-22T09:00:00Z")
        assert work_of(told) == Tick(function_id="count", at=datetime(2026, 11, 22, 9, tzinfo=UTC))
    assert plain.all("Scheduler::Schedule") == []


def _cron(schedule: Json) -> tuple[str, str]:
    return schedule["ScheduleExpression"], schedule["ScheduleExpressionTimezone"]


# -- bill ------------------------------------------------------------------------------------------
TAGGED = (
    *("DynamoDB::Table", "S3::Bucket", "SQS::Queue", "Events::EventBus", "Events::Rule", "Scheduler::ScheduleGroup"),
    *("Lambda::Function", "Logs::LogGroup", "CloudWatch::Alarm"),
)


def test_a_bill_can_be_split_by_app(plain: Template) -> None:
    """What costs something has the app's id as a tag; CloudFormation has none for dashboards and schedules."""
    tags = [one.get("Tags") for kind in TAGGED for one in plain.all(kind)]
    assert len(tags) > len(TAGGED)
    assert [one for one in tags if one != [{"Key": "stepbridge:app", "Value": "shop"}]] == []


# -- people ----------------------------------------------------------------------------------------
ALARMS = {
    *("DeadLetters", "OldestMessage", "Parked", "Errors", "Throttles"),
    *("TimerErrors", "TimersDropped", "TimersThrottled", "TableReads", "TableWrites", "IndexWrites"),
}


def test_every_alarm_says_what_to_do(plain: Template, full: Template) -> None:
    """One for each way to fail; silent while there is no data; told to the topic where there is one."""
    for template in (plain, full):
        alarms = template.named("CloudWatch::Alarm")
        assert {next(one for one in ALARMS if f"Watch{one}" in name) for name in alarms} == ALARMS
        assert all(len(one["AlarmDescription"]) > 40 for one in alarms.values())
        assert {one["TreatMissingData"] for one in alarms.values()} == {"notBreaching"}
    assert {str(one.get("AlarmActions")) for one in plain.all("CloudWatch::Alarm")} == {"None"}
    actions = [{"Ref": full.id_of("SNS::Topic")}]
    assert [one["AlarmActions"] for one in full.all("CloudWatch::Alarm")] == [actions] * len(ALARMS)


def _watched(template: Template) -> dict[str, tuple[object, ...]]:
    """What each alarm looks at, and when it rings."""
    found: dict[str, tuple[object, ...]] = {}
    for name, one in template.named("CloudWatch::Alarm").items():
        dimensions = {each["Name"]: each["Value"] for each in one.get("Dimensions", [])}
        rings = (one["Statistic"], one["Threshold"], one["EvaluationPeriods"])
        found[next(alarm for alarm in ALARMS if f"Watch{alarm}" in name)] = (one["MetricName"], dimensions, *rings)
    return found


def test_each_alarm_looks_at_what_its_name_says(plain: Template) -> None:
    """Once is enough but for what retries are for; a minute is a period."""
    dead = {"QueueName": {"Fn::GetAtt": [plain.id_of("SQS::Queue", "DeadLetters"), "QueueName"]}}
    queue = {"QueueName": {"Fn::GetAtt": [plain.id_of("SQS::Queue", "QueuesQueue"), "QueueName"]}}
    function = {"FunctionName": {"Ref": plain.id_of("Lambda::Function")}}
    group = {"ScheduleGroup": plain.one("Scheduler::ScheduleGroup")["Name"]}
    table = {"TableName": {"Ref": plain.id_of("DynamoDB::Table")}}
    oldest = limits.QUEUE_DELAY_MAX + limits.INVOCATION + limits.VISIBILITY_MARGIN
    assert _watched(plain) == {
        "DeadLetters": ("ApproximateNumberOfMessagesVisible", dead, "Maximum", 1, 1),
        "OldestMessage": ("ApproximateAgeOfOldestMessage", queue, "Maximum", oldest.total_seconds(), 5),
        "Parked": ("RunsParked", {"app": "shop"}, "Sum", 1, 1),
        "Errors": ("Errors", function, "Sum", 1, 1),
        "Throttles": ("Throttles", function, "Sum", 1, 3),
        "TimerErrors": ("TargetErrorCount", group, "Sum", 1, 1),
        "TimersDropped": ("InvocationDroppedCount", group, "Sum", 1, 1),
        "TimersThrottled": ("InvocationThrottleCount", group, "Sum", 1, 3),
        "TableReads": ("ReadThrottleEvents", table, "Sum", 1, 3),
        "TableWrites": ("WriteThrottleEvents", table, "Sum", 1, 3),
        "IndexWrites": ("WriteThrottleEvents", {**table, "GlobalSecondaryIndexName": schema.INDEX}, "Sum", 1, 3),
    }
    alarms = plain.all("CloudWatch::Alarm")
    assert {one["ComparisonOperator"] for one in alarms} == {"GreaterThanOrEqualToThreshold"}
    assert {one["Period"] for one in alarms} == {60}


def test_an_alarm_is_of_one_metric(template: Template) -> None:
    """It names its cause, and any emulator can make it."""
    assert [one for one in template.all("CloudWatch::Alarm") if "MetricName" not in one] == []


def test_the_alarm_of_parked_runs_reads_what_the_dispatcher_says(plain: Template) -> None:
    """The metric, the namespace and the dimensions of `aws.observability`."""
    alarm = plain.one("CloudWatch::Alarm", "WatchParked")
    said: list[str] = []
    observer = Observer("shop", said.append)
    observer.head_ended({"fn": "f", "st": Status.PARKED.value})
    observer.end()
    (line,) = map(json.loads, said)
    told = [
        (one["Namespace"], metric["Name"], sorted(names))
        for one in line["_aws"]["CloudWatchMetrics"]
        for names in one["Dimensions"]
        for metric in one["Metrics"]
    ]
    dimensions = {one["Name"]: one["Value"] for one in alarm["Dimensions"]}
    assert (alarm["Namespace"], alarm["MetricName"], sorted(dimensions)) in told
    assert all(line[name] == value for name, value in dimensions.items())


def test_a_delayed_message_is_no_alarm(template: Template) -> None:
    """Messages are as old as their delay by design, and come back once their visibility has ended."""
    visibility = template.one("SQS::Queue", "QueuesQueue")["VisibilityTimeout"]
    threshold = template.one("CloudWatch::Alarm", "OldestMessage")["Threshold"]
    assert threshold == limits.QUEUE_DELAY_MAX.total_seconds() + visibility


def test_a_client_learns_the_resources_from_the_outputs(plain: Template) -> None:
    """Every setting under a key that its name gives."""
    outputs = plain.body["Outputs"]
    variables = plain.one("Lambda::Function")["Environment"]["Variables"]
    own = {"StepbridgeShopApp", "StepbridgeShopFunctions"}
    assert {one["Description"]: one["Value"] for key, one in outputs.items() if key not in own} == variables
    assert outputs["StepbridgeShopApp"]["Value"] == "shop"
    assert json.loads(outputs["StepbridgeShopFunctions"]["Value"]) == list(shop.functions)
    assert outputs["StepbridgeShopQueueUrl"]["Value"] == {"Ref": plain.id_of("SQS::Queue", "QueuesQueue")}


def test_the_runbook_has_every_alarm(plain: Template) -> None:
    """And none that is not there."""
    page = (Path(__file__).parents[2] / "docs" / "operating.md").read_text()
    rows = page.partition("## Alarms")[2].partition("###")[0].splitlines()
    assert {row.split("`")[1] for row in rows if row.startswith("| `")} == ALARMS
    assert len(plain.all("CloudWatch::Alarm")) == len(ALARMS)
    assert f"{len(ALARMS)} alarms ${0.10 * len(ALARMS):.2f}" in page  # Source: AWS price list, CloudWatch, 2026-08
