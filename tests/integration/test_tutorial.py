"""The tutorial, done as it says: in a new project, and against the local server."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import types
from pathlib import Path

import pytest

from stepbridge.local.server import LocalServer
from tests.docs.pages import ROOT, Page
from tests.integration.commands import command
from tests.integration.processes import environment

PAGE = Page(ROOT / "docs" / "tutorial.md")
CODE, TESTS = (block.code for block in PAGE.blocks("python"))


@pytest.mark.slow
def test_the_function_and_its_test_pass_in_a_new_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put where the tutorial puts them, in the place of the example."""
    monkeypatch.chdir(tmp_path)
    assert command("init", "my-shop").returncode == 0
    project = tmp_path / "my-shop"
    (project / "functions" / "my_shop" / "__init__.py").write_text(CODE)
    test = (project / "tests" / "test_my_shop.py").read_text()
    wanted = re.search("below `(.*?)`", PAGE.text)
    assert wanted is not None
    assert wanted[1] in test
    (project / "tests" / "test_my_shop.py").write_text(f"{wanted[1]}\n{TESTS}")
    (settings,) = (block.code for block in PAGE.blocks("toml"))
    assert 'app = "functions.my_shop:app"' in (project / "pyproject.toml").read_text()
    assert 'app = "functions.my_shop:app"' in settings
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout


def test_its_commands_do_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent, woken, watched to its end; and what failed is run again."""
    module = types.ModuleType("tutorial")
    monkeypatch.setitem(sys.modules, "tutorial", module)
    exec(compile(CODE, str(PAGE.path), "exec"), module.__dict__)  # noqa: S102 - this is what the test is for
    with LocalServer(module.__dict__["app"], port=0) as server:

        def typed(beginning: str, *more: str) -> str:
            (line,) = (line for line in _lines() if line.startswith(beginning))
            done = command(*_words(line), *more, STEPBRIDGE_URL=server.url)
            assert (done.returncode, done.stderr) == (0, "")
            return done.stdout

        told = typed('stepbridge send user/signed-up \'{"email": "grace')
        run_id = told.split("run ")[1].split()[0]
        assert command("wake", run_id[:5], STEPBRIDGE_URL=server.url).returncode == 0
        watched = command("runs", "watch", run_id[:5], STEPBRIDGE_URL=server.url)
        assert (watched.returncode, '"reminded"' in watched.stdout) == (0, True)
        typed("stepbridge send user/signed-up '{\"email\": 3}'")
        assert "welcome" in typed("stepbridge runs list --status FAILED")
        assert "rerun: 1 done, 0 refused" in typed("stepbridge runs rerun", "--yes")


def _lines() -> list[str]:
    lines = [line for block in PAGE.blocks("sh") for line in block.code.splitlines()]
    return [line for line in lines if "--stack" not in line]


def _words(line: str) -> list[str]:
    return shlex.split(line)[1:]
