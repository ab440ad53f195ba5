"""The list of runs: pages, counts, listeners; and the table that keeps it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from stepbridge.core.conditions import Absent, Change, Item, Key
from stepbridge.core.records import Status
from stepbridge.local.runs import RunList
from stepbridge.local.watch import WatchedTable
from stepbridge.memory.requests import Requests
from stepbridge.memory.table import MemoryTable


def head(number: int, status: str = "RUNNING", function_id: str = "f", event_id: str = "e") -> dict[str, Any]:
    """A head's item, made at this millisecond."""
    return {
        "pk": f"R#{run_id(number)}",
        "sk": "#",
        "fn": function_id,
        "st": status,
        "ev": json.dumps(["n", event_id, 1, "s"]),
        "t0": number,
    }


def run_id(number: int) -> str:
    """A run's id, in no order."""
    return f"{(number * 7919) % 26**4:x}".translate(str.maketrans("0189", "wxyz"))


@pytest.fixture
def runs() -> RunList:
    """Empty."""
    return RunList()


def test_pages_are_newest_first_and_meet_without_a_gap(runs: RunList) -> None:
    """In whatever order the runs became known, and where several are of one millisecond."""
    numbers = [5, 1, 4, 2, 3, 0]
    for number in numbers:
        runs.note("app", head(number))
    pages, cursor = [], None
    for _ in range(4):
        page = runs.page(limit=2, cursor=cursor)
        pages.append(page.run_ids)
        cursor = page.cursor
        if cursor is None:
            break
    assert pages == [[run_id(5), run_id(4)], [run_id(3), run_id(2)], [run_id(1), run_id(0)]]


def test_a_run_stands_under_its_function_and_its_status_alone(runs: RunList) -> None:
    """It moves when its status does, and never from a terminal one."""
    runs.note("app", head(1, function_id="f"))
    runs.note("app", head(2, function_id="g"))
    runs.note("app", head(1, "FAILED", "f"))
    runs.note("app", head(1, "RUNNING", "f"))
    assert runs.page(function_id="f", status=Status.FAILED).run_ids == [run_id(1)]
    assert runs.page(function_id="f", status=Status.RUNNING).run_ids == []
    assert runs.page(status=Status.RUNNING).run_ids == [run_id(2)]
    assert runs.page(function_id="g").run_ids == [run_id(2)]
    assert runs.page(function_id="nope").run_ids == []
    assert (runs.counts("app", "f"), len(runs)) == ({Status.FAILED: 1, Status.RUNNING: 0}, 2)


def test_a_page_can_begin_at_an_instant(runs: RunList) -> None:
    """Runs made before it are left out, and no cursor leads to them."""
    for number in range(4):
        runs.note("app", head(number))
    page = runs.page(since_ms=2, limit=2)
    assert (page.run_ids, page.cursor) == ([run_id(3), run_id(2)], None)
    assert runs.page(since_ms=1, until_ms=3).run_ids == [run_id(2), run_id(1)]  # made before it, not at it


@pytest.mark.parametrize("cursor", ["", "x", "1", "1.", ".a", "1.A", "1.a ", "-1.a", "9" * 16 + ".a"])
def test_a_made_up_cursor_is_refused(runs: RunList, cursor: str) -> None:
    """It is a user's text."""
    with pytest.raises(ValueError, match="cursor"):
        runs.page(cursor=cursor)


def test_runs_are_found_by_the_event_that_started_them(runs: RunList) -> None:
    """All of them, each once."""
    for number in (1, 2, 1):
        runs.note("app", head(number, event_id="e1"))
    assert runs.started_by("e1") == (run_id(1), run_id(2))
    assert runs.started_by("e2") == ()
    assert (runs.app_of(run_id(1)), runs.app_of("nope")) == ("app", None)


def test_a_run_cancelled_before_it_was_made_is_not_shown(runs: RunList) -> None:
    """Its head has no function."""
    runs.note("app", head(1, "CANCELLED", ""))
    assert len(runs) == 0


def test_listeners_hear_of_every_write_until_they_end(runs: RunList) -> None:
    """Of heads and of what stands beside them."""
    heard: list[str] = []
    end = runs.listen(heard.append)
    runs.note("app", head(1))
    runs.touch("other")
    end()
    runs.touch("later")
    assert heard == [run_id(1), "other"]


def test_no_run_of_many_threads_is_lost(runs: RunList) -> None:
    """Nor listed twice."""
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda number: runs.note("app", head(number % 500, ["RUNNING", "FAILED"][number // 500])), range(1000)
            )
        )
    assert len(runs.page(limit=1000).run_ids) == len(runs) == 500
    assert runs.counts("app", "f")[Status.FAILED] == 500


class Watcher:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def head_written(self, item: Any) -> None:
        """A head."""
        self.told.append(f"head {item['st']}")

    def run_touched(self, run_id: str, item: Item) -> None:
        """Anything else of a run."""
        self.told.append(f"run {run_id}")


def test_a_watched_table_tells_of_what_it_has_written() -> None:
    """Of runs only, and of nothing that a condition refused; it answers as the table itself."""
    watcher = Watcher()
    table = WatchedTable(MemoryTable(Requests()), watcher)
    item: Item = {"pk": "R#a", "sk": "#", "st": "RUNNING", "gp": "l", "gs": "1"}
    assert table.put(item) is None
    assert table.put(item, Absent("sk")) == item
    assert table.update(Key("R#a", "#"), Change(set={"st": "FAILED"})).ok
    assert not table.update(Key("R#a", "#"), Change(set={"st": "X"}), Absent("sk")).ok
    table.put({"pk": "R#a", "sk": "S#1"})
    table.put({"pk": "W#a", "sk": "b"})
    assert watcher.told == ["head RUNNING", "head FAILED", "run a"]
    assert [found["sk"] for found in table.query("R#a", after="#")] == ["S#1"]
    assert [found["pk"] for found in table.query_index("l")] == ["R#a"]
    table.delete(Key("R#a", "#"))
    assert table.get(Key("R#a", "#")) is None
