"""What users do with a deployed app, on an emulator that enforces IAM and TLS.

The order counts: what takes minutes is begun first, the outage comes after all other stories, and last the end.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from stepbridge import Client
from tests.e2e.deployment import STACKS, Deployment
from tests.e2e.emulator import Emulator, run, until


def test_an_order_is_fulfilled_when_it_is_paid(deployed: Deployment, begun: dict[str, str]) -> None:
    """Wait by event, then an invoke across apps, over the bus both ways."""
    created = deployed.put("order/created", {"orderId": "o-1"})
    run = deployed.run_of("Desk", "fulfil-order", created, "SLEEPING")
    until(lambda: Client(stack="Desk").get_run(run.run_id).steps["wait-payment"], "the wait is armed")
    deployed.put("payment/completed", {"orderId": "o-2", "cents": 1})
    deployed.put("payment/completed", {"orderId": "o-1", "cents": 900})
    run = deployed.run_of("Desk", "fulfil-order", created, "COMPLETED")
    assert run.output == {"status": "fulfilled", "cents": 900, "parcel": {"from": "shelf of o-1"}}
    assert [step.step_id for step in run.steps.values()] == ["create-order", "wait-payment", "pick"]


def test_an_event_reaches_every_app_of_the_bus(deployed: Deployment, begun: dict[str, str]) -> None:
    """Each by its own rule, queue and dispatcher."""
    created = deployed.put("order/created", {"orderId": "o-3"})
    assert deployed.run_of("Depot", "reserve", created, "COMPLETED").output == "shelf of o-3"
    assert deployed.run_of("Desk", "fulfil-order", created, "SLEEPING").event.data == {"orderId": "o-3"}


def test_a_function_invokes_another(deployed: Deployment, begun: dict[str, str]) -> None:
    """A plain `def` handler, and a child run."""
    asked = deployed.put("quote/asked", {"pieces": 2})
    assert deployed.run_of("Desk", "quote", asked, "COMPLETED").output == 84


def test_items_are_worked_on_in_invocations_of_their_own(deployed: Deployment, begun: dict[str, str]) -> None:
    """Fan-out and join, on as many processes as the emulator starts."""
    asked = deployed.put("squares/asked", {"count": 25})
    assert deployed.run_of("Desk", "squares", asked, "COMPLETED", seconds=90).output == [n * n for n in range(25)]


def test_a_large_value_goes_by_the_bucket(deployed: Deployment, begun: dict[str, str]) -> None:
    """Written with `If-None-Match`, read in the next invocation."""
    asked = deployed.put("large/asked", {})
    assert deployed.run_of("Desk", "large", asked, "COMPLETED").output > 100_000
    objects = deployed.emulator.aws("s3api", "list-objects-v2", bucket=deployed.output("Desk", "BlobsBucket"))
    assert [one["Key"].startswith("desk/") for one in objects["Contents"]] == [True]


def test_a_run_that_sleeps_wakes_in_the_new_code(deployed: Deployment, begun: dict[str, str]) -> None:
    """An update: what is recorded stands; the other app, whose code is the same, is not touched."""
    asleep = deployed.run_of("Desk", "nap", begun["nap"], "SLEEPING")
    before = _code_of(deployed, "Depot")
    code = deployed.project / "desk.py"
    code.write_text(code.read_text().replace("RELEASE = 1", "RELEASE = 2"))
    assert "Depot (no changes)" in deployed.deploy().replace("✅  ", "")
    assert Client(stack="Desk").get_run(asleep.run_id).status == "SLEEPING"
    woken = deployed.run_of("Desk", "nap", begun["nap"], "COMPLETED", seconds=150)
    assert woken.run_id == asleep.run_id
    assert woken.output == {"before": 1, "after": 2}
    assert _code_of(deployed, "Depot") == before


def test_the_commands_send_and_show(deployed: Deployment, begun: dict[str, str]) -> None:
    """`stepbridge ... --stack`, as the clerk."""
    sent = _stepbridge("send", "quote/asked", json.dumps({"pieces": 4}), "--id", "by-command")
    assert sent["id"] == "by-command"
    quoted = deployed.run_of("Desk", "quote", "by-command", "COMPLETED")
    listed = _stepbridge("runs", "list", "--function", "quote", "--status", "COMPLETED")
    assert quoted.run_id in {row["run_id"] for row in listed["runs"]}
    assert _stepbridge("runs", "show", quoted.run_id)["output"] == 168


def _stepbridge(*arguments: str) -> Any:
    command = (sys.executable, "-m", "stepbridge.cli", *arguments, "--stack", "Desk", "--json")
    return json.loads(run(*command, environment=os.environ))


def test_who_has_the_client_reads_and_asks_but_does_not_write(deployed: Deployment, begun: dict[str, str]) -> None:
    """boto3 under `grant_client`: the run's records can be read, and not be changed."""
    created = deployed.put("order/created", {"orderId": "o-5"})
    run = deployed.run_of("Desk", "fulfil-order", created, "SLEEPING")
    table = boto3.resource("dynamodb").Table(deployed.output("Desk", "Table"))
    head = {"pk": f"R#{run.run_id}", "sk": "#"}
    assert table.get_item(Key=head, ConsistentRead=True)["Item"]["fn"] == "fulfil-order"
    with pytest.raises(ClientError, match="AccessDenied"):
        table.delete_item(Key=head)
    Client(stack="Desk").cancel(run.run_id)
    assert deployed.run_of("Desk", "fulfil-order", created, "CANCELLED").run_id == run.run_id


def _code_of(deployed: Deployment, stack: str) -> str:
    name = deployed.resource(stack, "AWS::Lambda::Function", "Dispatcher")
    return str(deployed.emulator.aws("lambda", "get-function", function_name=name)["Configuration"]["CodeSha256"])


def test_an_order_that_nobody_pays_is_cancelled(deployed: Deployment, begun: dict[str, str]) -> None:
    """A timeout above two minutes is a schedule: it fires, and deletes itself."""
    run = deployed.run_of("Desk", "fulfil-order", begun["fulfil-order"], "COMPLETED", seconds=180)
    assert run.output == {"status": "never-paid is cancelled"}
    assert run.started_at is not None
    assert run.ended_at is not None
    assert 125 <= (run.ended_at - run.started_at).total_seconds() < 160


def test_a_cron_starts_a_run_a_minute(deployed: Deployment, begun: dict[str, str]) -> None:
    """By its schedule; minutes have passed since it was deployed."""
    client = Client(stack="Desk")
    runs = until(lambda: client.list_runs("heartbeat", "COMPLETED").runs, "a heartbeat", seconds=90)
    minutes = {datetime.fromisoformat(str(client.get_run(run.run_id).output)) for run in runs}
    assert len(minutes) == len(runs)
    assert {minute.second for minute in minutes} == {0}


def test_an_app_that_fails_is_its_own_affair(deployed: Deployment, begun: dict[str, str]) -> None:
    """The depot loses its table: the desk goes on, the depot's messages come back and end as dead letters.

    Redriven once it is mended, they do what they were to do.
    """
    url, dead = (deployed.output("Depot", name) for name in ("QueueUrl", "DlqUrl"))
    table = f"arn:aws:dynamodb:*:*:table/{deployed.output('Depot', 'Table')}"
    policy = {"deadLetterTargetArn": deployed.output("Depot", "DlqArn"), "maxReceiveCount": "2"}  # not 100, for haste
    root = deployed.emulator
    root.aws("sqs", "set-queue-attributes", queue_url=url, attributes={"RedrivePolicy": json.dumps(policy)})
    deployed.allow(deployed.role_of("Depot"), "outage", "Deny", ["dynamodb:*"], table)
    created = deployed.put("order/created", {"orderId": "o-4"})
    asked = deployed.put("quote/asked", {"pieces": 3})
    assert deployed.run_of("Desk", "quote", asked, "COMPLETED").output == 126
    assert deployed.run_of("Desk", "fulfil-order", created, "SLEEPING").event.data == {"orderId": "o-4"}
    letter = until(lambda: _received(root, dead), "a dead letter", seconds=90)
    assert Client(stack="Depot").list_runs("reserve", "RUNNING").runs == []
    root.aws("iam", "delete-role-policy", role_name=deployed.role_of("Depot"), policy_name="outage")
    root.aws("sqs", "send-message", queue_url=url, message_body=letter["Body"])
    assert deployed.run_of("Depot", "reserve", created, "COMPLETED").output == "shelf of o-4"


def _received(root: Emulator, url: str) -> Any:
    """A message of the queue, taken out of it; None: there is none."""
    answer = root.aws("sqs", "receive-message", queue_url=url, message_attribute_names="All")
    for letter in (answer or {}).get("Messages", []):
        root.aws("sqs", "delete-message", queue_url=url, receipt_handle=letter["ReceiptHandle"])
        return letter
    return None


def test_nothing_is_left_once_it_is_destroyed(deployed: Deployment) -> None:
    """The buckets are emptied by hand first, as the guide says; then no stack has a resource left."""
    for stack in STACKS:
        bucket = deployed.output(stack, "BlobsBucket")
        deployed.emulator.aws("s3", "rm", f"s3://{bucket}", "--recursive", "--quiet")
    deployed.emulator.cdk("destroy", "--all", "--force", project=deployed.project)
    assert [one for one in _resources(deployed.emulator) if one.startswith((*STACKS, "Shared", "clerk"))] == []


def _resources(root: Emulator) -> list[str]:
    """The names of all that can be listed, whosever it is."""
    queues = [url.rpartition("/")[2] for url in (root.aws("sqs", "list-queues") or {}).get("QueueUrls", [])]
    return [
        *queues,
        *root.aws("dynamodb", "list-tables")["TableNames"],
        *[one["FunctionName"] for one in root.aws("lambda", "list-functions")["Functions"]],
        *[one["Name"] for one in root.aws("events", "list-event-buses")["EventBuses"]],
        *[one["Name"] for one in root.aws("scheduler", "list-schedules")["Schedules"]],
        *[one["Name"] for one in root.aws("scheduler", "list-schedule-groups")["ScheduleGroups"]],
        *[one["RoleName"] for one in root.aws("iam", "list-roles")["Roles"]],
        *[one["AlarmName"] for one in root.aws("cloudwatch", "describe-alarms")["MetricAlarms"]],
        *[one["Name"].capitalize() for one in root.aws("s3api", "list-buckets")["Buckets"]],
    ]
