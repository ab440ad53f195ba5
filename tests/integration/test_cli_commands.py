"""The commands against a local server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stepbridge.local.server import LocalServer
from tests.integration.commands import command
from tests.integration.orders_app import app
from tests.integration.processes import environment
from tests.integration.waiting import eventually


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """On a port of its own."""
    with LocalServer(app, port=0) as server:
        yield server


def cli(server: LocalServer, *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """What came of the command. The server's address is in the environment, as users may have it."""
    return command(*args, stdin=stdin, STEPBRIDGE_URL=server.url)


def process(*args: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own; no server answers it."""
    env = {**environment(), "STEPBRIDGE_URL": "http://127.0.0.1:1", **settings}
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "stepbridge.cli", *args],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def read(done: subprocess.CompletedProcess[str]) -> Any:
    """The JSON that a command that went well has printed."""
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_an_event_is_sent_and_its_run_shown(server: LocalServer) -> None:
    """`send` names the run; `runs show` has its data, steps and output, for people and for scripts."""
    sent = read(cli(server, "send", "order/created", '{"orderId": "o-1"}', "--json"))
    (run,) = sent["runs"]
    watched = cli(server, "runs", "watch", run["run_id"])
    assert watched.returncode == 0
    assert [word in watched.stdout for word in ("create-order", "breathe", "COMPLETED")] == [True] * 3
    shown = read(cli(server, "runs", "show", run["run_id"], "--json"))
    assert shown["output"] == {"order": {"id": "o-1"}, "cents": 42}
    text = cli(server, "runs", "show", run["run_id"], "--logs").stdout
    assert [word in text for word in ("fulfil-order", '{"orderId": "o-1"}', "create-order", "42", "made")] == [True] * 5


def test_an_event_may_come_from_stdin_and_have_an_id(server: LocalServer) -> None:
    """The same id starts no second run."""
    first = read(cli(server, "send", "order/unpaid", "-", "--id", "once", "--json", stdin='{"orderId": "1"}'))
    second = read(cli(server, "send", "order/unpaid", '{"orderId": "1"}', "--id", "once", "--json"))
    assert first["id"] == second["id"] == "once"
    assert [run["run_id"] for run in first["runs"]] == [run["run_id"] for run in second["runs"]]


def test_an_event_that_starts_nothing_says_why(server: LocalServer) -> None:
    """A name that is probably misspelt; a wait that it has ended; an id that came before."""
    misspelt = cli(server, "send", "order/craeted", '{"orderId": "1"}')
    assert (misspelt.returncode, misspelt.stderr) == (0, "")
    assert "no function here is triggered by 'order/craeted', and no run waits for it" in misspelt.stdout
    assert "Mend: did you mean 'order/created'?" in misspelt.stdout
    (run,) = read(cli(server, "send", "order/unpaid", '{"orderId": "paid"}', "--json"))["runs"]
    eventually(lambda: server.service.status(run["run_id"]) == "SLEEPING")
    paid = cli(server, "send", "payment/completed", '{"orderId": "paid"}').stdout
    assert f"of run {run['run_id']}" in paid


def test_runs_are_listed(server: LocalServer) -> None:
    """Newest first, by function and status, with the command for the next page."""
    ids = [read(cli(server, "send", "order/unpaid", f'{{"orderId": "{n}"}}', "--json"))["runs"][0] for n in "ab"]
    eventually(lambda: server.service.status(ids[1]["run_id"]) == "SLEEPING")
    page = read(cli(server, "runs", "list", "-f", "await-payment", "-s", "sleeping", "--limit", "1", "--json"))
    assert [run["run_id"] for run in page["runs"]] == [ids[1]["run_id"]]
    text = cli(server, "runs", "list", "--limit", "1").stdout
    assert ids[1]["run_id"] in text
    assert "stepbridge runs list --cursor" in text


def test_a_run_is_named_by_the_beginning_of_its_id(server: LocalServer) -> None:
    """As lines show it; one that several share is asked for again."""
    (run,) = read(cli(server, "send", "order/unpaid", '{"orderId": "c"}', "--json"))["runs"]
    shown = read(cli(server, "runs", "show", run["run_id"][:12], "--json"))
    assert shown["run_id"] == run["run_id"]
    assert cli(server, "runs", "show", "").returncode == 1


def test_a_run_is_cancelled(server: LocalServer) -> None:
    """Once; watching it then ends with 1."""
    (run,) = read(cli(server, "send", "order/unpaid", '{"orderId": "d"}', "--json"))["runs"]
    cancelled = cli(server, "runs", "cancel", run["run_id"])
    assert (cancelled.returncode, "is CANCELLED" in cancelled.stdout) == (0, True)
    assert cli(server, "runs", "watch", run["run_id"]).returncode == 1
    again = cli(server, "runs", "cancel", run["run_id"])
    assert (again.returncode, again.stdout) == (1, "")
    assert "has ended already" in again.stderr


def test_a_parked_run_is_resumed(server: LocalServer) -> None:
    """Watching stops where the run is parked, and says how to go on."""
    (run,) = read(cli(server, "send", "deploy", "--json"))["runs"]
    watched = cli(server, "runs", "watch", run["run_id"])
    assert (watched.returncode, f"stepbridge runs resume {run['run_id']}" in watched.stdout) == (1, True)
    assert cli(server, "runs", "resume", run["run_id"]).returncode == 0
    assert cli(server, "runs", "watch", run["run_id"]).returncode == 0


def test_a_run_is_rerun(server: LocalServer) -> None:
    """As a new run, which is named with the command that follows it; from a step that the run has."""
    (run,) = read(cli(server, "send", "order/created", '{"orderId": "e"}', "--json"))["runs"]
    assert cli(server, "runs", "watch", run["run_id"]).returncode == 0
    told = cli(server, "runs", "rerun", run["run_id"][:20])
    assert (told.returncode, "of fulfil-order" in told.stdout) == (0, True)
    assert f"stepbridge runs watch {told.stdout.split()[1]}" in told.stdout
    again = read(cli(server, "runs", "rerun", run["run_id"], "--from-step", "price", "--json"))
    assert cli(server, "runs", "watch", again["run_id"]).returncode == 0
    shown = cli(server, "runs", "show", again["run_id"]).stdout
    assert [line.split() for line in shown.splitlines() if line.startswith("rerun of")] == [
        ["rerun", "of", run["run_id"]]
    ]
    unknown = cli(server, "runs", "rerun", run["run_id"], "--from-step", "nope")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "it has: create-order, breathe, price" in unknown.stderr


def test_time_is_skipped_for_a_run(server: LocalServer) -> None:
    """And no other; then it has ended."""
    (run,) = read(cli(server, "send", "order/unpaid", '{"orderId": "w"}', "--json"))["runs"]
    eventually(lambda: server.service.status(run["run_id"]) == "SLEEPING")
    assert cli(server, "wake", run["run_id"]).returncode == 0
    eventually(lambda: server.service.status(run["run_id"]) == "COMPLETED")
    assert "waits for nothing" in cli(server, "wake", run["run_id"]).stderr


def test_many_runs_are_cancelled_and_run_again_by_a_filter(server: LocalServer) -> None:
    """What is found is done, one that is not of these stays."""
    for _ in range(3):
        read(cli(server, "invoke", "nap", '{"ms": 600000}', "--no-wait", "--json"))
    cancelled = eventually(lambda: _three(server))
    done = read(cli(server, "runs", "cancel", "-f", "nap", "--since", "1h", "--yes", "--json"))
    assert ({one["run_id"] for one in done["done"]}, done["refused"]) == (cancelled, [])
    again = read(cli(server, "runs", "rerun", "-f", "nap", "-s", "CANCELLED", "--yes", "--json"))["done"]
    assert {one["run_id"] for one in again} == cancelled
    assert cancelled.isdisjoint({one["result"] for one in again})
    read(cli(server, "runs", "cancel", "-f", "nap", "--yes", "--json"))


def _three(server: LocalServer) -> set[str]:
    rows = server.service.list_runs(function_id="nap")["runs"]
    return {row["run_id"] for row in rows} if len(rows) == 3 else set()


def test_a_function_is_invoked_and_followed(server: LocalServer) -> None:
    """The lines end with its output; the exit code says whether it went well."""
    good = cli(server, "invoke", "price", '{"pieces": 2}')
    assert (good.returncode, good.stdout.rstrip().endswith("42")) == (0, True)
    bad = cli(server, "invoke", "charge", "--json")
    lines = [json.loads(line) for line in bad.stdout.splitlines()]
    assert (bad.returncode, lines[-1]["status"]) == (1, "FAILED")
    assert read(cli(server, "invoke", "price", '{"pieces": 1}', "--no-wait", "--json"))["function_id"] == "price"


def test_functions_and_events_are_listed(server: LocalServer) -> None:
    """For people and for scripts."""
    read(cli(server, "send", "order/created", "--json"))
    assert {row["function_id"] for row in read(cli(server, "functions", "--json"))["functions"]} == set(app.functions)
    assert "order/created" in cli(server, "functions").stdout
    assert read(cli(server, "events", "--json", "--limit", "5"))["events"]
    assert "order/created" in cli(server, "events").stdout


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["send", "n", "{"], 2, "is not JSON"),
        (["send", "n", "[]"], 2, "is not a JSON object"),
        (["send", "n", '{"a": NaN}'], 2, "NaN"),
        (["send", "stepbridge/x"], 2, "reserved"),
        (["send"], 2, "NAME"),
        (["invoke", "nope"], 1, "there are: await-payment"),
        (["invoke", "fullfil-order"], 1, "Mend: did you mean 'fulfil-order'?"),
        (["runs", "list", "--function", "fullfil-order"], 1, "Mend: did you mean 'fulfil-order'?"),
        (["runs", "cancel", "--function", "nope", "--yes"], 1, "there is no function 'nope'"),
        (["runs", "show", "nope"], 1, "no run's id begins with 'nope'"),
        (["runs", "watch", "nope"], 1, "no run's id begins with 'nope'"),
        (["runs", "resume", "nope"], 1, "no run's id begins with 'nope'"),
        (["runs", "rerun", "nope"], 1, "no run's id begins with 'nope'"),
        (["runs", "rerun"], 2, "Mend: a run's id, or --function"),
        (["runs", "cancel", "abc", "--status", "FAILED"], 2, "two answers to one question"),
        (["runs", "cancel", "--status", "COMPLETED"], 2, "not for this"),
        (["runs", "resume", "--since", "yesterday"], 2, "Mend: 90s, 2h, 7d"),
        (["runs", "list", "--profile", "p"], 2, "of which stack"),
        (["runs", "list", "--stack", "s", "--settings", "f.json"], 2, "two answers to one question"),
        (["runs", "list", "--settings", "nothing.json"], 2, "does not tell of an app"),
        (["runs", "list", "--stack", "s", "--profile", "no-such-profile"], 2, "no-such-profile"),
        (["runs", "list", "--status", "DONE"], 2, "one of QUEUED"),
        (["runs", "list", "--cursor", "x"], 2, "cursor"),
        (["runs", "list", "--limit", "0"], 2, "limit"),
        (["events", "--url", "nowhere"], 2, "is not the URL of a server"),
        (["events", "--url", "http://[::1"], 2, "is not the URL of a server"),
        (["events", "--url", "http://a b/"], 2, "is not the URL of a server"),
        (["events", "--url", f"http://{'x' * 70}/"], 2, "is not the URL of a server"),
        (["send", "x", '{"a":1e400}'], 2, "a number is too large for any float"),
        (["send", "x", '{"a":"\udcff"}'], 2, "is not JSON"),
        (["dev", "tests.integration.orders_app", "--state", ""], 2, "cannot be written"),
        (["dev", "--port", "99999"], 2, "--port"),
        (["nope"], 2, "nope"),
    ],
)
def test_mistakes_have_an_exit_code_and_a_reason(server: LocalServer, args: list[str], code: int, words: str) -> None:
    """On stderr; stdout stays empty, so that a script reads nothing wrong."""
    done = cli(server, *args)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr


def test_a_server_that_is_not_there_is_named_with_the_mend() -> None:
    """Exit code 3."""
    done = process("runs", "list")
    assert (done.returncode, done.stdout) == (3, "")
    assert "no local server answers at http://127.0.0.1:1" in done.stderr
    assert "stepbridge dev" in done.stderr


def shell(server: LocalServer, line: str, **settings: str) -> subprocess.CompletedProcess[bytes]:
    """What came of a line of a shell, `$S` being the command."""
    env = {**environment(), "STEPBRIDGE_URL": server.url, "S": f"{sys.executable} -m stepbridge.cli", **settings}
    return subprocess.run(["bash", "-c", line], env=env, capture_output=True, timeout=60, check=False)  # noqa: S603, S607


def test_texts_arrive_and_are_shown_in_a_locale_that_has_no_letters_for_them(server: LocalServer) -> None:
    """Arguments and stdin are UTF-8 in every locale; what a terminal cannot show is spelled out."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = shell(
        server, """$S send locale '{"a":"é"}' --id a1; echo '{"a":"é"}' | $S send locale - --id a2""", **ascii_only
    )
    assert (done.returncode, done.stderr) == (0, b"")
    found = {event["id"]: event["data"] for event in read(cli(server, "events", "--json"))["events"]}
    assert (found["a1"], found["a2"]) == ({"a": "é"}, {"a": "é"})
    shown = shell(server, "$S events", **ascii_only)
    assert (shown.returncode, shown.stderr, b"xe9" in shown.stdout) == (0, b"", True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_an_output_that_takes_nothing_is_named(server: LocalServer) -> None:
    """Closed from the start: the command is done in silence. Full: exit code 1 and the cause."""
    done = shell(server, "$S functions >&- && $S functions > /dev/full")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"stepbridge: the output cannot be used: No space left on device. Mend")


def test_nothing_hostile_reaches_the_terminal(server: LocalServer) -> None:
    """Names, data and errors are spelled out; there is no escape, and no colour where there is no terminal."""
    (run,) = read(cli(server, "send", "order/charged", json.dumps({"t": "\x1b]0;owned\x07[red]"}), "--json"))["runs"]
    commands = (["runs", "watch", run["run_id"]], ["runs", "show", run["run_id"]], ["events"], ["runs", "list"])
    texts = [cli(server, *command).stdout for command in commands]
    assert all("\x1b" not in text and "\x07" not in text for text in texts)
    assert "[red]" in texts[1]
    assert r"\x1b[31mno" in texts[1]


def test_help_loads_no_server() -> None:
    """Nor AWS's SDK, nor an expression library: help and completion come at once."""
    heavy = {"boto3", "botocore", "cel_expr_python", "jinja2", "moto", "starlette", "uvicorn"}
    program = (
        "import sys\n"
        "from stepbridge.cli import main\n"
        "for args in [], ['runs'], ['dev']:\n"
        "    sys.argv = ['stepbridge', *args, '--help']\n"
        "    try:\n        main()\n    except SystemExit as end:\n        print(end.code, file=sys.stderr)\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter, a program of our own
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment()
    )
    *codes, loaded = done.stderr.splitlines()
    assert codes == ["0", "0", "0"]
    assert heavy.isdisjoint(loaded.split())
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(("typed", "offered"), [("stepbridge ru", "runs"), ("stepbridge runs re", "rerun")])
def test_the_shell_completes_commands(typed: str, offered: str) -> None:
    """As `--install-completion` has bash ask for it."""
    done = process(_STEPBRIDGE_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(typed.split()) - 1))
    assert offered in done.stdout.split()


def test_a_missing_library_is_named_with_the_mend(tmp_path: Path) -> None:
    """Without the `dev` extra the command says what to install."""
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError('no', name='typer')")
    done = process("runs", "list", PYTHONPATH=environment(tmp_path)["PYTHONPATH"])
    assert done.returncode == 1
    assert "pip install 'stepbridge[dev]'" in done.stderr
