"""`stepbridge dev` as a newcomer meets it: one process, from its first line to Ctrl-C."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stepbridge.cli.problems import CommandError
from stepbridge.cli.project import find_project
from tests.integration.processes import environment
from tests.integration.waiting import eventually

ENV = environment(COLUMNS="200")
APP = """
from stepbridge import App, Context, event

app = App("hello")

def greet(name: str) -> str:
    return f"Hello {name}"

@app.function("greet", trigger=event("user/came"))
async def hello(ctx: Context) -> str:
    text = await ctx.step.run("make-text", greet, ctx.event.data.get("name", "you"))
    await ctx.step.sleep("breathe", "50ms")
    return text

@app.function("wait", trigger=event("user/left"))
async def wait(ctx: Context) -> None:
    await ctx.step.wait_for_event("return", event="user/came", match="data.name", timeout="7d")
"""
PROJECT = """
[tool.stepbridge]
app = "hello:app"
[tool.stepbridge.first-event]
name = "{name}"
data = {{ name = "Ada" }}
"""


class Dev:
    """A running `dev`: what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.lines)

    def says(self, words: str) -> str:
        """The line that holds the words, once it is there."""
        return eventually(lambda: next((line for line in list(self.lines) if words in line), None), seconds=20)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """The exit code after a signal."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        self._reader.join()
        return code


@contextmanager
def dev(folder: Path, *args: str) -> Iterator[Dev]:
    """`dev` in a folder, on any free port."""
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", "stepbridge.cli", "dev", "--port", "0", *args],
        cwd=folder,
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = Dev(process)
    try:
        yield running
    finally:
        process.kill()
        process.wait()
        running._reader.join()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's folder."""
    (tmp_path / "hello.py").write_text(APP)
    (tmp_path / "pyproject.toml").write_text(PROJECT.format(name="user/came"))
    return tmp_path


def run(command: str, folder: Path) -> Any:
    """What a command that `dev` suggests prints, as JSON."""
    done = subprocess.run(  # noqa: S603 - a command that we print ourselves
        shlex.split(command), cwd=folder, env=ENV, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_first_events_run_is_shown_to_its_end(project: Path) -> None:
    """Each step as it happens, then what to try next; no colours, and Ctrl-C ends it with 0."""
    with dev(project) as running:
        running.says("Ctrl-C ends it")
        assert running.end() == 0
        lines = running.lines
    assert 'First event: user/came {"name": "Ada"}' in running.text
    order = ["STARTED", "make-text", "breathe", '"Hello Ada"', "Try next", "stepbridge send", "Stopped."]
    found = [next(number for number, line in enumerate(lines) if words in line) for words in order]
    assert found == sorted(found)
    assert "aws events put-events" in running.text
    assert "\x1b" not in running.text


def test_a_wait_is_shown_with_the_command_that_ends_it(project: Path) -> None:
    """What the run waits for and until when; the suggested command, copied, lets it go on."""
    (project / "pyproject.toml").write_text(PROJECT.format(name="user/left"))
    with dev(project) as running:
        line = running.says("WAITING")
        assert 'for user/came with data.name = "Ada", until ' in line
        assert " (in 7 d" in line
        running.says("Send what the run waits for")
        run(running.says("stepbridge send user/came").strip(), project)
        running.says("wait_for_event COMPLETED")


def test_the_suggested_commands_work(project: Path) -> None:
    """Copied as they are: the CLI's own, and boto3's."""
    with dev(project, "--json") as running:
        commands = json.loads(running.says('{"next"'))["next"]
        send = next(command for command in commands if "stepbridge send" in command)
        python = next(command for command in commands if "boto3" in command)
        listing = next(command for command in commands if "runs list" in command)
        run(send, project)
        assert "EventId" in run(python, project)
        page = eventually(lambda: _complete(run(f"{listing} --json", project)))
        assert len(page) == 3
        assert running.end(signal.SIGTERM) == 0


def _complete(text: str) -> list[Any]:
    rows: list[Any] = json.loads(text)["runs"]
    return rows if len(rows) == 3 and all(row["status"] == "COMPLETED" for row in rows) else []


def test_it_can_begin_without_an_event(project: Path) -> None:
    """And take the app from the command line."""
    with dev(project, "hello", "--no-first-event", "--json") as running:
        ready = json.loads(running.says('{"ready"'))
        running.says('{"next"')
        assert (ready["app_id"], ready["functions"]) == ("hello", ["greet", "wait"])
        assert "STARTED" not in running.text
        assert running.end() == 0


def test_a_step_in_a_thread_does_not_hold_it_up(project: Path) -> None:
    """Ctrl-C ends the process soon, its exit code 0, whatever still runs."""
    (project / "slow.py").write_text(
        "import time\nfrom stepbridge import App, Context, event\napp = App('slow')\n"
        "def slow() -> None:\n    print('in the step', flush=True)\n    time.sleep(600)\n"
        "@app.function('slow', trigger=event('user/came'))\nasync def f(ctx: Context) -> None:\n"
        "    await ctx.step.run('slow', slow)\n"
    )
    with dev(project, "slow:app") as running:
        running.says("in the step")
        assert running.end() == 0
        assert "cut off" in running.text


def test_an_app_that_cannot_run_is_named_with_cause_and_mend(project: Path) -> None:
    """Exit code 2. One process tries them all: none gets as far as a server."""
    (project / "broken.py").write_text("import nothing_of_the_kind")
    (project / "crooked.py").write_text("def (")
    (project / "leaves.py").write_text("raise SystemExit")
    (project / "stops.py").write_text("class Stop(BaseException): ...\nraise Stop")
    (project / "lazy.py").write_text("def __getattr__(name): raise RuntimeError(name)")
    twice = "app.function('f', trigger=invoke_only())(lambda ctx: None)\n"
    (project / "double.py").write_text(f"from stepbridge import App, invoke_only\napp = App('a')\n{twice}{twice}")
    words = {
        "nope:app": "there is no module 'nope'",
        "hello:nope": "name hello:app",
        "hello:greet": "is no stepbridge.App but of type function",
        "broken:app": "No module named 'nothing_of_the_kind'",
        "crooked:app": "SyntaxError",
        "double:app": "declared twice",
        "leaves:app": "ends the process",
        "stops:app": "cannot be imported: stops.Stop",
        "lazy:app": "cannot be imported: RuntimeError",
        ".hello": "names no module",
        ":app": "names no module",
    }
    program = (
        "import sys\n"
        "from stepbridge.cli import main\n"
        "for app in sys.argv[1:]:\n"
        "    sys.argv = ['stepbridge', 'dev', '--port', '0', app]\n"
        "    try:\n        main()\n    except SystemExit as end:\n        print('=', end.code, file=sys.stderr)\n"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter, a program of our own
        [sys.executable, "-c", program, *words], cwd=project, env=ENV, capture_output=True, text=True, check=True
    )
    told = done.stderr.split("= 2\n")
    assert (len(told), told.pop(), done.stdout) == (len(words) + 1, "", "")
    assert {app: word in text for (app, word), text in zip(words.items(), told, strict=True)} == dict.fromkeys(
        words, True
    )


def test_a_first_event_that_starts_nothing_is_said_to(project: Path) -> None:
    """Where it is named, and the name that was probably meant."""
    (project / "pyproject.toml").write_text(PROJECT.format(name="user/cmae"))
    with dev(project) as running:
        line = running.says("no function here is triggered by 'user/cmae'")
        assert "Mend: did you mean 'user/came'? It is named in pyproject.toml, under [tool.stepbridge.first" in line
        running.says("Ctrl-C ends it")


FIRST = "[tool.stepbridge.first-event]\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FIRST + 'name = "go"\ndata = { day = 2025-01-31 }', "has a datetime.date at $.day"),
        (FIRST + 'name = "go"\ndata = { n = nan }', "has nan at $.n"),
        (FIRST + f'name = "{"x" * 129}"', "EventBridge takes 128"),
        (FIRST + 'name = "stepbridge/x"', "is reserved"),
        (FIRST + "name = 5", "Mend: give it name"),
        ("a = " + "[" * 5_000, "cannot be read"),
    ],
    ids=["a date", "no number", "a long name", "a reserved name", "a number as name", "levels without end"],
)
def test_a_first_event_that_cannot_be_sent_ends_the_command(tmp_path: Path, text: str, words: str) -> None:
    """Before there is a server that would wait for it; TOML has dates, JSON has none."""
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(CommandError, match=re.escape(words)) as caught:
        assert find_project(tmp_path).first_event is None
    assert "pyproject.toml" in str(caught.value)


@pytest.mark.parametrize("text", ['tool = "x"', "tool = [1]", '[tool]\nstepbridge = "x"'])
def test_a_project_whose_settings_are_no_table_has_none(tmp_path: Path, text: str) -> None:
    """And is told how to name its app, as one without settings."""
    (tmp_path / "pyproject.toml").write_text(text)
    assert find_project(tmp_path).settings == {}


def test_a_project_that_names_no_app_is_told_how(tmp_path: Path) -> None:
    """Exit code 2."""
    with dev(tmp_path) as running:
        assert running.process.wait(timeout=20) == 2
        running._reader.join()
        assert 'app = "functions.shop:app"' in running.text


def test_a_port_in_use_is_named_with_the_mend(project: Path) -> None:
    """Exit code 2."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with dev(project, "--port", str(port)) as running:
            assert running.process.wait(timeout=20) == 2
            running._reader.join()
            assert f"port {port}: another program uses it" in running.text
