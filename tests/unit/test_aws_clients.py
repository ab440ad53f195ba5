"""Clients are made late, once, and fit for a Lambda; wiring makes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from botocore.exceptions import UnknownServiceError

from stepbridge.aws.clients import Clients
from stepbridge.aws.failures import Misconfigured
from stepbridge.aws.wiring import SystemClock, ports
from stepbridge.core.conditions import Key
from stepbridge.core.limits import PORT_THREADS
from stepbridge.ports import Message, Outgoing
from tests.contract.aws_backend import settings
from tests.unit.aws_script import Script, ok


def test_wiring_makes_no_client() -> None:
    """The first call to a service makes its client, and no other."""
    clients = Clients(region="eu-west-1")
    world = ports(settings(), clients)
    assert world.blocking
    assert clients._made == {}
    clients.sqs()
    assert clients._made.keys() == {"sqs"}


def test_threads_share_one_client() -> None:
    """However many ask for it first."""
    clients = Clients(region="eu-west-1")
    barrier = Barrier(8)

    def ask(_: int) -> object:
        barrier.wait()
        return clients.dynamodb()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1


def test_a_client_is_fit_for_a_lambda() -> None:
    """Few tries, short waits, a connection for every thread."""
    config: Any = Clients(region="eu-west-1").dynamodb().meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 4}
    assert (config.connect_timeout, config.read_timeout) == (2, 5)
    assert config.max_pool_connections == PORT_THREADS
    assert config.tcp_keepalive


def test_a_client_is_made_without_a_look_at_other_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the four hundred folders of models only its own is read."""
    read: list[str] = []
    list_folder = os.listdir

    def noted(path: Any) -> list[str]:
        read.append(str(path))
        return list_folder(path)

    monkeypatch.setattr(os, "listdir", noted)
    Clients(region="eu-west-1").dynamodb()
    folders = {Path(path).name for path in read if "botocore" in path}
    assert {"dynamodb"} <= folders <= {"data", "dynamodb"}  # CPython 3.13 looks into the other by another call


def test_models_are_found_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As by botocore's own sessions; what is nowhere is told of by name."""
    named = {"apiVersion": "2026-01-01", "endpointPrefix": "own", "protocol": "json", "serviceId": "Own"}
    rules = {"version": "1.0", "parameters": {}, "rules": []}
    folder = tmp_path / "own" / "2026-01-01"
    folder.mkdir(parents=True)
    (folder / "service-2.json").write_text(json.dumps({"metadata": named, "operations": {}, "shapes": {}}))
    (folder / "endpoint-rule-set-1.json").write_text(json.dumps(rules))
    monkeypatch.setenv("AWS_DATA_PATH", str(tmp_path))
    clients = Clients(region="eu-west-1")
    assert clients.other("own").meta.service_model.api_version == "2026-01-01"
    with pytest.raises(UnknownServiceError, match="'other'"):
        clients.other("other")


def test_settings_say_region_and_endpoint() -> None:
    """Of an emulator, say."""
    local = settings(region="eu-north-1", endpoint_url="http://127.0.0.1:4566")
    meta = Clients.of(local).dynamodb().meta
    assert (meta.region_name, meta.endpoint_url) == ("eu-north-1", "http://127.0.0.1:4566")


def test_the_region_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """`AWS_REGION` too, which the AWS CLI and CDK read and botocore does not; it comes first, as there."""
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert Clients().dynamodb().meta.region_name == "eu-west-3"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert Clients().dynamodb().meta.region_name == "eu-west-3"
    assert Clients(region="us-east-2").dynamodb().meta.region_name == "us-east-2"


def test_no_region_is_misconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first call, with the mend."""
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    world = ports(settings(), Clients())
    with pytest.raises(Misconfigured, match="Mend: give this process AWS credentials and a region"):
        world.table.get(Key("a", "b"))


def test_the_clock_is_utc_in_whole_milliseconds() -> None:
    """As records keep it."""
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert now.microsecond % 1000 == 0
    assert SystemClock().now() - now < timedelta(seconds=5)


def test_the_clock_is_never_ahead() -> None:
    """A millisecond that has not ended yet is not told: nothing looks due before it is."""
    for _ in range(50):
        told = SystemClock().now()
        assert told <= datetime.now(UTC)  # noqa: TID251 - the clock itself is under test


def test_each_port_has_the_resources_that_the_settings_name() -> None:
    """Queue and dead-letter queue, schedules' own, and the prefix of blobs."""
    script = Script(ok())
    given = settings(kms_key_arn="arn:key", narrow_rule="True")
    world = ports(given, script.clients)
    world.queue.bury(Message(id="1", body="{}", receipt="r"), "why")
    world.queue.send([Outgoing(body="{}")])
    world.timers.create("n", datetime(2999, 1, 1, tzinfo=UTC), "{}")
    (_, dead), (_, sent), (_, armed) = script.sent
    assert (dead["QueueUrl"], sent["QueueUrl"]) == (given.dlq_url, given.queue_url)
    target = armed["Target"]
    assert (target["Arn"], target["DeadLetterConfig"]["Arn"]) == (given.queue_arn, given.dlq_arn)
    assert (target["RoleArn"], armed["GroupName"]) == (given.scheduler_role_arn, given.schedule_group)
    assert armed["KmsKeyArn"] == "arn:key"
    assert world.narrow
    assert not ports(settings(), script.clients).narrow


def test_a_cold_start_loads_no_more_than_it_needs() -> None:
    """The ports bring botocore; boto3 and its company stay away."""
    code = f"import sys; sys.path = {sys.path}; import stepbridge.aws.wiring; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    loaded = set(done.stdout.split())
    assert "botocore" in loaded
    assert loaded.isdisjoint({"boto3", "s3transfer", "moto", "aws_lambda_powertools"})
