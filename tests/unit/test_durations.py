from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepbridge.core.durations import parse_duration, parse_instant
from stepbridge.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("30s", timedelta(seconds=30)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("1 day", timedelta(days=1)),
        ("7 days", timedelta(days=7)),
        ("1w", timedelta(weeks=1)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5 hours", timedelta(minutes=90)),
        (" 1 day 2 hours ", timedelta(hours=26)),
        ("10 mins", timedelta(minutes=10)),
        ("0s", timedelta(0)),
        (0, timedelta(0)),
        (1500, timedelta(seconds=1.5)),
        (0.5, timedelta(microseconds=500)),
        (timedelta(minutes=3), timedelta(minutes=3)),
    ],
)
def test_a_duration_is_read_as_written(written: str | float | timedelta, meant: timedelta) -> None:
    """Text with units, several of them too; timedeltas; bare numbers are milliseconds."""
    assert parse_duration(written) == meant


@pytest.mark.parametrize(
    "wrong",
    [
        *("", " ", "30", "s", "5 fortnights", "5M", "1h30", "h1", "1h,2m", "-5m", "1e3s", "٣s", "1.h"),
        *("9" * 400 + "d", "9" * 5000 + "d", "1." + "9" * 5000 + "d", -1, -0.5, timedelta(-1)),
        *(True, float("nan"), float("inf"), None, [1]),
    ],
)
def test_what_is_no_duration_is_refused_by_name(wrong: object) -> None:
    """The error names what the duration is for, the value and the mend."""
    with pytest.raises(ConfigError) as caught:
        parse_duration(wrong, what="timeout", maximum=timedelta(days=366))  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"timeout {wrong!r:.300} is ")
    assert "Mend: " in str(caught.value)


def test_a_duration_may_reach_the_maximum_and_not_pass_it() -> None:
    """The maximum itself is allowed; one millisecond more is not."""
    year = timedelta(days=366)
    assert parse_duration("366 days", maximum=year) == year
    with pytest.raises(ConfigError, match="above the longest allowed"):
        parse_duration("366 days 1ms", maximum=year)


@pytest.mark.parametrize("huge", [10**400, 1e300, "9999999999 weeks"])
def test_a_duration_beyond_reckoning_is_the_longest_there_is(huge: str | float) -> None:
    """No overflow escapes; where there is a maximum it is above it."""
    assert parse_duration(huge) == timedelta.max
    with pytest.raises(ConfigError, match="above the longest allowed"):
        parse_duration(huge, maximum=timedelta(days=366))


@given(days=st.integers(0, 366), hours=st.integers(0, 99), ms=st.integers(0, 10**6))
def test_parts_add_up(days: int, hours: int, ms: int) -> None:
    """The duration is the sum of its parts."""
    meant = timedelta(days=days, hours=hours, milliseconds=ms)
    assert parse_duration(f"{days} days {hours}h{ms}ms") == meant
    assert parse_duration(meant // timedelta(milliseconds=1)) == meant


@pytest.mark.parametrize(
    "written",
    [
        "2026-01-31T09:00:00Z",
        "2026-01-31T10:00:00+01:00",
        "20260131T090000Z",
        datetime(2026, 1, 31, 9, tzinfo=UTC),
        datetime(2026, 1, 31, 4, tzinfo=timezone(timedelta(hours=-5))),
    ],
)
def test_an_instant_is_read_into_utc(written: str | datetime) -> None:
    """Whatever its offset, the same instant comes back as aware UTC."""
    instant = parse_instant(written, what="until")
    assert instant == datetime(2026, 1, 31, 9, tzinfo=UTC)
    assert instant.tzinfo is UTC


@pytest.mark.parametrize(
    "naive",
    ["2026-01-31T09:00:00", "2026-01-31", datetime(2026, 1, 31, 9)],  # noqa: DTZ001
)
def test_a_naive_instant_is_refused_with_the_mend(naive: str | datetime) -> None:
    """Without a time zone it could mean any of a day; the error tells how to say it."""
    with pytest.raises(ConfigError, match=r"^until .* does not say its time zone\. Mend: add"):
        parse_instant(naive, what="until")


@pytest.mark.parametrize("wrong", ["", "tomorrow", "2026-02-30T00:00:00Z", 1700000000, None])
def test_what_is_no_instant_is_refused_by_name(wrong: object) -> None:
    """The error names what the instant is for and the value."""
    with pytest.raises(ConfigError) as caught:
        parse_instant(wrong, what="until")  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"until {wrong!r} is not an instant")


def test_an_instant_before_the_first_year_is_refused() -> None:
    """An offset that leads out of the calendar is an error like any other."""
    with pytest.raises(ConfigError, match="is not an instant"):
        parse_instant("0001-01-01T00:00:00+05:00")
