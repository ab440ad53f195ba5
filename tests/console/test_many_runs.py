"""100,000 runs in the table: what a page reads does not grow with them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator

import pytest
from starlette.types import ASGIApp

from stepbridge.console.web import console_routes
from stepbridge.core.conditions import Item
from stepbridge.core.ids import digest
from stepbridge.core.keys import HEAD_SK, run_pk
from stepbridge.engine.workers import Workers
from stepbridge.local.log import EventLog
from stepbridge.local.runs import RunList
from stepbridge.local.service import Service
from stepbridge.local.sites import site_of
from stepbridge.local.web import guarded
from stepbridge.memory.clock import SystemClock
from stepbridge.memory.requests import Requests
from stepbridge.memory.world import World
from tests.console.asgi import ask
from tests.console.shop import app as shop

pytestmark = pytest.mark.slow

RUNS = 100_000
ROWS = 50
LOOKS = 2_000
BEGAN_MS = 1_760_000_000_000
FUNCTIONS = tuple(shop.functions)


def head(number: int) -> Item:
    """Every hundredth has failed; data says the number."""
    return {
        "pk": run_pk(digest("many", str(number))),
        "sk": HEAD_SK,
        "fn": FUNCTIONS[number % len(FUNCTIONS)],
        "st": "FAILED" if number % 100 == 0 else "COMPLETED",
        "ep": 1,
        "ev": json.dumps(["order/created", f"e-{number}", BEGAN_MS, "test"]),
        "d": json.dumps({"number": number}),
        "t0": BEGAN_MS + number,
        "t1": BEGAN_MS + number,
        "t2": BEGAN_MS + number + 5,
    }


class Many:
    """The console over them, and what it asks of the table."""

    def __init__(self) -> None:
        world = World(clock=SystemClock())
        stack = world.stack(shop.id, lambda _: True)
        stack.table.load([head(number) for number in range(RUNS)])
        self.asked: Requests = stack.requests
        runs = RunList()
        self.workers = Workers(blocking=False)
        sites = [site_of(world, shop, self.workers, runs)]
        self.app: ASGIApp = guarded(console_routes(Service(world, sites, runs, EventLog(world.bus))))

    def get(self, path: str) -> tuple[str, int]:
        """The page, and how many items it has read."""
        before = self.asked["GetItem"] + self.asked["Query"]
        answer = ask(self.app, path)
        assert answer.status == 200
        return answer.text, self.asked["GetItem"] + self.asked["Query"] - before


@pytest.fixture(scope="module")
def many() -> Iterator[Many]:
    """Made once."""
    many = Many()
    yield many
    many.workers.close()


def ids_in(page: str) -> list[str]:
    """The runs of a list, in order."""
    return list(dict.fromkeys(re.findall(r'href="/runs/([a-z2-7]{26})"', page)))


def next_of(page: str) -> str:
    """Where the next page is."""
    found = re.search(r'rel="next" href="([^"]+)"', page)
    assert found is not None
    return html.unescape(found[1])


def test_a_page_reads_its_rows_and_nothing_else(many: Many) -> None:
    """The first, and those that follow it without a gap."""
    path, seen = "/runs", []
    for _ in range(4):
        page, read = many.get(path)
        assert read == ROWS
        seen += ids_in(page)
        path = next_of(page)
    assert seen == [digest("many", str(RUNS - 1 - place)) for place in range(4 * ROWS)]


def test_function_status_and_time_are_not_searched_for(many: Many) -> None:
    """They are read from sorted lists, also where what is asked for is rare, or long ago."""
    page, read = many.get(f"/runs?function={FUNCTIONS[0]}&status=FAILED&until=2025-10-09T08:53:21Z")
    assert (read, len(ids_in(page))) == (10, 10)
    page, read = many.get("/runs?status=FAILED")
    assert (read, len(ids_in(page))) == (ROWS, ROWS)
    assert many.get("/runs?status=PARKED")[1] == 0


def test_a_search_is_bounded_says_how_far_it_looked_and_goes_on(many: Many) -> None:
    """What is searched for is the 3,000th: the first answer has looked at 2,000 runs, the second finds it."""
    wanted = RUNS - 3_000
    page, read = many.get(f"/runs?data=number%3D{wanted}")
    assert ids_in(page) == []
    assert "Looked at 2,000 runs" in page
    assert "There are older ones" in page
    assert read <= 2 * LOOKS
    page, read = many.get(next_of(page))
    assert ids_in(page) == [digest("many", str(wanted))]
    assert read <= 2 * LOOKS


def test_functions_are_counted_without_a_read(many: Many) -> None:
    """Their counts are kept."""
    page, read = many.get("/functions")
    assert read == 0
    assert "99.0 %" in page or "95.0 %" in page
