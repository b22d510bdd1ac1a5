"""Deduplication in gmq_enqueue: which adds are skipped, what a debounced add replaces, and what is kept about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from glidemq.commands.signal import SignalCommand
from tests.lua.driven_queue import START_MS, DrivenQueue, Started
from tests.lua.executed import execute
from tests.lua.grouped_queue import GroupedQueue
from tests.lua.run_ends import is_suspended

MINUTE = 60_000
DAY = 86_400_000


def dedup(mode: str, ttl: int = 0, dedup_id: str = "d") -> dict[str, Any]:
    return {"dedup": {"id": dedup_id, "mode": mode, "ttl_ms": ttl}}


def add(driven: DrivenQueue, mode: str, ttl: int = 0, **options: Any) -> str | None:
    """The id, or None for a skipped add."""
    dedup_id = options.pop("dedup_id", "d")
    extra = dedup(mode, ttl, dedup_id) | options.pop("extra", {})
    status, ids, _ = driven.enqueue(driven.row(extra=extra, **options))
    assert status == b"ok"
    return ids[0].decode() if ids[0] else None


def entries(driven: DrivenQueue) -> dict[str, str]:
    stored = driven.client.hgetall(driven.key("dedup"))
    return {name.decode(): value.decode() for name, value in stored.items()}


def remove(driven: DrivenQueue, job_id: str) -> None:
    driven.call("remove", id=job_id)


# -- simple


def test_simple_add_is_skipped_while_the_earlier_job_exists_in_any_state(driven: DrivenQueue) -> None:
    job_id = add(driven, "simple")
    assert add(driven, "simple") is None
    job = driven.start_one()
    assert add(driven, "simple") is None
    driven.complete(job)
    assert driven.state(job_id or "") == "completed"
    before = driven.snapshot()
    assert add(driven, "simple") is None
    assert driven.snapshot() == before
    remove(driven, "1")
    assert add(driven, "simple") == "2"


def test_skipped_add_uses_no_id_and_other_ids_do_not_matter(driven: DrivenQueue) -> None:
    rows = [driven.row(extra=dedup("simple", dedup_id=name)) for name in ("a", "a", "b", "a")]
    assert driven.enqueue(*rows, driven.row())[1] == [b"1", False, b"2", False, b"3"]
    assert entries(driven) == {"a": f"1:{START_MS}", "b": f"2:{START_MS}"}


def test_deduplicated_job_has_the_fields_of_any_other(driven: DrivenQueue) -> None:
    plain = driven.add()
    other = add(driven, "simple") or ""
    assert set(driven.job(other)) == set(driven.job(plain))


# -- throttle


def test_throttle_accepts_the_first_of_a_window(driven: DrivenQueue) -> None:
    assert add(driven, "throttle", 1000) == "1"
    remove(driven, "1")  # whether the job exists does not matter
    driven.pass_time(999)
    assert add(driven, "throttle", 1000) is None
    driven.pass_time(1)
    assert add(driven, "throttle", 1000) == "2"
    assert entries(driven) == {"d": f"2:{START_MS + 1000}"}


# -- debounce


def test_debounced_job_is_delayed_by_the_longer_of_delay_and_window(driven: DrivenQueue) -> None:
    add(driven, "debounce", 500, dedup_id="a")
    add(driven, "debounce", 500, delay=900, dedup_id="b")
    assert driven.members("scheduled") == {"1": START_MS + 500, "2": START_MS + 900}
    assert driven.field("1", "delay") == "500"
    assert driven.state("1") == "delayed"


def test_later_add_replaces_the_pending_job_and_starts_the_window_again(driven: DrivenQueue) -> None:
    add(driven, "debounce", 500)
    driven.pass_time(400)
    assert add(driven, "debounce", 500) == "2"
    assert driven.members("scheduled") == {"2": driven.now + 500}
    assert driven.job("1") == {}
    assert driven.events_of("1") == ["added", "removed"]
    driven.pass_time(499)
    assert driven.step(1).ids == []
    driven.pass_time(1)
    assert driven.step(1).ids == ["2"]


def test_started_job_neither_blocks_nor_goes(driven: DrivenQueue) -> None:
    add(driven, "debounce", 500)
    driven.pass_time(500)
    first = driven.start_one()
    assert add(driven, "debounce", 500) == "2"
    assert driven.complete(first) == [1]
    driven.pass_time(500)
    assert driven.step(1).ids == ["2"]


def test_job_that_waits_for_its_retry_is_not_replaced(driven: DrivenQueue) -> None:
    add(driven, "debounce", 500)
    driven.pass_time(500)
    driven.fail(driven.start_one(), max_attempts=3, delay=10_000)
    assert add(driven, "debounce", 500) == "2"
    assert driven.state("1") == "delayed"


@pytest.mark.parametrize("options", [{}, {"lifo": 1}, {"priority": 3}])
def test_due_job_that_nobody_started_is_replaced_where_it_waits(
    driven: DrivenQueue, options: dict[str, int]
) -> None:
    add(driven, "debounce", 500, **options)
    driven.pass_time(500)
    driven.promote_due()
    assert driven.state("1") == "waiting"
    assert add(driven, "debounce", 500, **options) == "2"
    assert driven.job("1") == {}
    places = driven.entries() + driven.elements("lifo") + driven.elements("priority")
    # Stream entries bear the server's time, not the test's: whoever reads a leftover one drops it.
    assert places == [] or options == {}
    driven.pass_time(500)
    assert driven.step(4).ids == ["2"]


def test_replaced_job_is_found_in_the_stream(driven: DrivenQueue) -> None:
    driven.now = int(driven.client.time()[0]) * 1000 - 10_000
    add(driven, "debounce", 500)
    driven.pass_time(500)
    driven.promote_due()
    assert driven.entries() == ["1"]
    add(driven, "debounce", 500)
    assert driven.entries() == []


def test_group_of_a_replaced_job_goes_on(grouped: GroupedQueue) -> None:
    ordering = grouped.extra()
    add(grouped, "debounce", 500, extra=ordering)
    parked = grouped.join()[0]
    assert grouped.step(4).ids == []
    assert grouped.parked() == [parked]
    assert add(grouped, "debounce", 500, extra=ordering) == "3"
    assert grouped.parked() == []
    assert grouped.work_off() == [parked, "3"]


def test_parked_job_is_replaced_and_its_group_goes_on(grouped: GroupedQueue) -> None:
    ordering = grouped.extra()
    head = grouped.join(own={"delay": 5000})[0]
    add(grouped, "debounce", 500, extra=ordering)
    grouped.pass_time(500)
    grouped.step(4)
    assert grouped.parked() == ["2"]
    assert add(grouped, "debounce", 500, extra=ordering) == "3"
    assert grouped.job("2") == {}
    assert grouped.work_off() == [head, "3"]


def test_child_that_a_parent_waits_for_is_not_replaced(driven: DrivenQueue) -> None:
    add(driven, "debounce", 500, parent="p", parent_queue="other")
    assert add(driven, "debounce", 500) == "2"
    assert driven.state("1") == driven.state("2") == "delayed"


def test_events_off_silences_the_replacement(driven: DrivenQueue) -> None:
    row = driven.row(extra=dedup("debounce", 500))
    driven.enqueue(row, events=False)
    driven.enqueue(row, events=False)
    assert driven.events() == []


# -- with custom ids


def test_deduplication_is_checked_before_the_custom_id(driven: DrivenQueue) -> None:
    add(driven, "simple", job_id="x")
    assert add(driven, "simple", job_id="y") is None
    assert driven.job("y") == {}
    assert add(driven, "simple", job_id="50") is None
    assert driven.add() == "1"  # a skipped id does not move the counter


def test_taken_custom_id_leaves_the_entry_and_the_pending_job_alone(driven: DrivenQueue) -> None:
    add(driven, "debounce", 500)
    driven.add(job_id="x")
    before = driven.snapshot()
    assert add(driven, "debounce", 500, job_id="x") is None
    assert driven.snapshot() == before


def retries_at_once(driven: DrivenQueue, job: Started) -> None:
    driven.fail(job, max_attempts=3)


def is_put_off(driven: DrivenQueue, job: Started) -> None:
    driven.call("fail", rows=[[*job.fence, job.entry_id, "rate limited", -1, 0, False]])


def is_suspended_and_signalled(driven: DrivenQueue, job: Started) -> None:
    is_suspended(driven, job)
    execute(driven, SignalCommand(driven.key("meta"), job_id=job.id, name="go", data=b""))


def moves_on_at_once(driven: DrivenQueue, job: Started) -> None:
    driven.call("move_to_delayed", rows=[[*job.fence, job.entry_id, driven.now, False]])


@pytest.mark.parametrize("how", ["a crash", "a suspected crash", "a stall"])
def test_debounced_job_that_waits_again_after_its_start_is_not_replaced(
    driven: DrivenQueue, how: str
) -> None:
    started = add(driven, "debounce", 1000)
    driven.pass_time(1000)
    job = driven.start_one()
    if how == "a stall":
        driven.pass_time(MINUTE)
        assert driven.recover_stalled() == {"1": "stalled"}
    else:
        driven.release(job, crash=True if how == "a suspected crash" else "SIGSEGV")
    newer = add(driven, "debounce", 1000)
    driven.pass_time(1000)
    assert driven.step(2).ids == [started, newer]


@pytest.mark.parametrize("end", [retries_at_once, is_put_off, is_suspended_and_signalled, moves_on_at_once])
def test_debounced_job_that_has_run_is_not_replaced_when_its_next_run_goes_back_unstarted(
    driven: DrivenQueue, end: Callable[[DrivenQueue, Started], None]
) -> None:
    started = add(driven, "debounce", 1000)
    driven.pass_time(1000)
    end(driven, driven.start_one())
    driven.release(driven.start_one())
    newer = add(driven, "debounce", 1000)
    driven.pass_time(1000)
    assert driven.step(2).ids == [started, newer]


def test_debounced_job_may_take_over_the_custom_id_of_the_one_it_replaces(driven: DrivenQueue) -> None:
    add(driven, "debounce", 500, job_id="x", data='"old"')
    assert add(driven, "debounce", 500, job_id="x", data='"new"') == "x"
    assert driven.job("x")["data"] == '"new"'


# -- what is kept


def looks(driven: DrivenQueue) -> dict[str, float]:
    return driven.members("x-py:dedup")


def test_entry_goes_when_its_job_is_gone(driven: DrivenQueue) -> None:
    add(driven, "simple")
    remove(driven, "1")
    driven.recover_stalled()
    assert entries(driven) == {"d": f"1:{START_MS}"}
    driven.pass_time(MINUTE)
    driven.recover_stalled()
    assert entries(driven) == {}
    assert looks(driven) == {}


def test_entry_of_a_window_stays_until_the_window_ends(driven: DrivenQueue) -> None:
    add(driven, "throttle", 10 * MINUTE)
    remove(driven, "1")
    driven.pass_time(10 * MINUTE - 1)
    driven.recover_stalled()
    assert add(driven, "throttle", 10 * MINUTE) is None
    driven.pass_time(1)
    driven.recover_stalled()
    assert entries(driven) == {}


def test_entry_of_a_job_that_exists_stays_and_is_looked_at_ever_more_rarely(driven: DrivenQueue) -> None:
    add(driven, "simple")
    waits: list[float] = []
    for _ in range(12):
        driven.now = int(looks(driven)["1:d"])
        driven.recover_stalled()
        waits.append(looks(driven)["1:d"] - driven.now)
    assert entries(driven) == {"d": f"1:{START_MS}"}
    assert waits[0] == 3 * MINUTE
    assert waits == sorted(waits)
    assert waits[-1] == 7 * DAY


def test_entry_taken_over_by_a_newer_job_is_kept_once(driven: DrivenQueue) -> None:
    for _ in range(3):
        add(driven, "throttle", 1000)
        driven.pass_time(1000)
    assert list(looks(driven)) == ["3:d"]


def test_adding_keeps_the_entries_in_bounds(driven: DrivenQueue) -> None:
    for number in range(200):
        job_id = add(driven, "simple", dedup_id=f"d{number}") or ""
        remove(driven, job_id)
        driven.pass_time(MINUTE // 10)
    assert len(entries(driven)) <= 11
    assert set(looks(driven)) == {f"{value.split(':')[0]}:{name}" for name, value in entries(driven).items()}


def test_entries_written_by_node_go_after_a_week(driven: DrivenQueue) -> None:
    for number in range(10):
        driven.client.hset(driven.key("dedup"), f"n:{number}", f"{number}:{START_MS}")
    for _ in range(200):
        driven.recover_stalled()
        if len(looks(driven)) == 10:
            break
    assert add(driven, "throttle", DAY, dedup_id="n:3") is None
    driven.pass_time(7 * DAY)
    driven.recover_stalled()
    assert entries(driven) == {}


def test_entry_rewritten_by_node_is_left_to_its_new_job(driven: DrivenQueue) -> None:
    add(driven, "simple")
    remove(driven, "1")
    driven.client.hset(driven.key("dedup"), "d", f"9:{START_MS + 5}")
    driven.pass_time(MINUTE)
    driven.recover_stalled()
    assert entries(driven) == {"d": f"9:{START_MS + 5}"}
    assert looks(driven) in ({}, {"9:d": START_MS + 5 + 7 * DAY})


# -- refusals


@pytest.mark.parametrize(
    "fault",
    [
        "text",
        {},
        {"id": ""},
        {"id": "d"},
        {"id": "d", "mode": "other"},
        {"id": "d", "mode": "throttle"},
        {"id": "d", "mode": "debounce", "ttl_ms": 0},
        {"id": "d", "mode": "simple", "ttl_ms": -1},
        {"id": "d", "mode": "simple", "ttl_ms": 0.5},
        {"id": "d", "mode": "simple", "ttl_ms": 2**42},
    ],
)
def test_faulty_member_is_refused_and_nothing_is_added(driven: DrivenQueue, fault: Any) -> None:
    reply = driven.enqueue(driven.row(), driven.row(extra={"dedup": fault}))
    assert reply[0] == b"bad_argument"
    assert reply[1].startswith(b"row 2: dedup")
    assert driven.suffixes() == []
