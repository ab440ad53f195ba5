"""A developer's day with `stepbridge dev`: files are saved and broken, the process is ended, code is stopped in."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from stepbridge.cli.remote import Remote
from tests.integration.processes import environment
from tests.integration.test_cli_dev import Dev, dev
from tests.integration.waiting import eventually

PROJECT = """
[tool.stepbridge]
app = "shop.app:app"
"""
APP = """
from stepbridge import App
app = App("shop")
from shop import orders
"""
ORDERS = """
from stepbridge import Context, event
from shop.app import app
from shop.prices import price

@app.function("order", trigger=event("order"))
async def order(ctx: Context) -> str:
    first = await ctx.step.run("first", price)
    await ctx.step.sleep("a day", "1 day")
    return f"{first} then {await ctx.step.run('second', price)}"
"""
PRICES = """
def price() -> str:
    return "1 euro"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A package without `__init__.py`, its app in one module and its functions in others."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    for name, text in (("app", APP), ("orders", ORDERS), ("prices", PRICES)):
        (tmp_path / "shop" / f"{name}.py").write_text(text)
    return tmp_path


def api(running: Dev) -> Remote:
    """The server's, as the commands call it."""
    return Remote(json.loads(running.says('{"ready"'))["ready"])


def started(running: Dev, name: str) -> str:
    """The run that such an event has started."""
    (event_id,) = api(running).post("events", body={"name": name})["ids"]
    (row,) = eventually(lambda: api(running).get("events", event_id, "runs")["runs"])
    return str(row["run_id"])


def shown(running: Dev, run_id: str) -> Any:
    """The run as it stands."""
    return api(running).get("runs", run_id)


def sleeping(running: Dev) -> str:
    """A run of `order` that sleeps."""
    run_id = started(running, "order")
    eventually(lambda: shown(running, run_id)["status"] == "SLEEPING")
    return run_id


def woken(running: Dev, run_id: str) -> Any:
    """The run's output, its sleep skipped."""
    api(running).post("runs", run_id, "wake")
    eventually(lambda: shown(running, run_id)["status"] == "COMPLETED")
    return shown(running, run_id)["output"]


def quick(folder: Path, *args: str) -> Any:
    """`dev` with lines of JSON, and no event of its own."""
    return dev(folder, "--json", "--no-first-event", *args)


@pytest.mark.slow
def test_a_saved_handler_is_loaded_and_sleeping_runs_go_on_with_it(project: Path) -> None:
    """A broken save names the file, the line and the error; the old code goes on, and the mended one takes over."""
    prices = project / "shop" / "prices.py"
    with quick(project) as running:
        run_id, other = sleeping(running), sleeping(running)
        prices.write_text(PRICES.replace("1 euro", "2 euro"))
        changed = json.loads(running.says('{"changed"'))
        assert (changed["changed"], changed["error"], changed["functions"]) == ([str(prices)], None, ["order"])
        assert woken(running, run_id) == "1 euro then 2 euro"
        prices.write_text("def price() -> str:\n    return (\n")
        broken = json.loads(running.says('"error": "'))
        assert "'(' was never closed" in broken["error"]
        assert f'File "{prices}", line 2' in broken["error"]
        assert woken(running, other) == "1 euro then 2 euro"
        third = sleeping(running)
        prices.write_text(PRICES.replace("1 euro", "3 euro"))
        eventually(lambda: len([line for line in running.lines if line.startswith('{"changed"')]) == 3)
        assert woken(running, third) == "2 euro then 3 euro"
        assert running.end() == 0


@pytest.mark.slow
def test_new_files_and_new_functions_are_found_and_another_app_id_is_refused(project: Path) -> None:
    """Without a restart; an id that is another one keeps the old code, and says what to do."""
    with quick(project) as running:
        running.says('{"ready"')
        app = project / "shop" / "app.py"
        app.write_text(APP + "from shop import extra\n")
        assert "extra" in json.loads(running.says('{"changed"'))["error"]
        (project / "shop" / "extra.py").write_text(
            "from stepbridge import event\nfrom shop.app import app\n"
            "@app.function('extra', trigger=event('extra'))\ndef extra(ctx):\n    return 7\n"
        )
        eventually(lambda: json.loads(running.lines[-1])["functions"] == ["order", "extra"])
        run_id = started(running, "extra")
        eventually(lambda: shown(running, run_id)["output"] == 7)
        app.write_text(APP.replace('"shop"', '"other"'))
        assert "another id, other runs" in json.loads(running.says("start the server again"))["error"]
        assert api(running).get("functions")["functions"][0]["app_id"] == "shop"


@pytest.mark.slow
def test_runs_are_kept_over_a_restart_and_a_kill(project: Path) -> None:
    """Where `--state` names a file: ended by Ctrl-C, or killed a moment after."""
    state = project / "runs.json"
    with quick(project, "--state", str(state)) as first:
        run_id = sleeping(first)
        assert first.end() == 0, first.text
    with quick(project, "--state", str(state)) as second:
        kept = shown(second, run_id)
        assert (kept["status"], [one["status"] for one in kept["steps"]]) == ("SLEEPING", ["COMPLETED", "SLEEPING"])
        killed_id = sleeping(second)
        eventually(lambda: killed_id in state.read_text(), seconds=20)
        second.process.kill()
    assert oct(state.stat().st_mode)[-3:] == "600"
    with quick(project, "--state", str(state)) as third:
        third.says('{"ready"')
        with quick(project, "--state", str(state)) as fourth:
            assert fourth.process.wait(timeout=20) == 2
            fourth._reader.join()
            assert "is used by another process" in fourth.text
        assert woken(third, killed_id) == "1 euro then 1 euro"
        assert woken(third, run_id) == "1 euro then 1 euro"


def test_a_state_file_that_is_none_is_named_with_the_mend(project: Path) -> None:
    """Exit code 2, and the file stays as it is."""
    (project / "runs.json").write_text('{"stepbridge": 7}')
    with quick(project, "--state", "runs.json") as running:
        assert running.process.wait(timeout=20) == 2
        running._reader.join()
        assert "its format is 7, not 1" in running.text
    assert (project / "runs.json").read_text() == '{"stepbridge": 7}'


@pytest.mark.slow
@pytest.mark.parametrize("colour", ["async def", "def"])
def test_a_breakpoint_in_a_handler_has_the_terminal(tmp_path: Path, colour: str) -> None:
    """Pdb shows the handler's names, and `c` lets the run go on to its end; Ctrl-C then ends the server."""
    (tmp_path / "pyproject.toml").write_text(PROJECT.replace("shop.app", "hello"))
    (tmp_path / "hello.py").write_text(
        "from stepbridge import App, event\napp = App('hello')\n"
        f"@app.function('stop', trigger=event('stop'))\n{colour} stop(ctx):\n"
        "    number = 6 * 7\n    breakpoint()\n    return number\n"
    )
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "stepbridge.cli", "dev", "--port", "0"],
        cwd=tmp_path,
        env=environment(COLUMNS="200", TERM="dumb", PYTHONBREAKPOINT=""),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        screen = Screen(controller)
        screen.shows("(Pdb)")
        screen.types("p number + 1\n")
        screen.shows("43")
        screen.types("c\n")
        screen.shows("COMPLETED")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(controller)


@pytest.mark.slow
def test_a_run_is_watched_live_in_a_terminal(project: Path) -> None:
    """As a table that is drawn again as it goes on; Ctrl-C ends the looking, and not the run."""
    with quick(project) as running:
        run_id = sleeping(running)
        url = json.loads(running.says('{"ready"'))["ready"]
        controller, terminal = pty.openpty()
        command = [sys.executable, "-m", "stepbridge.cli", "runs", "watch", run_id[:8], "--url", url]
        process = subprocess.Popen(  # noqa: S603 - our own program
            command, env=environment(COLUMNS="150", TERM="xterm"), stdin=terminal, stdout=terminal, stderr=terminal
        )
        os.close(terminal)
        try:
            screen = Screen(controller)
            screen.shows("━")
            screen.shows("SLEEPING")
            process.send_signal(signal.SIGINT)
            screen.goes_dark()
            assert process.wait(timeout=20) == 130
        finally:
            process.kill()
            process.wait()
            os.close(controller)
        assert shown(running, run_id)["status"] == "SLEEPING"


class Screen:
    """What a terminal has shown so far."""

    def __init__(self, controller: int) -> None:
        self._controller = controller
        self._text = ""

    def shows(self, words: str) -> None:
        """Once the words are there; what stood before them is forgotten."""
        until = time.monotonic() + 20
        while words not in self._text and time.monotonic() < until:
            if select.select([self._controller], [], [], 0.1)[0]:
                self._text += os.read(self._controller, 65536).decode(errors="replace")
        assert words in self._text
        self._text = self._text.partition(words)[2]

    def goes_dark(self) -> None:
        """Reads until nobody writes any more: who writes to a full terminal waits for its reader."""
        with suppress(OSError):  # of Linux, when the last writer has gone
            while select.select([self._controller], [], [], 20)[0] and os.read(self._controller, 65536):
                pass

    def types(self, keys: str) -> None:
        """As if at the keyboard."""
        os.write(self._controller, keys.encode())
