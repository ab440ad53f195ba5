"""The guide's way, from a wheel to a run: install, init, write a handler, test, deploy, send, look."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.deployment import Deployment
from tests.e2e.emulator import ROOT, Emulator, run, until

HANDLER = """
from datetime import date

from stepbridge import App, Context, event

app = App("kiosk")


def price_of(weight: int) -> int:
    return weight * 3


def stamp(day: date) -> date:
    return day.replace(year=day.year + 1)


@app.function("weigh", trigger=event("parcel/weighed", if_exp="event.data.grams > 10"))
async def weigh(ctx: Context) -> dict[str, object]:
    prices = await ctx.step.map("price", price_of, ctx.event.data["grams"] and [1, 2, 3])
    await ctx.step.sleep("dry", "1s")
    until = await ctx.step.run("stamp", stamp, date(2026, 2, 1))
    return {"prices": prices, "until": until.isoformat()}
"""
TEST = """
from functions.kiosk import app
from stepbridge.testing import Simulation


def test_parcels_have_prices() -> None:
    with Simulation(app) as sim:
        sim.send("parcel/weighed", {"grams": 20})
        sim.run_until_idle()
        assert sim.run("weigh").output == {"prices": [3, 6, 9], "until": "2027-02-01"}
"""

LOOK = """
from stepbridge import Client
client = Client(stack="Kiosk")
print([client.get_run(run.run_id).output for run in client.list_runs().runs])
"""


@pytest.fixture(scope="module")
def environment(emulator: Emulator) -> dict[str, str]:
    """A reader's: nothing of this checkout but `uv` on the path; Node is the project's own."""
    own = {name: value for name, value in emulator.environment.items() if name not in {"PYTHONPATH", "JSII_NODE"}}
    return {**own, "UV_PYTHON": sys.executable, "UV_PYTHON_DOWNLOADS": "never"}


@pytest.fixture(scope="module")
def project(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the `stepbridge` of a freshly installed wheel makes, with a handler that it does not know."""
    folder = tmp_path_factory.mktemp("reader")
    run("uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), cwd=ROOT, environment=environment)
    (wheel,) = folder.glob("*.whl")
    run("uv", "venv", "--quiet", "tools", cwd=folder, environment=environment)
    install = ("uv", "pip", "install", "--quiet", "--python", "tools/bin/python")
    run(*install, f"stepbridge[dev] @ {wheel.as_uri()}", cwd=folder, environment=environment)
    run("tools/bin/stepbridge", "init", "kiosk", cwd=folder, environment=environment)
    project = folder / "kiosk"
    (project / "functions/kiosk/__init__.py").write_text(HANDLER)
    (project / "tests/test_kiosk.py").write_text(TEST)
    described = project / "pyproject.toml"
    described.write_text(described.read_text().replace('["stepbridge"]', '["stepbridge[cel]"]'))
    run("uv", "sync", "--quiet", cwd=project, environment=environment)
    return project


def test_a_new_project_runs_as_the_guide_says(
    project: Path, environment: dict[str, str], emulator: Emulator, deployed: Deployment
) -> None:
    """Its own test, a deployment by `npx`, an event from the AWS CLI, and the run by `Client`."""
    typed = _typed(project, environment)
    assert "1 passed" in typed("pytest", "-q")
    typed(
        "npx", "--yes", "aws-cdk@2.1148.1", "deploy", "--require-approval=never", "-c", "stepbridge:this-machine=true"
    )
    role = deployed.role_of("Kiosk")
    deployed.allow(role, "batches", "Allow", ["sqs:SendMessageBatch"], deployed.output("Kiosk", "QueueArn"))
    entry = {"EventBusName": deployed.output("Kiosk", "BusArn"), "Source": "reader", "DetailType": "parcel/weighed"}
    for grams in (20, 5):
        emulator.aws("events", "put-events", entries=[{**entry, "Detail": json.dumps({"grams": grams})}])
    printed = until(lambda: _done(typed("python", "-c", LOOK)), "the run has ended", seconds=90)
    assert printed == "[{'prices': [3, 6, 9], 'until': '2027-02-01'}]"


def _typed(project: Path, environment: dict[str, str]) -> Callable[..., str]:
    return lambda *command: run("uv", "run", *command, cwd=project, environment=environment)


def _done(printed: str) -> str:
    """What was printed, once it is of a run that has ended."""
    text = printed.strip()
    return "" if text in {"[]", "[None]"} else text
