"""Text for people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stepbridge.cli import words

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0031, "3 ms"),
        (1, "1 s"),
        (1.25, "1.2 s"),
        (59, "59 s"),
        (59.9, "1 m"),
        (125, "2 m 5 s"),
        (3599.9, "1 h"),
        (86_399.9, "1 d"),
        (86_340, "23 h 59 m"),
        (90_000, "1 d 1 h"),
        (7 * 86_400, "7 d"),
    ],
)
def test_lengths_of_time_are_short(seconds: float, text: str) -> None:
    """Two units at most, and no `60 m`."""
    assert words.length(seconds) == text


def test_a_due_time_says_when_and_in_how_long() -> None:
    """The date only where it is another day's."""
    soon, later = words.iso(NOON + timedelta(seconds=3)), words.iso(NOON + timedelta(days=2))
    assert words.until(soon, NOON.astimezone()).endswith("(in 3 s)")
    assert "2025" not in words.until(soon, NOON.astimezone())
    assert "2025" in words.until(later, NOON.astimezone())
    assert words.until(words.iso(NOON - timedelta(1)), NOON.astimezone()).endswith("(in 0 ms)")
    assert words.until(None, NOON) == ""


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\u202eevil", r"\u202eevil"),
        ("\ud800", r"\ud800"),
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text: str, cleaned: str) -> None:
    """Emoji stay whole."""
    assert words.clean(text) == cleaned


def test_values_are_cut_where_they_are_long() -> None:
    """On one line."""
    assert words.value({"é": "\x1b"}) == r'{"é": "\u001b"}'
    assert words.value("x" * 50, 10) == '"xxxxxxxx…'
