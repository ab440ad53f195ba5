"""Work on many runs shows how far it is, to people and to nobody else."""

from __future__ import annotations

import io
import sys

import pytest

from stepbridge.cli.output import Output


class Terminal(io.StringIO):
    """What a person looks at."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.mark.parametrize(
    ("as_json", "is_terminal", "rows", "is_shown"),
    [(False, True, 12, True), (False, True, 3, False), (False, False, 12, False), (True, True, 12, False)],
)
def test_a_bar_is_for_people_and_for_many_rows(
    *, as_json: bool, is_terminal: bool, rows: int, is_shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On stderr, named; every row comes, in order, whether it is shown or not."""
    said = Terminal() if is_terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setenv("TERM", "xterm")
    assert list(Output(as_json=as_json).progress("rerun: some runs", range(rows))) == list(range(rows))
    assert ("rerun: some runs" in said.getvalue()) == is_shown
