"""Schedulers as those who set them up see them, against a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import valkey

from glidemq.client import schedulers as module
from glidemq.client.schedulers import Schedulers
from glidemq.commands.keys import QueueKeys
from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection
from glidemq.errors import SchedulerBusyError, ValidationError
from glidemq.options.schedule import JobTemplate, Schedule
from glidemq.payload import Payload
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def connection(server: ValkeyServer) -> AsyncIterator[CommandConnection]:
    async with CommandConnection(ConnectionOptions.from_url(server.url)) as connection:
        yield connection


@pytest.fixture
def keys(queue_name: str) -> QueueKeys:
    return QueueKeys("glide", queue_name)


@pytest.fixture
def schedulers(connection: CommandConnection, keys: QueueKeys) -> Schedulers:
    return Schedulers(connection, keys, Payload())


def stored(raw: valkey.Valkey, keys: QueueKeys, name: str) -> bytes:
    text: Any = raw.hget(f"{keys.base}:schedulers", name)
    assert text is not None
    result: bytes = text
    return result


async def test_scheduler_is_created_read_listed_and_removed(schedulers: Schedulers) -> None:
    before = datetime.now(UTC)
    template = JobTemplate("cleanup-old-records", {"days": 7}, {"attempts": 3})
    created = await schedulers.upsert("cleanup", Schedule(every=300, limit=36), template)
    assert (created.every, created.limit, created.iteration_count, created.last_run) == (300.0, 36, 0, None)
    assert created.template == template
    assert created.next_run is not None
    assert before + timedelta(seconds=299) < created.next_run < before + timedelta(seconds=330)
    assert await schedulers.get("cleanup") == created
    other = await schedulers.upsert("a-poll", {"repeat_after_complete": 5}, {"data": {"sensor": "t"}})
    assert await schedulers.list() == [("a-poll", other), ("cleanup", created)]
    assert [job.name for job in await schedulers.list()] == ["a-poll", "cleanup"]
    assert await schedulers.remove("cleanup") is True
    assert await schedulers.remove("cleanup") is False
    assert await schedulers.get("cleanup") is None
    assert await schedulers.list() == [("a-poll", other)]


async def test_cron_pattern_s_first_run_is_its_next_slot(schedulers: Schedulers) -> None:
    before = datetime.now(UTC)
    entry = await schedulers.upsert("c", Schedule(pattern="*/5 * * * *"))
    assert entry.next_run is not None
    assert before < entry.next_run <= before + 6 * MINUTE
    assert (entry.next_run.minute % 5, entry.next_run.second, entry.next_run.microsecond) == (0, 0, 0)


async def test_slot_at_the_start_itself_counts(schedulers: Schedulers) -> None:
    start = datetime(2050, 1, 1, 8, tzinfo=UTC)
    entry = await schedulers.upsert("c", Schedule(pattern="0 8 * * *", start_date=start))
    assert (entry.next_run, entry.start_date) == (start, start)
    later = await schedulers.upsert("c", Schedule(pattern="0 8 * * *", start_date=start + MINUTE))
    assert later.next_run == start + timedelta(days=1)


async def test_clock_of_this_host_that_differs_does_not_matter(
    schedulers: Schedulers, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    monkeypatch.setattr(module, "wall_ms", lambda: 1_000_000_000_000)  # the year 2001
    entry = await schedulers.upsert("c", Schedule(pattern="* * * * *"))
    assert entry.next_run is not None
    assert now < entry.next_run <= now + 2 * MINUTE


async def test_redeploy_keeps_the_next_run(schedulers: Schedulers) -> None:
    first = await schedulers.upsert("s", Schedule(every=60))
    assert first.next_run is not None
    created = first.next_run - MINUTE
    await eventually(lambda: datetime.now(UTC) > created + timedelta(milliseconds=2), "time passes")
    again = await schedulers.upsert("s", Schedule(every=60), {"name": "n"})
    assert again.next_run == first.next_run
    assert again.template.name == "n"
    changed = await schedulers.upsert("s", Schedule(every=61))
    assert changed.next_run is not None
    assert changed.next_run > first.next_run + timedelta(seconds=1)


async def test_nothing_within_the_bounds_is_refused(schedulers: Schedulers) -> None:
    for schedule in (
        Schedule(every=60, end_date=1),
        Schedule(pattern="0 0 1 1 *", end_date=datetime.now(UTC) + timedelta(milliseconds=1)),
        Schedule(repeat_after_complete=60, end_date=1),
    ):
        with pytest.raises(
            ValidationError, match=r"^Schedule has no occurrences within the configured bounds$"
        ):
            await schedulers.upsert("s", schedule)
    with pytest.raises(
        ValidationError, match=r"^No cron match found within 10 years for pattern: 0 0 30 2 \*$"
    ):
        await schedulers.upsert("s", Schedule(pattern="0 0 30 2 *"))
    assert await schedulers.list() == []


async def test_bad_arguments_are_refused_before_anything_is_sent() -> None:
    async with CommandConnection(ConnectionOptions.from_url("valkey://127.0.0.1:1")) as nowhere:
        schedulers = Schedulers(nowhere, QueueKeys("glide", "q"), Payload())
        for call in (
            schedulers.upsert("", Schedule(every=1)),
            schedulers.upsert("s", {}),
            schedulers.upsert("s", Schedule(every=1), {"opts": {"delay": 1}}),
            schedulers.get(""),
            schedulers.remove(""),
        ):
            with pytest.raises(ValidationError):
                await call


async def test_call_waits_for_the_lock_and_goes_on_when_it_is_free(
    schedulers: Schedulers, keys: QueueKeys, raw: valkey.Valkey
) -> None:
    lock = f"{keys.base}:schedulers:lock:__tick__"
    raw.set(lock, "feedfacefeedface", px=120)
    assert (await schedulers.upsert("s", Schedule(every=60))).every == 60
    raw.set(lock, "feedfacefeedface", px=120)
    assert await schedulers.remove("s") is True


async def test_lock_that_stays_held_is_reported(
    schedulers: Schedulers, keys: QueueKeys, raw: valkey.Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCK_TRIES", 3)
    raw.set(f"{keys.base}:schedulers:lock:__tick__", "feedfacefeedface", px=60_000)
    for call in (schedulers.upsert("s", Schedule(every=60)), schedulers.remove("s")):
        with pytest.raises(SchedulerBusyError, match=r"^Scheduler is busy; try again$"):
            await call


async def test_entries_of_others_are_read_and_unreadable_ones_left_out(
    schedulers: Schedulers, keys: QueueKeys, raw: valkey.Valkey
) -> None:
    node = '{"pattern":"0 3 * * *","tz":"Europe/Berlin","iterationCount":0,"template":{},"nextRun":1795399200000}'
    raw.hset(f"{keys.base}:schedulers", mapping={"node": node, "broken": "nonsense"})
    [(name, entry)] = await schedulers.list()
    assert (name, entry.pattern, entry.tz) == ("node", "0 3 * * *", "Europe/Berlin")
    assert entry.next_run == datetime(2026, 11, 23, 2, tzinfo=UTC)
    assert await schedulers.get("broken") is None


async def test_long_list_is_complete(schedulers: Schedulers, keys: QueueKeys, raw: valkey.Valkey) -> None:
    entry = f'{{"every":60000,"template":{{"data":"{"x" * 1100}"}},"nextRun":5}}'
    raw.hset(f"{keys.base}:schedulers", mapping={f"s{number:03}": entry for number in range(300)})
    listed = await schedulers.list()
    assert [name for name, _ in listed] == [f"s{number:03}" for number in range(300)]
