"""The commands against an app in an account: moto's, in this process."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from stepbridge import App, Context, NonRetriableError, event
from stepbridge.aws.account import clients_of
from stepbridge.cli import commands
from stepbridge.memory.clock import SystemClock
from stepbridge.testing import Simulation
from tests.integration.commands import command

app = App("orders")
checks: list[bool] = []
"""Calls of the step `check`."""


@app.function("order", trigger=event("order"), retries=0)
async def order(ctx: Context) -> str:
    """A step, and a long sleep."""
    await ctx.step.run("check", check, ctx.event.data.get("bad", False))
    await ctx.step.sleep("rest", "1 day")
    return "done"


@app.function("echo", trigger=event("echo"))
async def echo(ctx: Context) -> str:
    """Returns what its step returns."""
    return str(await ctx.step.run("check", check, False))  # noqa: FBT003 - the step's


def check(bad: bool) -> str:  # noqa: FBT001 - the data's
    """Fails for bad ones."""
    checks.append(bad)
    if bad:
        raise NonRetriableError("bad")
    return "good"


class Shell:
    """Commands, and what came of them."""

    def __init__(self, sim: Simulation, settings: Path) -> None:
        self.sim = sim
        self.settings = settings

    def run(self, *args: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        done = command(*args, "--settings", str(self.settings))
        return done.returncode, done.stdout, done.stderr

    def read(self, *args: str, code: int = 0) -> Any:
        """The JSON that it prints."""
        ended, out, err = self.run(*args, "--json")
        assert (ended, err) == (code, "")
        return json.loads(out)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """An app in moto, whose dispatcher the test plays."""
    monkeypatch.setattr(commands, "_LOOKS_ON_AWS_SECONDS", (0.0,))
    with Simulation(app, backend="moto", start=SystemClock().now()) as sim:
        found = {name: value for name, value in asdict(sim._sites[0].stack.settings).items() if value is not None}
        file = tmp_path / "app.json"
        file.write_text(json.dumps({"app_id": app.id, "function_ids": ["order"], **found}))
        yield Shell(sim, file)


def test_events_and_runs_of_a_stack(shell: Shell) -> None:
    """Sent, listed, shown, cancelled, run again, invoked: as with the local server."""
    sent = shell.read("send", "order", "{}", "--id", "e-1")
    assert sent == {"id": "e-1", "runs": []}
    shell.sim.run_until_idle()
    (row,) = shell.read("runs", "list", "-f", "order")["runs"]
    assert (row["status"], row["event"]["id"]) == ("COMPLETED", "e-1")
    shown = shell.read("runs", "show", row["run_id"][:8])
    assert [(step["step_id"], step["status"]) for step in shown["steps"]] == [
        ("check", "COMPLETED"),
        ("rest", "COMPLETED"),
    ]
    assert shell.run("runs", "watch", row["run_id"])[0] == 0
    checks.clear()
    again = shell.read("runs", "rerun", row["run_id"], "--from-step", "rest")
    shell.sim.advance("1s")
    assert checks == []  # it stands
    invoked = shell.read("invoke", "order", "{}", "--no-wait")
    shell.sim.advance("1s")
    assert shell.read("runs", "show", again["run_id"])["status"] == "SLEEPING"
    shell.read("runs", "cancel", invoked["run_id"])
    shell.sim.advance("1s")
    assert shell.read("runs", "show", invoked["run_id"])["status"] == "CANCELLED"
    assert shell.run("runs", "cancel", invoked["run_id"])[0] == 1
    assert shell.read("functions")["functions"][0]["function_id"] == "order"


def test_a_function_is_run_with_any_data_and_its_failure_told_in_short(shell: Shell) -> None:
    """More than a message holds; a list tells an error's name and message, and not where it came from."""
    data = {"bad": True, "text": "x" * 1_100_000}
    started = shell.read("invoke", "order", json.dumps(data), "--no-wait")
    shell.sim.run_until_idle()
    shown = shell.read("runs", "show", started["run_id"])
    assert shown["event"]["data"] == data
    assert "Traceback" in shown["error"]["stack"]
    (row,) = shell.read("runs", "list", "-s", "FAILED")["runs"]
    assert row["error"] == {"name": "NonRetriableError", "message": "bad"}
    code, out, err = shell.run("invoke", "ordre", "{}")
    assert (code, out) == (1, "")
    assert "Mend: did you mean 'order'?" in err


def test_a_run_whose_output_is_gone_from_its_bucket_is_run_again(shell: Shell) -> None:
    """It cannot be shown, and says which value is gone; what needs no output goes on."""
    shell.sim.stub("check", "".join(sha256(str(number).encode()).hexdigest() for number in range(600)))
    sent = shell.sim.send("echo", {})
    (run,) = shell.sim.runs("echo")
    (site,) = shell.sim._sites
    s3, bucket = site.stack.counted.clients.s3(), site.stack.settings.blobs_bucket
    for one in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        s3.delete_object(Bucket=bucket, Key=one["Key"])
    code, out, err = shell.run("runs", "show", run.run_id)
    assert (sent, code, out) == (run.event.id, 1, "")
    assert "is not in the bucket. Mend: restore it" in err
    assert shell.run("runs", "cancel", run.run_id)[::2] == (
        1,
        f"stepbridge: run {run.run_id} has ended already: it is COMPLETED\n",
    )
    again = shell.read("runs", "rerun", run.run_id)
    shell.sim.advance("1s")
    assert shell.read("runs", "show", again["run_id"])["status"] == "COMPLETED"


def test_many_runs_at_once(shell: Shell) -> None:
    """Those of a filter, after a question or `--yes`; what refuses is told, and the exit code says so."""
    for number in range(3):
        shell.sim.send("order", {"bad": number < 2})
    code, out, err = shell.run("runs", "rerun", "--status", "failed")
    assert (code, out) == (2, "")
    assert "rerun 2 runs of order?" in err
    assert len(shell.read("runs", "rerun", "--status", "failed", "--yes")["done"]) == 2
    shell.sim.advance("1s")
    assert len(shell.read("runs", "list", "-s", "FAILED")["runs"]) == 4
    code, out, _ = shell.run("runs", "cancel", "--function", "order", "--since", "1h", "--yes")
    assert (code, out.splitlines()[-1]) == (0, "cancel: 1 done, 0 refused")


def test_what_only_a_local_server_has_is_told_so(shell: Shell) -> None:
    """Exit code 2."""
    assert shell.run("events")[0] == 2
    run_id = shell.read("send", "order")["id"]
    code, _, err = shell.run("wake", "x" * 26)
    assert (code, bool(run_id)) == (2, True)
    assert "on AWS time is AWS's" in err


def test_doctor_finds_an_app_healthy_and_says_what_is_amiss(shell: Shell) -> None:
    """Dead letters, a rule that is gone: each with the mend, and exit code 1."""
    findings = shell.read("doctor", code=1)["findings"]
    found = {one["check"]: one["state"] for one in findings if one["state"] != "warn"}
    assert {name: found[name] for name in ("credentials", "table", "queue", "dead letters", "events")} == dict.fromkeys(
        ("credentials", "table", "queue", "dead letters", "events"), "ok"
    )
    assert {name: found[name] for name in ("schedules", "blobs", "runs", "versions")} == dict.fromkeys(
        ("schedules", "blobs", "runs", "versions"), "ok"
    )
    assert any("no function receives from the queue" in one["text"] for one in findings)  # the test plays it
    settings, clients = shell.sim._sites[0].stack.settings, shell.sim._world.clients  # type: ignore[union-attr]
    clients.sqs().send_message(QueueUrl=settings.dlq_url, MessageBody="lost")
    clients.events().disable_rule(Name=app.id, EventBusName=settings.bus_arn.rpartition("/")[2])
    code, out, _ = shell.run("doctor")
    assert code == 1
    assert "FAIL  dead letters  1 messages" in out
    assert f"aws sqs start-message-move-task --source-arn {settings.dlq_arn}" in out
    assert "FAIL  events        no enabled rule" in out


def test_region_and_profile_are_where_the_call_goes(shell: Shell, tmp_path: Path) -> None:
    """As with the AWS CLI: the option before the environment; credentials and region of a profile."""
    assert shell.run("runs", "list")[0] == 0
    code, _, err = shell.run("runs", "list", "--region", "eu-west-1")
    assert (code, "Mend" in err) == (4, True)  # the table is in another
    config = tmp_path / "config"
    config.write_text("[profile shop]\nregion = eu-north-1\naws_access_key_id = of-shop\naws_secret_access_key = x\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_CONFIG_FILE", str(config))
        client: Any = clients_of("shop", None).sqs()
        assert client.meta.region_name == "eu-north-1"
        assert client._request_signer._credentials.access_key == "of-shop"
        assert clients_of("shop", "eu-west-1").sqs().meta.region_name == "eu-west-1"


def test_refusals_of_aws_have_an_exit_code(shell: Shell) -> None:
    """4, with the cause and the mend: here a table that is not there."""
    content = json.loads(shell.settings.read_text())
    shell.settings.write_text(json.dumps({**content, "table": "nothing-here"}))
    code, out, err = shell.run("runs", "show", "x" * 26)
    assert (code, out) == (4, "")
    assert "nothing-here" in err
    assert "deploy the stack" in err
