"""The same done to many runs: all pages of all statuses, what refuses, and what a command says of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import typer

from stepbridge.cli.bulk import Filter, each
from stepbridge.cli.output import Output
from stepbridge.cli.problems import FAILED, REFUSED, CommandError
from stepbridge.cli.remote import Remote

ALL = Filter(function=None, statuses=("FAILED", "CANCELLED"), since=None)


class Pages:
    """A target with two pages of one run each, of each status."""

    def get(self, *path: str, **query: Any) -> Any:
        """A page."""
        assert path == ("runs",)
        place = query["cursor"] or "1"
        row = {"run_id": f"{query['status']}-{place}", "function_id": "f"}
        return {"runs": [row], "cursor": "2" if place == "1" else None}

    def post(self, *_path: str, body: object = None) -> Any:
        """Nothing."""


def refusing(code: int) -> Any:
    """Does it to all but one, which refuses with this code."""

    def do(row: dict[str, Any]) -> dict[str, Any]:
        if row["run_id"] == "FAILED-2":
            raise CommandError("it has ended", code)
        return {"run_id": f"new-{row['run_id']}"}

    return do


def test_every_page_of_every_status_is_done_and_what_refuses_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """The others are done all the same; the exit code says that not all were."""
    with pytest.raises(typer.Exit) as ended:
        each(Pages(), Output(as_json=True), ALL, "rerun", refusing(FAILED), sure=True)
    assert ended.value.exit_code == FAILED
    told = json.loads(capsys.readouterr().out)
    assert [one["result"] for one in told["done"]] == ["new-FAILED-1", "new-CANCELLED-1", "new-CANCELLED-2"]
    assert told["refused"] == [{"run_id": "FAILED-2", "reason": "it has ended"}]


def test_a_target_that_is_gone_ends_it() -> None:
    """No further run would fare better."""
    with pytest.raises(CommandError, match="it has ended") as caught:
        each(Pages(), Output(as_json=True), ALL, "rerun", refusing(REFUSED), sure=True)
    assert caught.value.code == REFUSED


def test_a_time_is_asked_for_as_the_target_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local server's API in milliseconds, an account as an instant."""
    asked: list[object] = []
    monkeypatch.setattr(Remote, "get", lambda _self, *_path, **query: asked.append(query["since"]))
    wanted = Filter(function="f", statuses=(), since=datetime(2025, 1, 1, tzinfo=UTC))
    wanted.page(Remote("http://127.0.0.1:8787"), limit=1, cursor=None)
    assert asked == [1_735_689_600_000]


def test_a_document_is_plain_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    """So that no terminal obeys what is in it, whatever its bytes mean there."""
    Output(as_json=True).document({"name": "\x9b31m\u202e\x1b"})
    assert capsys.readouterr().out.strip() == '{\n  "name": "\\u009b31m\\u202e\\u001b"\n}'
