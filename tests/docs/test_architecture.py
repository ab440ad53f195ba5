"""ARCHITECTURE's tables are what the engine does."""

from __future__ import annotations

import asyncio
import re
import types
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stepbridge import App, Context, EventMatch, event
from stepbridge.core import messages
from stepbridge.core.conditions import ALWAYS, Change, Condition, Item, Key, Updated
from stepbridge.core.instants import to_ms
from stepbridge.core.items import head_birth
from stepbridge.core.keys import HEAD_SK, head_key
from stepbridge.core.records import EventRecord, Head, Status
from stepbridge.core.transitions import diagram
from stepbridge.engine.answers import Invocation
from stepbridge.engine.engine import Engine
from stepbridge.engine.tracking import RunLoop
from stepbridge.engine.workers import Workers
from stepbridge.memory.clock import VirtualClock
from stepbridge.memory.world import World
from stepbridge.ports import Message
from stepbridge.testing import Simulation
from tests.docs.observed import Observed
from tests.docs.pages import ARCHITECTURE, ROOT
from tests.faults.crash import CrashingSimulation, Knife
from tests.faults.programs import PROGRAMS

NOW = datetime(2026, 11, 22, tzinfo=UTC)


# -- one run, request by request -------------------------------------------------------------------
@pytest.fixture
def app() -> App:
    """The app of the page."""
    module = types.ModuleType("architecture")
    for block in ARCHITECTURE.blocks("python"):
        exec(block.code, module.__dict__)  # noqa: S102 - this is what the test is for
    found: App = module.app
    return found


def drive(sim: Simulation) -> None:
    """The order, and its payment on the third day."""
    sim.send("order/created", {"orderId": "o-1"}, id="created")
    sim.advance("3 days")
    sim.send("order/paid", {"orderId": "o-1"}, id="paid")
    sim.run_until_idle()


def test_the_run_asks_for_exactly_this(app: App) -> None:
    """Every request of every invocation, in order."""
    told: list[list[str]] = []
    for invocation, request, _ in ARCHITECTURE.rows("One run, request by request"):
        told += [[]] if invocation else []
        told[-1].append(request.strip("`"))
    with Observed(app) as sim:
        drive(sim)
        assert sim.run().status == "COMPLETED"
    assert sim.invocations == told


def test_a_crash_after_any_of_these_requests_changes_nothing(app: App) -> None:
    """Status and steps are those of the undisturbed run, and nothing is left behind."""
    calm = Knife()
    ends = set()
    with CrashingSimulation(app, knife=calm) as sim:
        drive(sim)
    for point in range(2 * calm.requests):
        with CrashingSimulation(app, knife=Knife(frozenset({point}))) as sim:
            drive(sim)
            ends.add((sim.run().status, frozenset(sim.run().steps), tuple(sim.leftovers())))
    assert ends == {("COMPLETED", frozenset({"reserve", "cool-down", "payment", "ship"}), ())}


# -- items -----------------------------------------------------------------------------------------
def shape(item: Item) -> tuple[str, str]:
    """The keys of an item, as the table writes them."""
    pk, sk = str(item["pk"]), str(item["sk"])
    kind, *more = pk.split("#")
    names = {"R": ["run"], "W": ["place"], "B": ["place"], "M": ["run", "step", "shard"]}.get(kind, [])
    first = "#".join([kind, *(f"<{name}>" for name, _ in zip(names, more, strict=False))])
    for pattern, name in _SORT_KEYS[kind].items():
        if re.fullmatch(pattern, sk):
            return first, name
    raise AssertionError(item)


_SORT_KEYS = {
    "R": {r"#": "#", r"#armed#\d+": "#armed#<n>", r"#in": "#in", r"#out": "#out", r"S#.+": "S#<step>"},
    "W": {r"[a-z2-7]+#[a-z2-7]+": "<run>#<step>"},
    "REG": {r"SIG#.+": "SIG#<event name>"},
    "B": {r"\d+#.+": "<time>#<event id>"},
    "M": {r"#join": "#join", r"S#\d+": "S#<index>"},
}


def halve(item: int) -> float:
    """A map's item."""
    return item / 2


def wide_app() -> App:
    """An app that makes every kind of item."""
    app = App("items")

    @app.function("f", trigger=event("go"), waits=[EventMatch("kept", lookback="1h")])
    async def handler(ctx: Context) -> str:
        await ctx.step.map("m", halve, list(range(150)))
        names = [f"name {number}" for number in range(9)]
        await asyncio.gather(*(ctx.step.wait_for_event(name, event=name, timeout="1 day") for name in names))
        return "output " * 100

    return app


def test_every_kind_of_item_is_listed() -> None:
    """What a run leaves in the table while it goes on, and when it has ended."""
    told = {(pk.strip("`"), sk.strip("`")) for pk, sk, _ in ARCHITECTURE.rows("Items")}
    with Simulation(wide_app(), backend="memory") as sim:
        sim.send("kept", {"n": 1})
        sim.send("go", {"large": "x" * 900})
        seen = {shape(item) for site in sim._sites for item in site.stack.table.items()}
        sim.advance("1 day")
        seen |= {shape(item) for site in sim._sites for item in site.stack.table.items()}
        assert sim.run().status == "COMPLETED"
    assert seen == told


def test_every_kind_of_message_is_listed() -> None:
    """The closed union of the module."""
    told = {name.strip("`") for name, _ in ARCHITECTURE.rows("Messages")}
    assert told == {kind.__name__.lower() for kind in messages.Work.__args__}


# -- the status ------------------------------------------------------------------------------------
class Watched:
    """A table that notes what becomes of heads' statuses."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self.statuses: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    def update(self, key: Key, change: Change, when: Condition = ALWAYS) -> Updated:
        """As the table; a write that took effect is noted."""
        answer: Updated = self._table.update(key, change, when)
        self.statuses += [str(answer.item["st"])] if answer.ok and answer.item and key.sk == HEAD_SK else []
        return answer


@pytest.fixture
def workers() -> Iterator[Workers]:
    """Threads."""
    workers = Workers(blocking=False)
    yield workers
    workers.close()


@pytest.fixture
def loop() -> Iterator[RunLoop]:
    """The engine's."""
    loop = RunLoop()
    yield loop
    loop.close()


STATES: dict[str, dict[str, str | int]] = {
    "none": {},
    "RUNNING, lease held": {"st": "RUNNING", "lx": to_ms(NOW + timedelta(minutes=1)), "ep": 1},
    "RUNNING, lease over": {"st": "RUNNING", "lx": to_ms(NOW - timedelta(minutes=1)), "ep": 1},
    **{status.value: {"st": status.value, "lx": 0, "ep": 1} for status in Status if status is not Status.RUNNING},
}
CAUSES: dict[str, messages.Work] = {
    "`start`": messages.Start(
        run_id="r",
        function_id="f",
        event=EventRecord(name="go", id="e", ts=0, source="test", data="{}"),
        created_at=NOW,
    ),
    "`go`": messages.Go(run_id="r", why="test"),
    "`resume`": messages.Resume(run_id="r"),
    "`cancel`": messages.Cancel(run_id="r", reason="test"),
}
MATRIX = {row[0]: dict(zip(CAUSES, row[1:], strict=True)) for row in ARCHITECTURE.rows("A run's status")}


def test_every_status_is_in_the_matrix() -> None:
    """Each status of the code, and a head that is not there."""
    assert set(MATRIX) == set(STATES)
    assert {row.partition(",")[0] for row in MATRIX} == {status.value for status in Status} | {"none"}


def test_the_picture_is_made_of_the_table() -> None:
    """All of it, and nothing else."""
    assert [block.code.strip() for block in ARCHITECTURE.blocks("mermaid")] == [diagram()]


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("state", STATES)
def test_a_message_makes_of_a_head_what_the_matrix_says(
    state: str, cause: str, workers: Workers, loop: RunLoop
) -> None:
    """The first write to the head that takes effect; none where it would change nothing."""
    app = App("matrix")

    @app.function("f", trigger=event("go"))
    async def handler(ctx: Context) -> None:
        await ctx.step.sleep("nap", "1h")

    stack = World(clock=VirtualClock(NOW)).stack("matrix", lambda _: False)
    start = CAUSES["`start`"]
    assert isinstance(start, messages.Start)
    head = Head(run_id="r", function_id="f", status=Status.RUNNING, event=start.event, created_at=NOW)
    items: list[Item] = [{**head_birth(head), **fields} for fields in [STATES[state]] if fields]
    for item in items:
        stack.table.put({**item, "pk": head_key("r").pk, "sk": HEAD_SK})
    table: Any = Watched(stack.table)
    engine = Engine(app, replace(stack.ports, table=table), workers)
    message = Message(id="m", body=messages.message_text(CAUSES[cause]), receipt="", internal=True)
    invocation = Invocation(id="i", deadline=NOW + timedelta(minutes=2))
    loop.run_until_complete(engine.handle_all([message], invocation=invocation))
    changes = [status for status in table.statuses[:1] if state == "RUNNING, lease over" or status != state]
    assert (changes or ["-"]) == [MATRIX[state][cause]]


# -- crashes ---------------------------------------------------------------------------------------
def test_there_is_a_program_for_each_way_of_waiting() -> None:
    """What the page says of `tests/faults`."""
    names = " ".join(program.name for program in PROGRAMS)
    words = ("sleep", "wait", "retries", "invoke", "cancelled", "looks_back", "any", "signal", "map", "sync")
    assert [word for word in words if word not in names] == []


def test_every_room_is_on_the_map() -> None:
    """Packages, the engine's modules, the folders of tests; none that is gone."""
    package = ROOT / "sdk" / "stepbridge"
    rooms = {f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").exists()}
    modules = {path.stem for path in (package / "engine").glob("*.py")} - {"__init__"}
    tests = {path.name for path in (ROOT / "tests").iterdir() if list(path.glob("*.py"))}
    named = {name for row in ARCHITECTURE.rows("Rooms") for name in re.findall(r"`([\w/]+)`", row[0])}
    parts = ARCHITECTURE.text.split("In `engine/`:", 1)[1].split("Imports point inward", 1)[0]
    assert {name for name in named if name.endswith("/")} == {*rooms, "sdk/stepbridge/", "functions/shop/", "infra/"}
    assert {name for line in parts.splitlines() for name in re.findall(r"`(\w+)`", line)} == modules
    assert {name for row in ARCHITECTURE.rows("Tests") for name in re.findall(r"`(\w+)`", row[0])} == tests
