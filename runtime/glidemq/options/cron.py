"""Cron patterns: which instants they name, in a time zone.

Why not a cron library: what it would have to do is the smaller part. Patterns must be those that Node reads, with its
messages (numbers only, Sunday is 0 and not 7, no `5/15`), and the rules for clock changes are the ones below; of the
libraries tried (croniter 7, cronsim 2.8) both move a job from the skipped hour behind it, and both run patterns with a
`*` twice in the repeated one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from glidemq.errors import ValidationError

HORIZON_YEARS: Final = 10

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)
_TOKEN: Final = re.compile(r"(?:\*|([0-9]{1,9})(?:-([0-9]{1,9}))?)(?:/([0-9]{1,9}))?")


class _Field(NamedTuple):
    first: int
    last: int


_MINUTES, _HOURS, _DAYS, _MONTHS, _WEEKDAYS = (
    _Field(0, 59), _Field(0, 23), _Field(1, 31), _Field(1, 12), _Field(0, 6),
)  # fmt: skip
_FIELDS: Final = (_MINUTES, _HOURS, _DAYS, _MONTHS, _WEEKDAYS)


@dataclass(frozen=True, slots=True)
class CronPattern:
    """A set of wall-clock minutes, given by five numeric fields: minute, hour, day of month, month, day of week.

    Tokens: `*`, `n`, `a-b`, `*/s`, `a-b/s`, and lists of them with commas. Sunday is 0. As in crontab, a day
    matches when either day field does if both are restricted, that is, if neither starts with `*`.

    When clocks are put forward, minutes that do not exist are skipped; when they are put back, a minute that
    comes twice counts the first time.
    """

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    @classmethod
    def parse(cls, text: str) -> CronPattern:
        """The pattern that `text` writes.

        Raises:
            ValidationError: with the documented sentence (features page, section 9).
        """
        fields = text.split()
        if len(fields) != len(_FIELDS):
            raise ValidationError(f"Invalid cron pattern: expected 5 fields, got {len(fields)}")
        minutes, hours, days, months, weekdays = (
            _values(field, bounds) for field, bounds in zip(fields, _FIELDS, strict=True)
        )
        return cls(
            text=" ".join(fields),
            minutes=tuple(sorted(minutes)),
            hours=tuple(sorted(hours)),
            days=frozenset(days),
            months=frozenset(months),
            weekdays=frozenset(weekdays),
            either_day=not (fields[2].startswith("*") or fields[4].startswith("*")),
        )

    def next_after(self, after_ms: int, zone: tzinfo) -> int | None:
        """The first instant after `after_ms` (both epoch ms); None when there is none within ten years."""
        after = _EPOCH + timedelta(milliseconds=after_ms)
        wall = after.astimezone(zone).replace(tzinfo=None, fold=0, second=0, microsecond=0)
        last_year = wall.year + HORIZON_YEARS
        while True:
            following = self._next_wall(wall, last_year)
            if following is None:
                return None
            wall = following
            instant = wall.replace(tzinfo=zone).astimezone(UTC)
            # In a gap the way back leads elsewhere; in the second of two equal hours the first lies behind us.
            if instant > after and instant.astimezone(zone).replace(tzinfo=None, fold=0) == wall:
                return (instant - _EPOCH) // timedelta(milliseconds=1)

    def _next_wall(self, wall: datetime, last_year: int) -> datetime | None:
        """The next minute of the pattern on a clock that is never changed."""
        if self._is_day(wall.date()):
            if wall.hour in self.hours and wall.minute < self.minutes[-1]:
                return wall.replace(minute=self.minutes[bisect_right(self.minutes, wall.minute)])
            if wall.hour < self.hours[-1]:
                hour = self.hours[bisect_right(self.hours, wall.hour)]
                return wall.replace(hour=hour, minute=self.minutes[0])
        day = wall.date()
        while True:
            day += _DAY
            if day.month not in self.months:
                day = _last_of_month(day)
            elif self._is_day(day):
                break
            if day.year > last_year:
                return None
        return datetime.combine(day, time(self.hours[0], self.minutes[0]))

    def _is_day(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return (in_month or in_week) if self.either_day else (in_month and in_week)


@lru_cache(maxsize=1024)
def cron_pattern(text: str) -> CronPattern:
    """`CronPattern.parse`, remembered."""
    return CronPattern.parse(text)


@lru_cache(maxsize=1024)
def time_zone(name: str | None) -> tzinfo:
    """The time zone of an IANA name, in any case as Node takes it; UTC for None.

    Raises:
        ValidationError: there is no such zone, at least not on this host.
    """
    if name is None:
        return UTC
    try:
        # right/ counts leap seconds, posix/ repeats the others: files of the database, but no names of zones.
        if not name.startswith(("right/", "posix/")):
            return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        known = {zone.lower(): zone for zone in available_timezones()}
        if not known:
            raise ValidationError(
                f"Invalid timezone: {name} (this host has no time zone database: install the package tzdata)"
            ) from None
        if name.lower() in known:
            return ZoneInfo(known[name.lower()])
    raise ValidationError(f"Invalid timezone: {name}")


def next_cron_run(pattern: str, tz: str | None, after_ms: int) -> int | None:
    """The first slot of a pattern after an instant, in epoch ms; None when there is none within ten years.

    Raises:
        ValidationError: the pattern or the time zone cannot be read.
    """
    return cron_pattern(pattern).next_after(after_ms, time_zone(tz))


def _values(field: str, bounds: _Field) -> set[int]:
    return {value for token in field.split(",") for value in _token_values(token, bounds)}


def _token_values(token: str, bounds: _Field) -> range:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise ValidationError(f"Invalid cron token: {token}")
    first_text, last_text, step_text = match.groups()
    step = 1 if step_text is None else int(step_text)
    if step < 1:
        raise ValidationError(f"Invalid cron step: {step_text}")
    if first_text is None:
        return range(bounds.first, bounds.last + 1, step)
    first = int(first_text)
    if last_text is None:
        if step_text is not None:
            raise ValidationError(f"Invalid cron token: {token}")
        if not bounds.first <= first <= bounds.last:
            raise ValidationError(f"Cron value out of bounds: {first}")
        return range(first, first + 1)
    last = int(last_text)
    if first < bounds.first or last > bounds.last:
        raise ValidationError(f"Cron range out of bounds: {first}-{last}")
    if first > last:
        raise ValidationError(f"Cron range reversed: {first}-{last}")
    return range(first, last + 1, step)


def _last_of_month(day: date) -> date:
    following = day.replace(day=28) + timedelta(days=4)
    return following - timedelta(days=following.day)
