"""The project of two apps, deployed; and what a user asks of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from stepbridge import Client
from stepbridge.views import RunView
from tests.e2e.emulator import ACCOUNT, REGION, ROOT, Emulator, until

Json = dict[str, Any]
STACKS = ("Desk", "Depot")


class Deployment:
    """A copy of `project`, locked as this repository is, which the tests may change."""

    def __init__(self, emulator: Emulator, project: Path) -> None:
        self.emulator = emulator
        self.project = project
        shutil.copytree(Path(__file__).parent / "project", project, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "uv.lock"):
            shutil.copyfile(ROOT / name, project / name)

    # -- deploying ---------------------------------------------------------------------------------
    def bootstrap(self) -> None:
        """`cdk bootstrap`. The emulator's IAM does not know `aws:ResourceAccount`, by which CDK's role is bound."""
        self.emulator.cdk("bootstrap", project=self.project)
        role = f"cdk-hnb659fds-file-publishing-role-{ACCOUNT}-{REGION}"
        self.allow(role, "publish", "Allow", ["s3:*"], "*")

    def deploy(self, *stacks: str) -> str:
        """`cdk deploy`; then the roles get what the emulator's IAM asks for, and AWS's does not."""
        printed = self.emulator.cdk(
            "deploy", *(stacks or ["--all"]), "--require-approval", "never", project=self.project
        )
        for stack in STACKS:
            role = self.role_of(stack)
            # It takes every schedule for one of the group `default` ...
            schedules = f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/default/*"
            self.allow(role, "timers", "Allow", ["scheduler:CreateSchedule", "scheduler:DeleteSchedule"], schedules)
            # ... and a batch for an action of its own.
            self.allow(role, "batches", "Allow", ["sqs:SendMessageBatch"], self.output(stack, "QueueArn"))
        return printed

    def clerk(self) -> dict[str, str]:
        """`aws sts assume-role`: the environment of who has what `grant_client` grants, and nothing else."""
        role = f"arn:aws:iam::{ACCOUNT}:role/clerk"
        found = self.emulator.aws("sts", "assume-role", role_arn=role, role_session_name="e2e")["Credentials"]
        names = {
            "AccessKeyId": "ACCESS_KEY_ID",
            "SecretAccessKey": "SECRET_ACCESS_KEY",  # pragma: allowlist secret
            "SessionToken": "SESSION_TOKEN",
        }
        return {f"AWS_{name}": str(found[key]) for key, name in names.items()}

    def allow(self, role: str, name: str, effect: str, actions: list[str], resource: str) -> None:
        """`aws iam put-role-policy`."""
        statement = {"Effect": effect, "Action": actions, "Resource": resource}
        document = {"Version": "2012-10-17", "Statement": [statement]}
        self.emulator.aws("iam", "put-role-policy", role_name=role, policy_name=name, policy_document=document)

    def role_of(self, stack: str) -> str:
        """The name of the dispatcher's role."""
        return self.resource(stack, "AWS::IAM::Role", "DispatcherRole")

    def resource(self, stack: str, kind: str, part: str) -> str:
        """The physical id of the one resource of this kind."""
        (found,) = [
            str(one["PhysicalResourceId"])
            for one in self.emulator.aws("cloudformation", "list-stack-resources", stack_name=stack)[
                "StackResourceSummaries"
            ]
            if one["ResourceType"] == kind and part in one["LogicalResourceId"]
        ]
        return found

    def output(self, stack: str, setting: str) -> str:
        """Of a stack, as the CLI prints it."""
        (found,) = self.emulator.aws("cloudformation", "describe-stacks", stack_name=stack)["Stacks"]
        values = {one["OutputKey"]: str(one["OutputValue"]) for one in found["Outputs"]}
        return values[f"Stepbridge{stack}{setting}"]

    # -- using -------------------------------------------------------------------------------------
    def put(self, name: str, data: Json) -> str:
        """`aws events put-events`; the event's id."""
        entry = {"EventBusName": self.output("Desk", "BusArn"), "Source": "e2e", "DetailType": name}
        answer = self.emulator.aws("events", "put-events", entries=[{**entry, "Detail": json.dumps(data)}])
        assert answer["FailedEntryCount"] == 0
        return str(answer["Entries"][0]["EventId"])

    def run_of(self, stack: str, function_id: str, event_id: str, status: str, *, seconds: float = 60) -> RunView:
        """The run that the event has started, once it is of this status."""
        client = Client(stack=stack)

        def look() -> RunView | None:
            found = [run for run in client.list_runs(function_id).runs if run.event.id == event_id]
            assert len(found) < 2
            run = client.get_run(found[0].run_id) if found else None
            return run if run is not None and run.status == status else None

        found = until(look, f"{function_id} of {stack} is {status}", seconds=seconds)
        assert found is not None
        return found
