"""What the stack tells the code, in one typed object; alone here in reading the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from stepbridge.core.limits import RETENTION
from stepbridge.errors import ConfigError


def variable(name: str) -> str:
    """The environment variable of the setting `name`."""
    return f"STEPBRIDGE_{name.upper()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One app's resources, each from `STEPBRIDGE_` and its name in capitals."""

    table: str
    """Name of the DynamoDB table."""
    queue_url: str
    queue_arn: str
    dlq_url: str
    dlq_arn: str
    """Of the dead-letter queue."""
    bus_arn: str
    """Never the bus's name: EventBridge accepts events for a name that it does not know, and drops
    them. Source: an EventBridge pattern note, 2026-10."""
    schedule_group: str
    scheduler_role_arn: str
    """Assumed by Scheduler to send to the queue."""
    blobs_bucket: str
    blobs_prefix: str = ""
    """Put before every key as it is, `shop/` say."""
    encryption_keys: str = ""
    """ARNs of KMS keys, with commas: the first seals step data at rest, all of them open it. Empty: it is not sealed
    by stepbridge, only by what the resources have."""
    kms_key_arn: str | None = None
    """Encrypts the runs' schedules; None: a key of AWS."""
    narrow_rule: bool = False
    """Only declared events come to the queue: a wait for another one would wait for nothing, so it is refused."""
    retention_days: int = RETENTION.days
    """How long records stay after a run's end."""
    region: str | None = None
    """`AWS_REGION` and `AWS_DEFAULT_REGION` stand in for it; None: the profile's."""
    endpoint_url: str | None = None
    """Of an emulator; None: AWS, or what `AWS_ENDPOINT_URL` says."""
    log_level: str = "INFO"
    """Of the engine's log and `ctx.logger`; `AWS_LAMBDA_LOG_LEVEL` stands in for it."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """The settings that `environ` holds; an empty variable counts as one that is not set.

        Raises:
            ConfigError: Some are missing or wrong; names every one of them, and the mend.
        """
        given = {field.name: environ.get(variable(field.name), "") for field in fields(cls)}
        given["region"] = given["region"] or region_of(environ) or ""
        given["log_level"] = given["log_level"] or _LAMBDA_LEVELS.get(environ.get("AWS_LAMBDA_LOG_LEVEL", ""), "")
        if wrong := [text for name, value in given.items() if (text := _complaint(name, value))]:
            raise ConfigError(
                "stepbridge cannot start on AWS: "
                + "; ".join(wrong)
                + ". Mend: deploy with stepbridge.cdk, which sets them, or set them yourself."
            )
        return cls.of(given)

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Settings:
        """The settings that these texts say, by their names; an empty one counts as one that is not there.

        Raises:
            TypeError: One is missing.
            ValueError: A number is none.
        """
        texts: dict[str, Any] = {name: value for name, value in given.items() if value}
        numbers = {name: int(texts[name]) for name in ("retention_days",) if name in texts}
        return cls(**{**texts, **numbers, "narrow_rule": "narrow_rule" in texts})

    def texts(self) -> dict[str, str]:
        """What `of` reads, by their names; what is not set is left out."""
        return {name: str(value) for name, value in asdict(self).items() if value not in {None, "", False}}


def region_of(environ: Mapping[str, str] = os.environ) -> str | None:
    """The region that the environment names; None: it names none. botocore itself does not read `AWS_REGION`."""
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None


def _complaint(name: str, value: str) -> str:
    what, form = _FORMS[name]
    if not value:
        return "" if name in _OPTIONAL else f"{variable(name)} is not set"
    if re.fullmatch(form, value, re.ASCII):
        return ""
    return f"{variable(name)} is {value!r}, which is not {what}"


def _arn(service: str, resource: str) -> str:
    return rf"arn:aws[a-z-]*:{service}:[a-z0-9-]*:\d{{12}}:{resource}"


_OPTIONAL: Final = {
    *("blobs_prefix", "encryption_keys", "endpoint_url", "kms_key_arn", "log_level"),
    *("narrow_rule", "region", "retention_days"),
}
_LAMBDA_LEVELS: Final = {"TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "CRITICAL"} | {
    level: level for level in ("DEBUG", "INFO", "ERROR")
}
"""Lambda's names of the levels in Python's words. Source: Lambda developer guide, log-level filtering, 2026-11."""
_KEY: Final = _arn("kms", r"key/[\w-]{1,64}")
_URL: Final = r"https?://[^\s/]+(/\S*)?"
_FORMS: Final[Mapping[str, tuple[str, str]]] = {
    "table": ("the name of a DynamoDB table", r"[\w.-]{3,255}"),
    "queue_url": ("the URL of an SQS queue", _URL),
    "queue_arn": ("the ARN of an SQS queue", _arn("sqs", r"[\w-]{1,80}")),
    "dlq_url": ("the URL of an SQS queue", _URL),
    "dlq_arn": ("the ARN of an SQS queue", _arn("sqs", r"[\w-]{1,80}")),
    "bus_arn": ("the ARN of an EventBridge bus", _arn("events", r"event-bus/[\w./-]{1,256}")),
    "schedule_group": ("the name of a schedule group", r"[\w.-]{1,64}"),
    "scheduler_role_arn": ("the ARN of an IAM role", _arn("iam", r"role/[\w+=,.@/-]{1,512}")),
    "blobs_bucket": ("the name of an S3 bucket", r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
    "blobs_prefix": ("a prefix of S3 keys", r"[\w!.*'()/-]{1,512}"),
    "encryption_keys": ("ARNs of KMS keys, with commas", rf"{_KEY}(,{_KEY})*"),
    "kms_key_arn": ("the ARN of a KMS key", _KEY),
    "narrow_rule": ("a yes: True", "True"),
    "retention_days": ("a number of days", r"[1-9]\d{0,3}"),
    "region": ("an AWS region", r"[a-z]+(-[a-z0-9]+)+"),
    "endpoint_url": ("a URL", _URL),
    "log_level": ("DEBUG, INFO, WARNING, ERROR or CRITICAL", "DEBUG|INFO|WARNING|ERROR|CRITICAL"),
}
"""What each is, and how it looks. Source: service models of botocore 1.44.5, 2026-11."""
