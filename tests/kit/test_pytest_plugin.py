"""The pytest plugin, in a pytest of its own, as users have it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.integration.processes import ROOT, environment

TESTS = """
import sys
AT_COLLECTION = [name for name in sys.modules if name.partition(".")[0] in {"stepbridge", "pydantic", "boto3", "moto"}]

def test_nothing_is_loaded_before_a_test_asks_for_it():
    assert AT_COLLECTION == []

def test_it_is_a_simulation(simulation):
    from tests.kit.shop_under_test import app
    sim = simulation(app, seed=1)
    sim.stub("review", None)
    sim.send("buy", {"orderId": "o-1"})
    sim.run_until_idle()
    assert sim.run("buy").status == "COMPLETED"

def test_the_backend_is_that_of_the_command_line(simulation):
    from tests.kit.shop_under_test import app
    assert type(simulation(app)._world).__name__ == "WORLD"
    assert type(simulation(app, backend="memory")._world).__name__ == "World"

def test_that_fails(simulation):
    from tests.kit.shop_under_test import app
    sim = simulation(app)
    sim.send("buy", {"orderId": "o-7"})
    assert sim.run("buy").status == "COMPLETED"
"""


def pytest(folder: Path, world: str, *args: str) -> subprocess.CompletedProcess[str]:
    """A run of pytest with the plugin and no other."""
    (folder / "test_user.py").write_text(TESTS.replace("WORLD", world))
    command = [sys.executable, "-m", "pytest", "-p", "_stepbridge_pytest", "-p", "no:cacheprovider", *args]
    return subprocess.run(  # noqa: S603 - our own program
        command,
        cwd=folder,
        env=environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_a_test_that_fails_shows_its_runs_and_nothing_is_loaded_too_early(tmp_path: Path) -> None:
    """The run as text, in the report; the others pass."""
    done = pytest(tmp_path, "World")
    assert "1 failed, 3 passed" in done.stdout, done.stdout
    _, report = done.stdout.split("stepbridge runs of simulation 1")
    assert 'buy: SLEEPING\n  event   buy {"orderId": "o-7"}\n  step    charge' in report


def test_the_command_line_chooses_the_backend(tmp_path: Path) -> None:
    """Unless the test does."""
    done = pytest(tmp_path, "MotoWorld", "--stepbridge-backend", "moto", "-k", "backend")
    assert "1 passed" in done.stdout, done.stdout


def test_pytest_finds_it_by_itself() -> None:
    """It is an entry point of the package, and in its wheel."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {"stepbridge": "_stepbridge_pytest"}
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert (ROOT / "sdk" / "_stepbridge_pytest.py").is_file()
    assert wheel["only-include"] == ["sdk/stepbridge", "sdk/_stepbridge_pytest.py"]
    assert wheel["sources"] == ["sdk"]
