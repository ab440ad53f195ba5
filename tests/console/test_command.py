"""`stepbridge console` as a process of its own, and what it says where there is no stack."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from stepbridge.aws.settings import Settings
from stepbridge.aws.stacks import Deployed
from stepbridge.cli.console import source_of
from stepbridge.cli.problems import CommandError
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
            assert status(ready.netloc, f"{ready.path}?{ready.query}") == 303
            assert status(ready.netloc, "/runs") == 403
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) in {0, 130, -signal.SIGINT}


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
    found = Deployed(app_id="billing", function_ids=(), settings=settings)
    with pytest.raises(CommandError, match=r"'shop'.*'billing'"):
        source_of(found, "Billing", app=shop, is_writable=False)
