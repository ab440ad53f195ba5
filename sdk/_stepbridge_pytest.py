"""The pytest plugin of stepbridge: a `simulation` fixture, and the runs of a test that failed.

It stands outside the package, so that pytest may load it everywhere: stepbridge itself is imported by the first test
that asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stepbridge.testing import Simulation

_OPEN: pytest.StashKey[list[Any]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--stepbridge-backend moto` plays the simulations of the fixture on the adapters for AWS."""
    parser.getgroup("stepbridge").addoption(
        "--stepbridge-backend",
        choices=("memory", "moto"),
        default=None,
        help="backend of the `simulation` fixture, where a test names none",
    )


@pytest.fixture
def simulation(request: pytest.FixtureRequest) -> Iterator[Callable[..., Simulation]]:
    """Called with an app, and whatever else `Simulation` takes, gives a simulation that ends with the test.

    Where the test fails, the report shows their runs.
    """
    from stepbridge.testing import Simulation

    backend = request.config.getoption("--stepbridge-backend")
    opened: list[Simulation] = []
    request.node.stash[_OPEN] = opened
    with ExitStack() as open_until_the_end:

        def make(*apps: Any, **options: Any) -> Simulation:
            chosen = {"backend": backend} if backend else {}
            opened.append(open_until_the_end.enter_context(Simulation(*apps, **(chosen | options))))
            return opened[-1]

        yield make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Adds the runs, as text, to the report of a test that failed."""
    report = yield
    if call.when == "call" and report.failed:
        opened: list[Any] = item.stash.get(_OPEN, [])
        for number, sim in enumerate(opened, 1):
            text = "\n".join(run.as_text() for run in sim.runs())
            report.sections.append((f"stepbridge runs of simulation {number}", text or "none"))
    return report
