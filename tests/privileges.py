"""Least privilege: what apps ask of AWS, as IAM sees it, held against the roles of the synthesised template."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from stepbridge.aws.clients import Clients
from stepbridge.aws.settings import Settings, variable
from stepbridge.local.moto import MotoStack
from stepbridge.local.moto_process import ACCOUNT, REGION, Counted, give_back
from tests.infra.templates import Json, Template, listed, templates_in

SERVICES = ("dynamodb", "events", "s3", "scheduler", "sqs")


@dataclass(frozen=True, slots=True)
class Asked:
    """One thing that IAM decides on."""

    action: str
    resource: str
    passed_to: str = ""
    """The service that gets the role, where one is passed."""


@dataclass(slots=True)
class Log:
    """What the handlers of apps on moto have asked for, by the tables of their stacks."""

    asked: dict[str, set[Asked]] = field(default_factory=dict)
    stacks: dict[str, MotoStack] = field(default_factory=dict)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Writes down what every stack that is made asks for, for as long as it has its clients."""
        made = MotoStack.__init__

        def init(stack: MotoStack, *arguments: Any, **keywords: Any) -> None:
            made(stack, *arguments, **keywords)
            self.stacks[stack.settings.table] = stack
            note_into(self.asked.setdefault(stack.settings.table, set()), stack.counted.clients)

        def back(counted: Counted) -> None:
            for service in (*SERVICES, "cloudformation"):
                events = getattr(counted.clients, service)().meta.events
                for name in ("before-parameter-build", "before-send"):
                    events.unregister(name, unique_id=f"privileges.{name}")
            give_back(counted)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MotoStack, "__init__", init)
            patch.setattr("stepbridge.local.moto.give_back", back)
            yield


def note_into(asked: set[Asked], clients: Clients) -> None:
    """Writes down what these clients ask for from now on."""

    def note(params: Mapping[str, Any], model: Any, **_: object) -> None:
        asked.update(asked_of(model.service_model.service_name, model.name, params))

    def note_sent(event_name: str, request: Any, **_: object) -> None:
        asked.update(asked_of("dynamodb", event_name.rpartition(".")[2], json.loads(request.body)))

    for service in (*SERVICES, "cloudformation"):
        events = getattr(clients, service)().meta.events
        if service == "dynamodb":  # whose calls are prepared, so that only what leaves is seen
            events.register("before-send", note_sent, unique_id="privileges.before-send")
        else:
            events.register("before-parameter-build", note, unique_id="privileges.before-parameter-build")


def asked_of(service: str, operation: str, params: Mapping[str, Any]) -> set[Asked]:
    """What a call needs. Source: Service Authorization Reference, 2026."""
    action = f"{service}:{operation.removesuffix('Batch')}"
    match service:
        case "dynamodb":
            index = f"/index/{params['IndexName']}" if "IndexName" in params else ""
            return {Asked(action, f"{_arn('dynamodb')}table/{params['TableName']}{index}")}
        case "sqs":
            return {Asked(action, _arn("sqs") + params["QueueUrl"].rpartition("/")[2])}
        case "events":
            return {Asked(action, entry["EventBusName"]) for entry in params["Entries"]}
        case "s3":
            return {Asked(action, f"arn:aws:s3:::{params['Bucket']}/{params['Key']}")}
        case "cloudformation":
            return {Asked(action, f"{_arn('cloudformation')}stack/{params['StackName']}/5f1c")}
        case "scheduler":
            asked = {Asked(action, f"{_arn('scheduler')}schedule/{params['GroupName']}/{params['Name']}")}
            role = params.get("Target", {}).get("RoleArn")
            return asked | ({Asked("iam:PassRole", role, "scheduler.amazonaws.com")} if role else set())
        case _:
            raise LookupError(f"{service}:{operation} is not known here")


def _arn(service: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:"


class Role:
    """Statements of a template, with the names that a stack in moto has in the place of the deployed ones."""

    def __init__(self, template: Template, statements: Sequence[Json], settings: Settings) -> None:
        self._names = _names(template, settings)
        self._written = {
            f"schedule/{template.one('Scheduler::ScheduleGroup')['Name']}/": f"schedule/{settings.schedule_group}/",
            f"/{template.one('Lambda::Function')['Environment']['Variables'][variable('blobs_prefix')]}*": (
                f"/{settings.blobs_prefix}*"
            ),
        }
        """Names that the template holds as texts."""
        self._statements = statements

    def granting(self, asked: Asked) -> set[tuple[str, str]]:
        """The statements, by their ids, and the action, that allow it; empty: it is refused."""
        return {(one["Sid"], asked.action) for one in self._statements if self._allows(one, asked)}

    def granted(self) -> set[tuple[str, str]]:
        """All that may be called."""
        return {(one["Sid"], action) for one in self._statements for action in listed(one["Action"])}

    @classmethod
    def of_dispatcher(cls, template: Template, settings: Settings) -> Role:
        """Nothing but its inline policy is attached to it."""
        (policy,) = template.one("IAM::Role", "DispatcherRole")["Policies"]
        return cls(template, policy["PolicyDocument"]["Statement"], settings)

    @classmethod
    def of_client(cls, template: Template, settings: Settings) -> Role:
        """What `grant_client` has given; its statements on keys are left out, which moto's services do not use."""
        policy = template.one("IAM::Policy", "ClientDefaultPolicy")
        given = [one for one in policy["PolicyDocument"]["Statement"] if not str(one["Action"]).count("kms:")]
        return cls(template, given, settings)

    def _allows(self, statement: Json, asked: Asked) -> bool:
        if statement["Effect"] != "Allow" or asked.action not in listed(statement["Action"]):
            return False
        wanted = statement.get("Condition", {"StringEquals": {"iam:PassedToService": asked.passed_to}})
        if wanted != {"StringEquals": {"iam:PassedToService": asked.passed_to}}:
            return False
        return any(fnmatchcase(asked.resource, self._resource(one)) for one in listed(statement["Resource"]))

    def _resource(self, value: Any) -> str:
        text = self._text(value)
        for written, own in self._written.items():
            text = text.replace(written, own)
        return text

    def _text(self, value: Any) -> str:
        match value:
            case str():
                return value
            case {"Fn::Join": [separator, parts]}:
                return str(separator).join(map(self._text, parts))
            case {"Fn::GetAtt": [name, "Arn"]}:
                return self._names[name]
            case {"Ref": name}:
                return self._names[name]
            case _:
                raise LookupError(f"{value} is not known here")


def _names(template: Template, settings: Settings) -> dict[str, str]:
    """What references of the template come to, by logical id."""
    return {
        "AWS::AccountId": ACCOUNT,
        "AWS::Partition": "aws",
        "AWS::Region": REGION,
        "AWS::StackName": "stack",
        template.id_of("DynamoDB::Table"): f"{_arn('dynamodb')}table/{settings.table}",
        template.id_of("SQS::Queue", "QueuesQueue"): settings.queue_arn,
        template.id_of("SQS::Queue", "DeadLetters"): settings.dlq_arn,
        template.id_of("Events::EventBus"): settings.bus_arn,
        template.id_of("IAM::Role", "TimersRole"): settings.scheduler_role_arn,
        template.id_of("S3::Bucket"): f"arn:aws:s3:::{settings.blobs_bucket}",
        template.id_of("Scheduler::ScheduleGroup"): settings.schedule_group,
        template.id_of("Logs::LogGroup"): f"{_arn('logs')}log-group:stack",
    }


def refused(log: Log, outdir: Path) -> list[Asked]:
    """What the dispatcher's role does not allow of all that was asked for; synthesises the example's stack."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CDK_VALIDATION", "false")
        patch.setenv("JSII_NODE", str(Path(sys.prefix, "bin", "node")))
        from tests.infra.stacks import synthesise

        template = templates_in(synthesise(outdir))["Plain"]
    found = []
    for table, asked in log.asked.items():
        role = Role.of_dispatcher(template, log.stacks[table].settings)
        found += [one for one in asked if not role.granting(one)]
    return found
