import zoneinfo
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepbridge.core import cron as cron_module
from stepbridge.core.cron import parse_cron
from stepbridge.errors import ConfigError

MINUTE = timedelta(minutes=1)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo")
TURNS = tuple(
    datetime(2026, month, day, tzinfo=UTC)
    for month, day in (
        (1, 1),
        (3, 7),
        (3, 28),
        (4, 4),
        (4, 23),
        (10, 3),
        (10, 24),
        (10, 29),
        (11, 1),
    )
)
"""Days around which clocks change in these zones, and one where none does."""


def next_ones(expression: str, timezone: str, start: str, count: int) -> list[str]:
    """The next occurrences after `start`, as ISO text in UTC."""
    cron, at, found = parse_cron(expression, timezone), datetime.fromisoformat(start), []
    for _ in range(count):
        at = cron.next_after(at)
        found.append(at.isoformat())
    return found


@pytest.mark.parametrize(
    ("unix", "aws"),
    [
        ("* * * * *", "cron(* * * * ? *)"),
        ("0 9 * * *", "cron(0 9 * * ? *)"),
        ("*/15 * * * *", "cron(0/15 * * * ? *)"),
        ("0 9 * * 1-5", "cron(0 9 ? * 2-6 *)"),
        ("0 9 * * MON-FRI", "cron(0 9 ? * 2-6 *)"),
        ("0 9 * * fri-sun", "cron(0 9 ? * 1,6-7 *)"),
        ("0 0 * * 0", "cron(0 0 ? * 1 *)"),
        ("0 0 * * 7", "cron(0 0 ? * 1 *)"),
        ("0 0 * * SUN,SAT", "cron(0 0 ? * 1,7 *)"),
        ("0 0 * * SUN-SUN", "cron(0 0 ? * 1 *)"),
        ("0 0 * * */2", "cron(0 0 ? * 1,3,5,7 *)"),
        ("0 0 * * 0-6", "cron(0 0 ? * * *)"),
        ("0 0 */2 * *", "cron(0 0 1/2 * ? *)"),
        ("0 0 1,15 JAN-MAR,dec *", "cron(0 0 1,15 1-3,12 ? *)"),
        ("10-30/10 8-18 1 */3 *", "cron(10,20,30 8-18 1 1/3 ? *)"),
        ("  5  4  29  2  * ", "cron(5 4 29 2 ? *)"),
    ],
)
def test_unix_cron_is_said_in_the_words_of_eventbridge_scheduler(unix: str, aws: str) -> None:
    """Sunday is 1, `?` stands for the day field not used, values stay the same."""
    assert parse_cron(unix).aws == aws


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("", "five fields"),
        ("@daily", "five fields"),
        ("0 9 * * ? *", "five fields"),
        (None, "five fields"),
        ("60 * * * *", "'60' is no minute"),
        ("* 24 * * *", "'24' is no hour"),
        ("* * 0 * *", "'0' is no day of month"),
        ("* * * 13 *", "'13' is no month"),
        ("* * * * 8", "'8' is no day of week"),
        ("* * * FOO *", "'FOO' is no month"),
        ("* * * JAN-SUN *", "'JAN-SUN' is no month"),
        ("MON * * * *", "'MON' is no minute"),
        ("5-1 * * * *", "'5-1' is no minute"),
        ("* * * * SAT-MON", "'SAT-MON' is no day of week"),
        ("*/0 * * * *", "'\\*/0' is no minute"),
        ("*/90 * * * *", "'\\*/90' is no minute"),
        ("5/15 * * * *", "'5/15' is no minute"),
        ("1,,2 * * * *", "'' is no minute"),
        ("* * L * *", "'L' is no day of month"),
        (f"{'9' * 5000} * * * *", "is no minute"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 2,4,6,9,11 *", "never comes"),
    ],
)
def test_a_malformed_cron_is_refused_with_the_mend(wrong: str, why: str) -> None:
    """The error quotes the expression and the part that is wrong."""
    with pytest.raises(ConfigError, match=f"{why}.* Mend: ") as caught:
        parse_cron(wrong)
    assert str(caught.value).startswith(f"cron {wrong!r}")


def test_two_restricted_day_fields_are_refused() -> None:
    """Unix joins them by 'or', which AWS cannot say; the mend is two triggers."""
    with pytest.raises(ConfigError, match="Mend: two cron triggers"):
        parse_cron("0 0 13 * FRI")


@pytest.mark.parametrize("unknown", ["Mars/Olympus", "", "../etc/passwd", "Europe", "\0"])
def test_an_unknown_time_zone_is_refused(unknown: str) -> None:
    """The error names the zone and shows what a name looks like."""
    with pytest.raises(ConfigError, match=r"unknown time zone .* Mend: an IANA name"):
        parse_cron("0 9 * * *", unknown)


def test_a_system_without_time_zone_data_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no time zone data at all the mend is to install it; UTC works all the same."""
    monkeypatch.setattr(zoneinfo, "TZPATH", ())
    monkeypatch.setattr(cron_module, "available_timezones", set)
    with pytest.raises(ConfigError, match="Mend: pip install tzdata"):
        parse_cron("0 9 * * *", "Nowhere/Here")
    assert next_ones("0 9 * * *", "UTC", "2026-01-01T00:00Z", 1) == ["2026-01-01T09:00:00+00:00"]


def test_the_next_occurrence_is_strictly_later() -> None:
    """Asked at an occurrence, even within its minute, the one after it is given."""
    assert next_ones("30 9 * * *", "UTC", "2026-01-01T09:30:00Z", 2) == [
        "2026-01-02T09:30:00+00:00",
        "2026-01-03T09:30:00+00:00",
    ]
    assert next_ones("30 9 * * *", "UTC", "2026-01-01T09:29:59.999999Z", 1) == ["2026-01-01T09:30:00+00:00"]


def test_a_local_time_keeps_to_the_clocks_of_its_zone() -> None:
    """Nine in Berlin is eight in UTC in winter and seven in summer."""
    assert next_ones("0 9 * * *", "Europe/Berlin", "2026-03-28T00:00Z", 2) == [
        "2026-03-28T08:00:00+00:00",
        "2026-03-29T07:00:00+00:00",
    ]


def test_a_time_that_the_clocks_jump_over_is_skipped() -> None:
    """On 29 March 2026 there is no half past two in Berlin; that day has no occurrence."""
    assert next_ones("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00Z", 2) == [
        "2026-03-28T01:30:00+00:00",
        "2026-03-30T00:30:00+00:00",
    ]


def test_a_time_that_comes_twice_fires_once() -> None:
    """On 25 October 2026 half past two comes twice in Berlin; the first counts."""
    assert next_ones("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", 2) == [
        "2026-10-25T00:30:00+00:00",
        "2026-10-26T01:30:00+00:00",
    ]


def test_leap_days_are_found_across_the_century() -> None:
    """2100 is no leap year: after 2096 the next 29 February is in 2104."""
    assert next_ones("0 0 29 2 *", "UTC", "2096-02-29T00:00Z", 1) == ["2104-02-29T00:00:00+00:00"]


def test_a_day_that_a_zone_left_out_is_skipped() -> None:
    """Samoa had no 30 December in 2011."""
    cron = parse_cron("0 12 30 12 *", "Pacific/Apia")
    assert cron.next_after(datetime(2011, 1, 1, tzinfo=UTC)).year == 2012


def test_a_search_that_finds_nothing_ends_with_an_error() -> None:
    """No zone skips the same hour for eight years, but none promises not to."""
    never = replace(parse_cron("0 12 * * *"), days=frozenset())
    with pytest.raises(ConfigError, match="never comes in UTC"):
        never.next_after(datetime(2026, 1, 1, tzinfo=UTC))


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> tuple[str, frozenset[int]]:
    """A cron field as text, and the values that it means."""
    every = frozenset(range(low, high + 1))
    step = draw(st.integers(1, high))
    first = draw(st.integers(low, high))
    last = draw(st.integers(first, high))
    some = draw(st.frozensets(st.integers(low, high), min_size=1, max_size=8))
    return draw(
        st.sampled_from(
            [
                ("*", every),
                (f"*/{step}", frozenset(range(low, high + 1, step))),
                (f"{first}-{last}", frozenset(range(first, last + 1))),
                (f"{first}-{last}/{step}", frozenset(range(first, last + 1, step))),
                (",".join(map(str, some)), some),
            ]
        )
    )


def minutes_after(instant: datetime) -> Iterator[datetime]:
    """Every whole minute later than `instant`."""
    at = instant.replace(second=0, microsecond=0)
    while True:
        at += MINUTE
        yield at


@settings(max_examples=300, deadline=None)
@given(
    minute=fields(0, 59),
    hour=fields(0, 23),
    weekday=fields(0, 6),
    zone=st.sampled_from(ZONES),
    turn=st.sampled_from(TURNS),
    offset=st.timedeltas(timedelta(0), timedelta(days=3)),
)
def test_the_next_occurrence_is_what_a_scan_of_every_minute_finds(
    minute: tuple[str, frozenset[int]],
    hour: tuple[str, frozenset[int]],
    weekday: tuple[str, frozenset[int]],
    zone: str,
    turn: datetime,
    offset: timedelta,
) -> None:
    """The first later minute whose wall clock fits, and shows that time for the first time."""

    def fits(at: datetime) -> bool:
        local = at.astimezone(ZoneInfo(zone))
        return (
            local.fold == 0
            and local.minute in minute[1]
            and local.hour in hour[1]
            and local.isoweekday() % 7 in weekday[1]
        )

    cron = parse_cron(f"{minute[0]} {hour[0]} * * {weekday[0]}", zone)
    expected = next(filter(fits, minutes_after(turn + offset)))
    assert cron.next_after(turn + offset) == expected


@settings(max_examples=300, deadline=None)
@given(
    day=fields(1, 28),
    month=fields(1, 12),
    start=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_the_next_day_is_what_a_scan_of_every_day_finds(
    day: tuple[str, frozenset[int]], month: tuple[str, frozenset[int]], start: datetime
) -> None:
    """The first later midnight whose date fits."""
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    days = (midnight + timedelta(days=n) for n in range(1, 400))
    cron = parse_cron(f"0 0 {day[0].replace('*', '1-28')} {month[0]} *")
    expected = next(at for at in days if at.day in day[1] and at.month in month[1])
    assert cron.next_after(start) == expected


@given(
    minute=st.frozensets(st.integers(0, 59), min_size=1),
    hour=st.frozensets(st.integers(0, 23), min_size=1),
    day=st.frozensets(st.integers(1, 31), min_size=1),
    month=st.frozensets(st.integers(1, 12), min_size=1),
)
def test_the_aws_form_says_the_same_in_256_characters(
    minute: frozenset[int], hour: frozenset[int], day: frozenset[int], month: frozenset[int]
) -> None:
    """Read back as AWS documents `*`, `-`, `,` and `/`, it has the same values, and it fits."""
    sets = (minute, hour, day, month | {1})
    expression = " ".join(",".join(map(str, sorted(values))) for values in sets) + " *"
    aws = parse_cron(expression).aws
    written = aws.removeprefix("cron(").split()[:4]
    limits = ((0, 59), (0, 23), (1, 31), (1, 12))
    assert [read(text, *limit) for text, limit in zip(written, limits, strict=True)] == list(sets)
    assert len(aws) <= 256


def read(text: str, low: int, high: int) -> frozenset[int]:
    """The values of an AWS cron field."""
    found: set[int] = set()
    for item in text.replace("*", f"{low}-{high}").split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        top = high if step else int(last or first)
        found |= set(range(int(first), top + 1, int(step or 1)))
    return frozenset(found)
