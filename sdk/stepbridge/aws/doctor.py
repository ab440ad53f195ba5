"""What is amiss with a deployed app, and the mend; everything is read, nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal

from botocore.exceptions import BotoCoreError, ClientError

from stepbridge.aws.account import Account
from stepbridge.aws.failures import Misconfigured, Unavailable, code_of
from stepbridge.aws.schema import definition

State = Literal["ok", "warn", "fail", "unknown"]
_MANY_WAITING: Final = 1_000
"""Messages that are ready and not received: the dispatcher does not keep up."""
_FEW_INVOCATIONS: Final = 50
"""Concurrent invocations that an account leaves for its functions: new accounts often have ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: What: `table`, `queue`, ...
        state: `unknown`: it could not be seen.
        text: What was found.
        mend: What to do; empty where it is fine.
    """

    check: str
    state: State
    text: str
    mend: str = ""


def examine(account: Account) -> Iterator[Finding]:
    """All findings, one check after the other; a check that AWS refuses is `unknown`, and names the permission."""
    for check, look in _CHECKS.items():
        try:
            for finding in look(account):
                yield Finding(check=check, state=finding[0], text=finding[1], mend=finding[2])
        except ClientError as error:
            yield _unseen(check, error)
        except (BotoCoreError, Misconfigured, Unavailable) as error:
            yield Finding(check=check, state="fail", text=str(error), mend="see to credentials, region and stack")


def _unseen(check: str, error: ClientError) -> Finding:
    if "Denied" in code_of(error) or "NotAuthorized" in code_of(error):
        call = f"the call {error.operation_name}"
        return Finding(check=check, state="unknown", text=f"{call} is refused", mend=f"allow these credentials {call}")
    return Finding(check=check, state="fail", text=str(error), mend="deploy the stack again, or correct what it names")


_Found = tuple[State, str, str]


def _credentials(account: Account) -> Iterator[_Found]:
    who = account.clients.other("sts").get_caller_identity()
    yield "ok", f"{who['Arn']} in account {who['Account']}", ""
    ours = account.found.settings.queue_arn.split(":")[4]
    if who["Account"] != ours:
        yield "fail", f"the app is in account {ours}", "use credentials of that account: --profile"


def _table(account: Account) -> Iterator[_Found]:
    name = account.found.settings.table
    client = account.clients.dynamodb()
    table = client.describe_table(TableName=name)["Table"]
    state, wanted = table["TableStatus"], definition(name)
    yield (
        ("ok", f"{name} is {state}", "") if state == "ACTIVE" else ("fail", f"{name} is {state}", "wait, or deploy it")
    )
    indexes = {one["IndexName"] for one in table.get("GlobalSecondaryIndexes", [])}
    missing = {str(one["IndexName"]) for one in wanted.get("GlobalSecondaryIndexes", [])} - indexes
    if missing:
        yield "fail", f"{name} lacks the index {', '.join(sorted(missing))}", "deploy with this release of stepbridge"
    backups = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    if backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") != "ENABLED":
        yield "warn", f"{name} has no point-in-time recovery", "turn it on: a deleted table is every run's history"


def _queue(account: Account) -> Iterator[_Found]:
    settings, client = account.found.settings, account.clients.sqs()
    answer = client.get_queue_attributes(QueueUrl=settings.queue_url, AttributeNames=["All"])
    held: Any = answer["Attributes"]
    ready, flying, late = (
        int(held.get(f"ApproximateNumberOfMessages{kind}", 0)) for kind in ("", "NotVisible", "Delayed")
    )
    depth = f"{ready} ready, {flying} in hand, {late} delayed"
    slow = "see the dispatcher's errors and throttles; raise its concurrency"
    yield ("warn", depth, slow) if ready > _MANY_WAITING else ("ok", depth, "")
    target = json.loads(held.get("RedrivePolicy", "{}")).get("deadLetterTargetArn")
    if target != settings.dlq_arn:
        yield "fail", "messages that cannot be handled go to no dead-letter queue of the app", "deploy the stack again"


def _dead_letters(account: Account) -> Iterator[_Found]:
    settings = account.found.settings
    names: Any = ["ApproximateNumberOfMessages"]
    held = account.clients.sqs().get_queue_attributes(QueueUrl=settings.dlq_url, AttributeNames=names)["Attributes"]
    count = int(held["ApproximateNumberOfMessages"])
    mend = (
        "find out why by their attributes and the dispatcher's log, mend it, then: aws sqs start-message-move-task"
        f" --source-arn {settings.dlq_arn} --destination-arn {settings.queue_arn}"
    )
    yield ("fail", f"{count} messages", mend) if count else ("ok", "empty", "")


def _events(account: Account) -> Iterator[_Found]:
    settings, client = account.found.settings, account.clients.events()
    bus = settings.bus_arn.partition(":event-bus/")[2]
    client.describe_event_bus(Name=bus)  # by its name, as emulators want it
    names = client.list_rule_names_by_target(TargetArn=settings.queue_arn, EventBusName=bus)["RuleNames"]
    states = [client.describe_rule(Name=name, EventBusName=bus)["State"] for name in names]
    if "ENABLED" not in states:
        yield "fail", f"no enabled rule of the bus {bus} leads to the queue: events start nothing", "deploy the stack"
    else:
        yield "ok", f"the bus {bus} leads to the queue by {', '.join(names)}", ""


def _schedules(account: Account) -> Iterator[_Found]:
    settings, client = account.found.settings, account.clients.scheduler()
    state = client.get_schedule_group(Name=settings.schedule_group)["State"]
    if state != "ACTIVE":
        yield "fail", f"the group {settings.schedule_group} is {state}", "deploy the stack again: no timer fires"
        return
    page = client.list_schedules(GroupName=settings.schedule_group, MaxResults=100)
    count = f"{len(page['Schedules'])}{'+' if 'NextToken' in page else ''}"
    yield "ok", f"{count} armed in the group {settings.schedule_group}", ""


def _blobs(account: Account) -> Iterator[_Found]:
    bucket = account.found.settings.blobs_bucket
    account.clients.s3().head_bucket(Bucket=bucket)
    yield "ok", f"{bucket} can be reached", ""


def _dispatcher(account: Account) -> Iterator[_Found]:
    client = account.clients.other("lambda")
    mappings = client.list_event_source_mappings(EventSourceArn=account.found.settings.queue_arn)["EventSourceMappings"]
    if not mappings:
        yield "fail", "no function receives from the queue: runs stand still", "deploy the stack again"
    for one in mappings:
        name = one["FunctionArn"].rpartition(":function:")[2]
        state = one["State"]
        yield (
            ("ok" if state == "Enabled" else "fail"),
            f"{name} receives: {state}",
            "" if state == "Enabled" else "enable",
        )
        if "ReportBatchItemFailures" not in one.get("FunctionResponseTypes", []):
            yield "fail", f"{name} does not report single failures: messages are lost", "set ReportBatchItemFailures"
        yield from _versions(client, one["FunctionArn"], name, account)


def _versions(client: Any, arn: str, name: str, account: Account) -> Iterator[_Found]:
    deployed = client.get_function_configuration(FunctionName=arn)
    what = (deployed.get("Description"), deployed.get("Runtime", "image"), f"deployed {deployed['LastModified'][:19]}")
    yield "ok", f"{name}: {', '.join(one for one in what if one)}", ""
    held = deployed.get("Environment", {}).get("Variables", {})
    if held.get("STEPBRIDGE_TABLE", account.found.settings.table) != account.found.settings.table:
        yield "fail", f"{name} writes to {held['STEPBRIDGE_TABLE']}", "deploy the stack: outputs and function differ"
    loop = client.get_function_recursion_config(FunctionName=arn)["RecursiveLoop"]
    if loop != "Allow":
        yield "fail", f"{name}: Lambda ends its runs at about their sixteenth hop", "set RecursiveLoop to Allow"


def _quotas(account: Account) -> Iterator[_Found]:
    limits = account.clients.other("lambda").get_account_settings()["AccountLimit"]
    left = int(limits["UnreservedConcurrentExecutions"])
    few = "ask for more in Service Quotas: Lambda, concurrent executions"
    text = f"{left} concurrent invocations for functions without a reservation"
    yield ("warn", text, few) if left < _FEW_INVOCATIONS else ("ok", text, "")


def _runs(account: Account) -> Iterator[_Found]:
    if not account.found.function_ids:
        return
    parked = list(islice(account.operations.list_runs(status="PARKED", limit=100).runs, 100))
    names = ", ".join(sorted({run.function_id for run in parked}))
    mend = "see their errors, mend the code, then: stepbridge runs resume --status PARKED"
    yield ("warn", f"{len(parked)} are parked: {names}", mend) if parked else ("ok", "none is parked", "")


_CHECKS: Final[dict[str, Callable[[Account], Iterator[_Found]]]] = {
    "credentials": _credentials,
    "table": _table,
    "queue": _queue,
    "dead letters": _dead_letters,
    "events": _events,
    "schedules": _schedules,
    "blobs": _blobs,
    "dispatcher": _dispatcher,
    "quotas": _quotas,
    "runs": _runs,
}
