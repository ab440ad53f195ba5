"""Options of the whole suite."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

from stepbridge.testing import Simulation

_QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
settings.register_profile("quick", _QUICK, max_examples=60, derandomize=True)  # the same on every machine
settings.register_profile("soak", _QUICK, max_examples=2_000)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--backend moto` plays every simulation on moto that does not itself name a backend."""
    parser.addoption("--backend", choices=("memory", "moto"), default="memory", help="of Simulation, where unnamed")
    parser.addoption("--schedules", type=int, default=96, help="how many storms the simulator goes through")


def pytest_configure(config: pytest.Config) -> None:
    """Sets the default, and how many examples the generated programs get."""
    settings.load_profile(config.getoption("--hypothesis-profile") or "quick")
    defaults = Simulation.__init__.__kwdefaults__
    assert defaults is not None
    defaults["backend"] = config.getoption("--backend")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how much was tried: what tests have put down as `crash points`, `schedules` and the like."""
    tried: Counter[str] = Counter()
    for report in terminalreporter.getreports("passed"):
        tried.update({name: value for name, value in report.user_properties if isinstance(value, int)})
    if tried:
        terminalreporter.write_line("Tried: " + ", ".join(f"{count:,} {name}" for name, count in sorted(tried.items())))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What only memory can play says why, in the list that `-rs` prints."""
    marker = item.get_closest_marker("memory_only")
    if marker is not None and item.config.getoption("--backend") == "moto":
        pytest.skip(f"memory only: {marker.args[0]}")
