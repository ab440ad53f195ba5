"""Unix cron, in EventBridge Scheduler's words and meaning.

Each field is read into the set of its values and written anew for AWS, so nothing rests on how its
parser takes rarer forms such as `1-30/5`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from stepbridge.errors import ConfigError

_MONTHS: Final = (
    "JAN",
    "FEB",
    "MAR",
    "APR",
    "MAY",
    "JUN",
    "JUL",
    "AUG",
    "SEP",
    "OCT",
    "NOV",
    "DEC",
)
_DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LONGEST_MONTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_WEEKDAY: Final = "day of week"
_ITEM: Final = re.compile(r"(?:(\*)|([0-9]{1,2}|[A-Z]{3})(?:-([0-9]{1,2}|[A-Z]{3}))?)(?:/([0-9]{1,2}))?")
_HORIZON_DAYS: Final = 8 * 366
"""29 February comes at least every eight years: 2096, then 2104."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field(_WEEKDAY, 0, 7, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """Recurring local times. Get one from `parse_cron`."""

    expression: str
    """As the user wrote it."""
    timezone: str
    """IANA name."""
    aws: str = field(compare=False)
    """EventBridge Scheduler's `ScheduleExpression`; `ScheduleExpressionTimezone` is `timezone`."""
    minutes: tuple[int, ...] = field(compare=False, repr=False)
    hours: tuple[int, ...] = field(compare=False, repr=False)
    days: frozenset[int] = field(compare=False, repr=False)
    months: frozenset[int] = field(compare=False, repr=False)
    weekdays: frozenset[int] = field(compare=False, repr=False)
    """0 is Sunday."""
    zone: tzinfo = field(compare=False, repr=False)

    def next_after(self, instant: datetime) -> datetime:
        """The first occurrence later than the aware `instant`, in UTC.

        Daylight saving as EventBridge Scheduler documents it: a local time that the clocks jump
        over in spring is skipped, one that comes twice in autumn fires once. Which time of the two
        is not said; here it is the first. Source: Scheduler user guide, "Schedule types"; AWS
        re:Post, "How can I adjust my Amazon EventBridge schedule for daylight saving?"; 2026-11.

        Raises:
            ConfigError: There is none within eight years: it only ever falls into skipped hours.
        """
        wall = instant.astimezone(self.zone).replace(tzinfo=None)
        for day in _days(wall.date()):
            if not self._falls_on(day):
                continue
            for hour in self.hours:
                for minute in self.minutes:
                    local = datetime.combine(day, time(hour, minute))
                    if local > wall and (found := self._instant(local)) and found > instant:
                        return found
        raise ConfigError(f"cron {self.expression!r} never comes in {self.timezone}. Mend: another hour.")

    def _falls_on(self, day: date) -> bool:
        return day.month in self.months and day.day in self.days and day.isoweekday() % 7 in self.weekdays

    def _instant(self, local: datetime) -> datetime | None:
        """The first instant at which clocks show `local`; None when they jump over it."""
        found = local.replace(tzinfo=self.zone).astimezone(UTC)
        return found if found.astimezone(self.zone).replace(tzinfo=None) == local else None


def parse_cron(expression: str, timezone: str = "UTC") -> Cron:
    """A five-field Unix cron expression in an IANA time zone.

    Args:
        expression: `minute hour day-of-month month day-of-week`: numbers, names (`JAN`, `MON`),
            lists, ranges and steps (`*/5`, `1-30/5`); 0 and 7 are Sunday.
        timezone: `"Europe/Berlin"`, say.

    Raises:
        ConfigError: It is malformed, never comes, AWS cannot say it, or the zone is unknown.
    """
    texts = str(expression).upper().split()
    if len(texts) != len(_FIELDS):
        raise ConfigError(
            f"cron {expression!r} does not have five fields. Mend: minute, hour, day of month,"
            ' month and day of week, such as "0 9 * * MON-FRI".'
        )
    minutes, hours, days, months, weekdays = (
        _values(text, limits, expression) for text, limits in zip(texts, _FIELDS, strict=True)
    )
    weekdays = sorted({day % 7 for day in weekdays})
    if texts[2] != "*" and texts[4] != "*":
        raise ConfigError(
            f"cron {expression!r} restricts both the day of month and the day of week, which Unix"
            " joins by 'or' and AWS cannot say. Mend: two cron triggers, one for each."
        )
    if all(min(days) > _LONGEST_MONTHS[month - 1] for month in months):
        raise ConfigError(f"cron {expression!r} never comes. Mend: a day that its months have.")
    return Cron(
        expression=expression,
        timezone=timezone,
        aws=_aws(minutes, hours, days, months, weekdays, by_weekday=texts[4] != "*"),
        minutes=tuple(minutes),
        hours=tuple(hours),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(weekdays),
        zone=_zone(timezone, expression),
    )


def _values(text: str, limits: _Field, expression: str) -> list[int]:
    found: set[int] = set()
    for item in text.split(","):
        parts = _ITEM.fullmatch(item)
        values = _range(parts, limits) if parts else None
        if not values:
            span = f"{limits.low}-{limits.high}"
            names = f" or {limits.names[0]}-{limits.names[-1]}" if limits.names else ""
            raise ConfigError(
                f"cron {expression!r}: {item!r} is no {limits.name}. Mend: '*', {span}{names}, a"
                f" range such as {span}, or steps within one, such as */2 or {span}/2."
            )
        found.update(values)
    return sorted(found)


def _range(parts: re.Match[str], limits: _Field) -> range | None:
    star, first, last, step = parts.groups()
    if step is not None and not star and last is None:
        return None  # `5/15` means different things to different crons
    low = limits.low if star else _number(first, limits)
    high = limits.high if star else _number(last or first, limits)
    if limits.name == _WEEKDAY and star:
        high = 6
    elif limits.name == _WEEKDAY and last == "SUN" and low > 0:
        high = 7  # FRI-SUN: a week may end with Sunday
    stride = int(step or 1)
    if not limits.low <= low <= high <= limits.high or not 0 < stride <= limits.high:
        return None
    return range(low, high + 1, stride)


def _number(text: str, limits: _Field) -> int:
    """The number, or that of the name; -1 for an unknown name."""
    if text.isdigit():
        return int(text)
    return limits.names.index(text) + limits.low if text in limits.names else -1


def _aws(
    minutes: list[int],
    hours: list[int],
    days: list[int],
    months: list[int],
    weekdays: list[int],
    *,
    by_weekday: bool,
) -> str:
    """AWS numbers Sunday to Saturday 1 to 7 and wants `?` for the day field that is not used."""
    minute, hour = _written(minutes, 0, 59), _written(hours, 0, 23)
    day = "?" if by_weekday else _written(days, 1, 31)
    month = _written(months, 1, 12)
    weekday = _listed([day + 1 for day in weekdays], 7) if by_weekday else "?"
    return f"cron({minute} {hour} {day} {month} {weekday} *)"


def _written(values: list[int], low: int, high: int) -> str:
    if len(values) > 2:  # noqa: PLR2004 - two values are shorter as a list
        step = values[1] - values[0]
        if step > 1 and values == list(range(values[0], high + 1, step)):
            return f"{values[0]}/{step}"
    return _listed(values, high - low + 1)


def _listed(values: list[int], all_of_them: int) -> str:
    """Runs as ranges, so that the longest expression stays within Scheduler's 256 characters."""
    if len(values) == all_of_them:
        return "*"
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][-1] == value - 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _days(start: date) -> Iterator[date]:
    return (start + timedelta(days=n) for n in range(_HORIZON_DAYS + 1))


def _zone(timezone: str, expression: str) -> tzinfo:
    if timezone == "UTC":
        return UTC  # also where there is no time zone data
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
        known = available_timezones()
        mend = 'an IANA name such as "Europe/Berlin"' if known else "pip install tzdata: there is no time zone data"
        raise ConfigError(f"cron {expression!r}: unknown time zone {timezone!r}. Mend: {mend}.") from error
