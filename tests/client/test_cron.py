"""Cron patterns: the instants they name, against every minute of a calendar looked at one by one."""

from __future__ import annotations

import functools
import zoneinfo
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidemq.errors import ValidationError
from glidemq.options.cron import CronPattern, next_cron_run, time_zone

BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
MINUTE = timedelta(minutes=1)
# Changes by an hour, by half an hour, by two hours, at midnight, of a whole day, backwards in summer, and none.
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll", "America/Havana",
    "Pacific/Apia", "Europe/Dublin", "Africa/Casablanca", "America/St_Johns", "Asia/Kathmandu",
)  # fmt: skip


def utc(text: str) -> int:
    """Epoch ms of a UTC time."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def local(ms: int | None, zone: str) -> str:
    assert ms is not None
    return datetime.fromtimestamp(ms / 1000, ZoneInfo(zone)).isoformat(timespec="minutes")


# -- an oracle that shares no code and no idea with the implementation --------------------------------------


def token_names(token: str, value: int, first: int) -> bool:
    body, _, step = token.partition("/")
    if body == "*":
        low, high = first, 10**9
    else:
        start, _, end = body.partition("-")
        low, high = int(start), int(end or start)
    return low <= value <= high and (value - low) % int(step or 1) == 0


def names_minute(pattern: str, wall: datetime) -> bool:
    minute, hour, day, month, weekday = pattern.split()
    values = (wall.minute, wall.hour, wall.day, wall.month, (wall.weekday() + 1) % 7)
    in_minute, in_hour, in_day, in_month, in_week = (
        any(token_names(token, value, first) for token in field.split(","))
        for field, value, (first, _) in zip((minute, hour, day, month, weekday), values, BOUNDS, strict=True)
    )
    either = day[0] != "*" and weekday[0] != "*"
    in_days = (in_day or in_week) if either else (in_day and in_week)
    return in_minute and in_hour and in_month and in_days


def first_by_looking(pattern: str, zone: tzinfo, after_ms: int, minutes: int) -> int | None:
    """Look at the next so many real minutes; a minute that its zone has for the second time does not count."""
    at = datetime.fromtimestamp(after_ms // 60_000 * 60, UTC)
    for _ in range(minutes):
        at += MINUTE
        wall = at.astimezone(zone)
        if wall.fold == 0 and names_minute(pattern, wall):
            return round(at.timestamp() * 1000)
    return None


@st.composite
def fields(draw: st.DrawFn, first: int, last: int, dense: bool) -> str:
    def token() -> str:
        low, high = sorted((draw(st.integers(first, last)), draw(st.integers(first, last))))
        step = draw(st.integers(1, last + 5))
        return draw(st.sampled_from([f"{low}", f"{low}-{high}", f"{low}-{high}/{step}", f"*/{step}", "*"]))

    if dense and draw(st.booleans()):
        return "*"
    return ",".join(token() for _ in range(draw(st.integers(1, 3))))


@st.composite
def patterns(draw: st.DrawFn) -> str:
    return " ".join(draw(fields(first, last, number > 1)) for number, (first, last) in enumerate(BOUNDS))


@functools.cache
def changes_of_clocks(zone: str) -> tuple[int, ...]:
    """Epoch ms, to the day, before which the zone's clocks were changed in 2005-2034; some time if never."""
    found = []
    at = datetime(2005, 1, 1, tzinfo=UTC)
    while at.year < 2035:
        following = at + timedelta(days=1)
        if at.astimezone(ZoneInfo(zone)).utcoffset() != following.astimezone(ZoneInfo(zone)).utcoffset():
            found.append(round(at.timestamp() * 1000))
        at = following
    return tuple(found) or (utc("2027-05-05T12:00"),)


WINDOW = 3 * 1440


@settings(max_examples=120, deadline=None)
@given(pattern=patterns(), zone=st.sampled_from(ZONES), data=st.data())
def test_next_run_is_the_first_minute_that_the_pattern_names(
    pattern: str, zone: str, data: st.DataObject
) -> None:
    change = data.draw(st.sampled_from(changes_of_clocks(zone)))
    after = change + data.draw(st.integers(-36 * 3_600_000, 36 * 3_600_000))
    found = CronPattern.parse(pattern).next_after(after, ZoneInfo(zone))
    expected = first_by_looking(pattern, ZoneInfo(zone), after, WINDOW)
    if expected is None:
        assert found is None or found > after // 60_000 * 60_000 + WINDOW * 60_000
    else:
        assert found == expected


@settings(max_examples=100, deadline=None)
@given(
    day=fields(1, 31, True),
    month=fields(1, 12, True),
    weekday=fields(0, 6, True),
    after=st.integers(utc("2024-01-01T00:00"), utc("2090-01-01T00:00")),
)
def test_days_far_away_are_found(day: str, month: str, weekday: str, after: int) -> None:
    pattern = f"30 12 {day} {month} {weekday}"
    found = CronPattern.parse(pattern).next_after(after, UTC)
    at = datetime.fromtimestamp(after / 1000, UTC).replace(hour=12, minute=30, second=0, microsecond=0)
    while at.timestamp() * 1000 <= after or not names_minute(pattern, at):
        at += timedelta(days=1)
        if at.year > 2101:
            break
    if found is None:
        assert at.timestamp() * 1000 > after + 10 * 365 * 86_400_000
    else:
        assert found == round(at.timestamp() * 1000)


# -- the rules, by example -----------------------------------------------------------------------------------


def test_result_lies_strictly_after_the_instant_asked_for() -> None:
    noon = utc("2027-01-01T12:00")
    assert next_cron_run("0 12 * * *", None, noon - 1) == noon
    assert next_cron_run("0 12 * * *", None, noon) == noon + 86_400_000


def test_minute_that_a_clock_change_skips_is_skipped() -> None:
    before = utc("2027-03-27T12:00")
    assert (
        local(next_cron_run("30 2 * * *", "Europe/Berlin", before), "Europe/Berlin")
        == "2027-03-29T02:30+02:00"
    )
    early = utc("2027-03-28T00:30")
    assert (
        local(next_cron_run("30 * * * *", "Europe/Berlin", early), "Europe/Berlin")
        == "2027-03-28T03:30+02:00"
    )


def test_minute_that_a_clock_change_repeats_counts_once() -> None:
    zone, before = "Europe/Berlin", utc("2027-10-30T12:00")
    first = next_cron_run("30 2 * * *", zone, before)
    assert local(first, zone) == "2027-10-31T02:30+02:00"
    assert first is not None
    assert local(next_cron_run("30 2 * * *", zone, first), zone) == "2027-11-01T02:30+01:00"
    # Asked for within the second of the two equal hours.
    assert local(next_cron_run("45 * * * *", zone, utc("2027-10-31T01:10")), zone) == "2027-10-31T03:45+01:00"


def test_day_that_a_zone_never_had_is_skipped() -> None:
    assert local(
        next_cron_run("0 9 30,31 12 *", "Pacific/Apia", utc("2011-12-29T23:00")), "Pacific/Apia"
    ) == ("2011-12-31T09:00+14:00")


@pytest.mark.parametrize(
    ("pattern", "days"),
    [
        ("0 0 13 * 5", ["2027-01-01", "2027-01-08", "2027-01-13", "2027-01-15"]),
        ("0 0 13 * *", ["2027-01-13", "2027-02-13", "2027-03-13", "2027-04-13"]),
        ("0 0 * * 5", ["2027-01-01", "2027-01-08", "2027-01-15", "2027-01-22"]),
        # A field that starts with * restricts nothing, in crontab's eyes, so both must match.
        ("0 0 */2 * 5", ["2027-01-01", "2027-01-15", "2027-01-29", "2027-02-05"]),
        ("0 0 1 * */2", ["2027-04-01", "2027-05-01", "2027-06-01", "2027-07-01"]),
        ("0 0 * * 0", ["2027-01-03", "2027-01-10", "2027-01-17", "2027-01-24"]),
        ("0 0 29 2 *", ["2028-02-29", "2032-02-29", "2036-02-29", "2040-02-29"]),
    ],
)
def test_days(pattern: str, days: list[str]) -> None:
    found = []
    at: int | None = utc("2026-12-31T12:00")
    for _ in days:
        assert at is not None
        at = next_cron_run(pattern, None, at)
        found.append(local(at, "UTC")[:10])
    assert found == days


def test_leap_day_across_the_year_2100_is_found_and_an_impossible_day_is_not() -> None:
    assert local(next_cron_run("0 0 29 2 *", None, utc("2096-03-01T00:00")), "UTC")[:10] == "2104-02-29"
    assert next_cron_run("0 0 30 2 *", None, utc("2027-01-01T00:00")) is None
    assert next_cron_run("0 0 31 4,6,9,11 *", "Asia/Kathmandu", utc("2027-01-01T00:00")) is None


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("", "Invalid cron pattern: expected 5 fields, got 0"),
        ("* * * *", "Invalid cron pattern: expected 5 fields, got 4"),
        ("0 * * * * *", "Invalid cron pattern: expected 5 fields, got 6"),
        ("@daily", "Invalid cron pattern: expected 5 fields, got 1"),
        ("60 * * * *", "Cron value out of bounds: 60"),
        ("* 24 * * *", "Cron value out of bounds: 24"),
        ("* * 0 * *", "Cron value out of bounds: 0"),
        ("* * * 13 *", "Cron value out of bounds: 13"),
        ("* * * * 7", "Cron value out of bounds: 7"),
        ("* * * * 0-7", "Cron range out of bounds: 0-7"),
        ("0-60 * * * *", "Cron range out of bounds: 0-60"),
        ("30-10 * * * *", "Cron range reversed: 30-10"),
        ("*/0 * * * *", "Invalid cron step: 0"),
        ("1-5/0 * * * *", "Invalid cron step: 0"),
        ("5/15 * * * *", "Invalid cron token: 5/15"),
        ("* * * jan *", "Invalid cron token: jan"),
        ("* * * * mon-fri", "Invalid cron token: mon-fri"),
        ("* * L * *", "Invalid cron token: L"),
        ("* * ? * *", "Invalid cron token: ?"),
        ("1,,2 * * * *", "Invalid cron token: "),
        ("-1 * * * *", "Invalid cron token: -1"),
        ("1- * * * *", "Invalid cron token: 1-"),
        ("٣ * * * *", "Invalid cron token: ٣"),
        ("9999999999 * * * *", "Invalid cron token: 9999999999"),
    ],
)
def test_what_node_cannot_read_is_refused_in_its_words(pattern: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as raised:
        CronPattern.parse(pattern)
    assert str(raised.value) == sentence


def test_pattern_is_kept_with_single_spaces() -> None:
    assert CronPattern.parse("  0 9\t* *  1-5 ").text == "0 9 * * 1-5"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Nowhere",
        "Europe",
        "right/Europe/Berlin",
        "posix/Europe/Berlin",
        "../zone.tab",
        "/etc/localtime",
        "a\0b",
    ],
)
def test_what_is_no_time_zone_is_refused(name: str) -> None:
    with pytest.raises(ValidationError) as raised:
        time_zone(name)
    assert str(raised.value) == f"Invalid timezone: {name}"


def test_time_zones_are_found_in_any_case_as_node_finds_them() -> None:
    assert time_zone("europe/BERLIN") == ZoneInfo("Europe/Berlin")
    assert time_zone(None) is UTC


def test_host_without_a_time_zone_database_says_what_to_do() -> None:
    zoneinfo.reset_tzpath(to=())
    ZoneInfo.clear_cache(only_keys=["Europe/Vienna"])
    try:
        with pytest.raises(
            ValidationError, match=r"^Invalid timezone: Europe/Vienna \(.*install the package tzdata"
        ):
            time_zone("Europe/Vienna")
    finally:
        zoneinfo.reset_tzpath()
    assert time_zone("Europe/Vienna") == ZoneInfo("Europe/Vienna")
