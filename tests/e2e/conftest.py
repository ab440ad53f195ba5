"""One emulator and one deployment a session. Collected only where it is named, as `make e2e` does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.deployment import Deployment
from tests.e2e.emulator import TOOLS, Emulator


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Minutes, an environment of its own, and the clock of the wall: not among the other tests."""
    return None if any("e2e" in argument for argument in config.args) else True


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Running; its log is shown where a test fails in it."""
    if not (TOOLS / "bin" / "ministack").exists():
        pytest.fail(f"{TOOLS} is not filled. Mend: make e2e.")
    with Emulator(tmp_path_factory.mktemp("emulator")) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)  # so that boto3 and Client in this process are a user's too
        yield running


@pytest.fixture(scope="session")
def deployed(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Two apps on one bus, deployed by the CDK CLI. From here on this process is the clerk, who may use the client."""
    deployment = Deployment(emulator, tmp_path_factory.mktemp("deployed") / "project")
    deployment.bootstrap()
    deployment.deploy()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in deployment.clerk().items():
            patch.setenv(name, value)
        yield deployment


@pytest.fixture(scope="session")
def begun(deployed: Deployment) -> dict[str, str]:
    """Events of runs that take minutes, put before the first story is told; by name of the function."""
    return {
        "fulfil-order": deployed.put("order/created", {"orderId": "never-paid", "patience": "125s"}),
        "nap": deployed.put("nap/wanted", {"for": "110s"}),
    }
