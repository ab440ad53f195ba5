"""Options of the whole suite."""

from __future__ import annotations

import pytest

from stepbridge.testing import Simulation


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--backend moto` plays every simulation on moto that does not itself name a backend."""
    parser.addoption("--backend", choices=("memory", "moto"), default="memory", help="of Simulation, where unnamed")


def pytest_configure(config: pytest.Config) -> None:
    """Sets the default."""
    defaults = Simulation.__init__.__kwdefaults__
    assert defaults is not None
    defaults["backend"] = config.getoption("--backend")
