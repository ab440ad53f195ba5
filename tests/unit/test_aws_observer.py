"""What is counted of messages and writes: of this invocation only, and only what has happened."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from stepbridge.aws.observability import ObservedTable, Observer, _Lines
from stepbridge.core.conditions import Absent, Change, Item
from stepbridge.core.instants import from_ms
from stepbridge.core.keys import head_key
from stepbridge.core.messages import Go, message_text
from stepbridge.ports import Message
from tests.unit.aws_script import Answer, Script, ok

NOW = datetime(2025, 1, 1, tzinfo=UTC)
HEAD: Item = {
    "pk": "R#r",
    "sk": "#",
    "fn": "pay",
    "ev": '["go", "e", 0, "test"]',
    "ho": "a:m",
    "ep": 1,
    "st": "RUNNING",
}
RUN_HEAD = head_key("r")


class Told:
    """An observer, and the metrics it has told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.observer = Observer("shop", self.lines.append)

    def metrics(self) -> dict[str, Any]:
        """Of all that was told so far, by name; the invocation ends."""
        self.observer.end()
        rows = [json.loads(line) for line in self.lines]
        names = [(row, one["Name"]) for row in rows for one in row["_aws"]["CloudWatchMetrics"][0]["Metrics"]]
        return {name: row[name] for row, name in names}


def timer(due_ms: int) -> Message:
    """A message of the engine's own that was due then."""
    body = message_text(Go(run_id="r", why="timer", due_at=from_ms(due_ms)))
    return Message(id="m", body=body, receipt="r", internal=True)


def test_a_timer_is_late_or_it_is_not() -> None:
    """Never less than nothing: clocks differ. Told in milliseconds."""
    told = Told()
    told.observer.begin([timer(1_000)], "request")
    told.observer.head_claimed(HEAD, 900)
    assert told.metrics() == {"RunsStarted": [1.0], "TimerLateness": [0.0]}
    units = {one["Name"]: one["Unit"] for one in json.loads(told.lines[0])["_aws"]["CloudWatchMetrics"][0]["Metrics"]}
    assert units == {"RunsStarted": "Count", "TimerLateness": "Milliseconds"}


def test_an_invocation_leaves_nothing_to_the_next() -> None:
    """Counts, times and ids; a due time whose run was not claimed, too."""
    told = Told()
    told.observer.begin([timer(1_000)], "one")
    told.observer.head_claimed(HEAD, 4_000)
    told.observer.begin([timer(1_000)], "one")
    assert told.metrics()["TimerLateness"] == [3000.0]
    told.lines.clear()
    assert told.observer.ids_of("r") == {}
    told.observer.head_claimed({**HEAD, "ep": 2}, 9_000)
    assert told.metrics() == {}


def test_what_users_send_is_not_read() -> None:
    """An event may say `due` of whatever it likes, in the very words of a timer too."""
    told = Told()
    told.observer.begin([Message(id="m", body='{"due": "soon"}', receipt="r"), timer(5)], "request")
    assert told.metrics() == {}
    told.observer.begin([replace(timer(1_000), internal=False)], "request")
    told.observer.head_claimed(HEAD, 2_000)
    assert "TimerLateness" not in told.metrics()


@pytest.mark.parametrize(("function_id", "dimension"), [(":pay", "_:pay"), (" ", "_ "), ("é", "\\xe9"), ("pay", "pay")])
def test_any_function_has_a_dimension(function_id: str, dimension: str) -> None:
    """CloudWatch takes neither a colon first nor blanks alone, and ASCII only."""
    told = Told()
    told.observer.head_ended({"fn": function_id, "st": "COMPLETED"})
    told.observer.end()
    assert json.loads(told.lines[0])["function"] == dimension


def refused_by(**standing: object) -> Answer:
    """An answer to a write that a condition refused."""
    item = {name: {"N": str(one)} if isinstance(one, int) else {"S": one} for name, one in {**HEAD, **standing}.items()}
    body = {"__type": "ConditionalCheckFailedException", "Item": item}
    return 400, {"x-amzn-errortype": "ConditionalCheckFailedException"}, json.dumps(body).encode()


CLAIM = Change(set={"st": "RUNNING", "ho": "a:m", "lx": 1}, add={"ep": 1})
END = Change(set={"st": "COMPLETED"})
RETRY: Item = {"pk": "R#r", "sk": "S#k", "st": "retry", "n": "k"}


@pytest.mark.parametrize(
    ("answer", "write", "counted"),
    [
        (refused_by(ho="other:m"), lambda table: table.update(RUN_HEAD, CLAIM, Absent()), {"LeaseBounces": [1.0]}),
        (refused_by(), lambda table: table.update(RUN_HEAD, CLAIM, Absent()), {"RunsStarted": [1.0]}),
        (refused_by(ho="other:m", st="FAILED"), lambda table: table.update(RUN_HEAD, CLAIM, Absent()), {}),
        (refused_by(st="CANCELLED"), lambda table: table.update(RUN_HEAD, END, Absent()), {}),
        (refused_by(), lambda table: table.put(RETRY, Absent()), {}),
        (ok(), lambda table: table.put(RETRY, Absent()), {"StepRetries": [1.0]}),
    ],
    ids=["held", "answer lost", "ended", "cancelled first", "recorded first", "to be tried again"],
)
def test_only_what_was_written_counts(
    answer: Answer, write: Callable[[ObservedTable], object], counted: dict[str, list[float]]
) -> None:
    """A claim whose answer was lost is one; what a condition refused has not happened."""
    told = Told()
    told.observer.head_claimed({**HEAD, "ep": 2}, 0)
    write(ObservedTable(Script(answer).clients.dynamodb, "shop", told.observer, lambda: NOW))
    assert told.metrics() == counted


def test_a_line_that_cannot_be_written_is_not_worth_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    """It is told on stderr, as Python's own handlers do."""
    _Lines("shop", Observer("shop")).handle(logging.makeLogRecord({"msg": "%d pieces", "args": ("no number",)}))
    said = capsys.readouterr()
    assert (said.out, "no number" in said.err) == ("", True)


def test_half_a_character_is_written_as_json_has_it(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """What an event holds may be logged; the line is not lost to standard error."""
    _Lines("shop", Observer("shop")).handle(logging.makeLogRecord({"msg": "paid by \ud800"}))
    said = capsysbinary.readouterr()
    assert (json.loads(said.out)["message"], said.err) == ("paid by \ud800", b"")
