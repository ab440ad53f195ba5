"""`stepbridge init`: what it writes passes its own test and can be deployed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.integration.commands import command

ROOT = Path(__file__).parents[2]


def _run(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # noqa: TID251 - goes on
    paths = {"PYTHONPATH": str(ROOT / "sdk"), "PATH": f"{Path(sys.prefix, 'bin')}:{own['PATH']}"}
    return subprocess.run(  # noqa: S603 - our own arguments, no shell
        command, cwd=cwd, env={**own, **paths, **environment}, capture_output=True, text=True, check=False
    )


def _init(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    with contextlib.chdir(folder):
        return command("init", *arguments)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Made, with stepbridge from this checkout."""
    done = _init(tmp_path, "my-shop", "--stepbridge-from", str(ROOT))
    assert done.returncode == 0, done.stderr
    return tmp_path / "my-shop"


@pytest.mark.slow
def test_a_new_project_passes_its_own_test(project: Path) -> None:
    """As it is."""
    done = _run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def _uv(*arguments: str) -> str:
    """What uv says; by the kept packages where they are all there."""
    command = (str(Path(sys.prefix, "bin", "uv")), *arguments)
    kept = _run(*command, "--offline", cwd=ROOT)
    done = _run(*command, cwd=ROOT) if kept.returncode else kept
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The programs of an environment that has the built wheel with `[cdk]` and nothing else, as this one is locked."""
    folder, pins = tmp_path / "fresh", tmp_path / "pins.txt"
    _uv("build", "--wheel", "--out-dir", str(tmp_path))
    pins.write_text(
        _uv("export", "--frozen", "--extra", "cdk", "--no-default-groups", "--no-emit-project", "--no-hashes")
    )
    _uv("venv", "--python", sys.executable, str(folder))
    (wheel,) = tmp_path.glob("*.whl")
    install = ("pip", "install", "--python", str(folder), "--constraints", str(pins))
    _uv(*install, f"stepbridge[cdk] @ {wheel.as_uri()}")
    return folder / "bin"


@pytest.mark.slow
def test_a_new_project_synthesises_from_the_wheel(project: Path, tmp_path: Path, fresh: Path) -> None:
    """By the command of its cdk.json, with its context; the function's asset is built."""
    settings = json.loads((project / "cdk.json").read_text())
    done = _run(
        *settings["app"].split(),
        cwd=project,
        PYTHONPATH="",
        PATH=f"{fresh}:/usr/bin:/bin",
        CDK_CONTEXT_JSON=json.dumps(settings["context"]),
        CDK_OUTDIR=str(tmp_path / "out"),
        CDK_VALIDATION="false",
        JSII_NODE=str(Path(sys.prefix, "bin", "node")),
    )
    assert done.returncode == 0, done.stderr
    template = json.loads((tmp_path / "out" / "MyShop.template.json").read_text())
    assert template["Outputs"]["StepbridgeMyShopApp"]["Value"] == "my-shop"
    (asset,) = (tmp_path / "out").glob("asset.*")
    assert {path.name for path in asset.iterdir()} >= {"functions", "stepbridge", "pydantic", "stepbridge_handler.py"}


def test_a_new_project_says_where_stepbridge_comes_from(project: Path) -> None:
    """A checkout or a wheel, where it is not an index of packages."""
    settings = tomllib.loads((project / "pyproject.toml").read_text())
    assert settings["tool"]["uv"]["sources"] == {"stepbridge": {"path": str(ROOT)}}
    assert settings["tool"]["stepbridge"]["app"] == "functions.my_shop:app"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My_Shop", "cannot name an app: .*Mend"),
        ("9-lives", "cannot name a module of Python. Mend: begin with a letter"),
        ("import", "cannot name a module of Python"),
        ("stepbridge", "would depend on itself. Mend: another name"),
        ("taken", "is there already. Mend: another name"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, name: str, message: str) -> None:
    """Nothing is written then."""
    (tmp_path / "taken").mkdir()
    done = _init(tmp_path, name)
    assert done.returncode == 2
    assert re.search(message, done.stderr), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
