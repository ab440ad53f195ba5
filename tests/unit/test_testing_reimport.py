"""`Simulation(reimport=True)`: nothing of a process's state survives between two invocations."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import functions.shop
from functions.shop import app as shop
from functions.shop import services
from stepbridge import App, ConfigError, Context, event
from stepbridge.testing import Simulation

both = pytest.mark.parametrize("backend", ["memory", "moto"])

MODULE = """
from stepbridge import App, event

app = App("counting")
passes = []

def count(x):
    passes.append(x)
    return len(passes)

@app.function("count", trigger=event("go"))
async def handle(ctx):
    passes.append(ctx.run_id)
    first = len(passes)
    await ctx.step.sleep("nap", "1h")
    return [first, len(passes), await ctx.step.map("items", count, [1, 2])]
"""


@pytest.fixture
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package whose module counts what happens in its process."""
    (tmp_path / "counting").mkdir()
    (tmp_path / "counting" / "__init__.py").write_text("from counting.main import app\n")
    (tmp_path / "counting" / "main.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    import counting.main  # type: ignore[import-not-found]

    yield counting.main
    for name in ("counting", "counting.main"):
        del sys.modules[name]


@both
def test_every_invocation_starts_with_modules_of_its_own(counting: ModuleType, backend: str) -> None:
    """The body, its replay and each item of a map find nothing of what others left."""
    with Simulation(counting.app, backend=backend, reimport=True) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("count").output == [1, 1, [1, 1]]
    assert counting.passes == []


@both
def test_without_it_a_process_stays_warm(counting: ModuleType, backend: str) -> None:
    """The default: what modules hold is there in the next invocation."""
    with Simulation(counting.app, backend=backend) as sim:
        sim.send("go")
        sim.run_until_idle()
        assert sim.run("count").output == [5, 5, [3, 4]]


@both
@pytest.mark.parametrize("ending", ["fulfilled", "cancelled"])
def test_the_shops_order_needs_no_memory(backend: str, ending: str) -> None:
    """The story of the waiting order, paid and unpaid, is told by what was recorded alone."""
    before = (sys.modules["functions.shop"], len(services.world.outbox))
    with Simulation(shop, backend=backend, reimport=True) as sim:
        sim.send("order/created", {"orderId": "o-1"})
        assert sim.run("fulfil-order").status == "SLEEPING"
        sim.stub("fulfil", "parcel-1")  # its real one needs what an earlier step left in memory
        sim.stub("cancel-order", None)
        sim.advance("23h")
        if ending == "fulfilled":
            sim.send("payment/completed", {"orderId": "o-1"})
        sim.advance("1h")
        assert sim.run("fulfil-order").output == {"status": ending}
    assert (sys.modules["functions.shop"], len(services.world.outbox)) == before
    assert sys.modules["functions.shop"] is functions.shop


def declared(app: App) -> App:
    @app.function("f", trigger=event("go"))
    async def handle(ctx: Context) -> None: ...

    return app


@pytest.mark.parametrize("make", [lambda: App("nowhere"), lambda: declared(App("local"))], ids=["bare", "local"])
def test_an_app_that_no_module_has_is_refused(make: Callable[[], Any]) -> None:
    """It could not be found again; the error says what to do."""
    with pytest.raises(ConfigError, match=r"cannot be imported anew.*Mend"):
        Simulation(make(), reimport=True)
