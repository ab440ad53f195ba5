"""What every story of the shop needs: a world of its own, a simulation, and an API to call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.shop import app, services
from functions.shop.services import World
from stepbridge.testing import Simulation
from tests.scenarios.http_api import HttpApi


@pytest.fixture
def api() -> Iterator[HttpApi]:
    """A real server on 127.0.0.1."""
    with HttpApi() as api:
        yield api


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The shop's world, new for each test."""
    fresh = World(database=tmp_path / "shop.sqlite")
    monkeypatch.setattr(services, "world", fresh)
    return fresh


@pytest.fixture
def sim(world: World) -> Iterator[Simulation]:
    """The whole shop."""
    with Simulation(app) as sim:
        yield sim


@pytest.fixture(scope="session", autouse=True)
def least_privilege(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """On moto: whatever the stories have asked of AWS, the role of the deployed dispatcher allows."""
    if request.config.getoption("--backend") != "moto":
        yield
        return
    from tests.privileges import Log, refused

    log = Log()
    with log.open():
        yield
    assert refused(log, tmp_path_factory.mktemp("assembly")) == []
