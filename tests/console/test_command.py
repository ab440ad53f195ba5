"""`stepbridge console` as a process of its own, and what it says where there is no stack."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from stepbridge.aws.settings import Settings
from stepbridge.aws.stacks import Deployed
from stepbridge.cli.console import found, source_of
from stepbridge.cli.problems import REFUSED, USAGE, CommandError
from stepbridge.errors import ConfigError
from tests.console.shop import app as shop
from tests.integration.processes import environment

SERVE = """
from stepbridge.cli.console import serve
from stepbridge.cli.output import Output
from stepbridge.console.here import Here
from stepbridge.local.server import LocalServer
from tests.console.shop import app

serve(Here(LocalServer(app, port=0).service), port=0, output=Output(as_json=True))
"""


def status(url: str, path: str) -> int:
    """Of an answer to a GET."""
    connection = HTTPConnection(url, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
def test_the_printed_address_opens_it_until_it_is_interrupted() -> None:
    """On loopback, on a port of its own, and with the key only."""
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        try:
            ready = urlsplit(json.loads(process.stdout.readline())["ready"])
            assert ready.hostname == "127.0.0.1"
            assert len(ready.query.removeprefix("key=")) >= 32  # nobody guesses it
            assert status(ready.netloc, f"{ready.path}?{ready.query}") == 303
            assert status(ready.netloc, "/runs") == 403
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) in {0, 130, -signal.SIGINT}


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (
            ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeStacks"),
            REFUSED,
            "DescribeStacks",
        ),
        (ClientError({"Error": {"Code": "Throttling", "Message": "slowly"}}, "DescribeStacks"), REFUSED, "slowly"),
        (EndpointConnectionError(endpoint_url="https://aws"), REFUSED, "https://aws"),
        (ConfigError("there is no stack. Mend: its name."), USAGE, "there is no stack"),
    ],
    ids=["denied", "slow", "away", "none"],
)
def test_what_aws_refuses_has_the_exit_code_of_refusals(
    monkeypatch: pytest.MonkeyPatch, answer: Exception, code: int, words: str
) -> None:
    """4, as of every command with `--stack`; 2 where the command is wrong."""

    def refuse(*_: object) -> None:
        raise answer

    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setattr("stepbridge.aws.stacks._outputs", refuse)
    with pytest.raises(CommandError, match=words) as caught:
        found("Shop", None, profile=None, region=None)
    assert caught.value.code == code
    assert "Mend: " in str(caught.value)


def test_code_of_another_app_is_not_shown_as_the_stacks() -> None:
    """The error names both."""
    settings = Settings(
        table="table",
        queue_url="https://queue",
        queue_arn="arn:aws:sqs:eu-west-1:123456789012:queue",
        dlq_url="https://dlq",
        dlq_arn="arn:aws:sqs:eu-west-1:123456789012:dlq",
        bus_arn="arn:aws:events:eu-west-1:123456789012:event-bus/bus",
        schedule_group="group",
        scheduler_role_arn="arn:aws:iam::123456789012:role/role",
        blobs_bucket="bucket",
    )
    billing = Deployed(app_id="billing", function_ids=(), settings=settings)
    with pytest.raises(CommandError, match=r"'shop'.*'billing'"):
        source_of(billing, "Billing", app=shop, is_writable=False)
