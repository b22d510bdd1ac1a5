"""gmq_step: jobs that must not run, and entries that are no jobs."""

from __future__ import annotations

import pytest

from tests.lua.driven_queue import START_MS, DrivenQueue

MINUTE = START_MS - START_MS % 60_000


def test_expired_job_fails_without_an_attempt(driven: DrivenQueue) -> None:
    driven.add(ttl=100)
    driven.pass_time(101)
    stepped = driven.step(1)
    assert (stepped.ids, stepped.expired) == ([], 1)
    job = driven.job("1")
    assert (job["state"], job["failedReason"], job["attemptsMade"]) == ("failed", "expired", "0")
    assert job["finishedOn"] == str(driven.now)
    assert driven.members("failed") == {"1": driven.now}
    assert driven.events_of("1") == ["added", "expired"]
    assert driven.metrics("failed") == {f"m:{MINUTE}:c": 1}
    assert driven.entries() == []


def test_job_at_its_very_deadline_still_runs(driven: DrivenQueue) -> None:
    driven.add(ttl=100)
    driven.pass_time(100)
    assert driven.step(1).ids == ["1"]


def test_delayed_job_expires_at_promotion(driven: DrivenQueue) -> None:
    driven.add(delay=100, ttl=50)
    driven.pass_time(100)
    stepped = driven.step(1)
    assert (stepped.ids, stepped.expired) == ([], 1)
    assert driven.events_of("1") == ["added", "expired"]


def test_revoked_job_fails_instead_of_starting(driven: DrivenQueue) -> None:
    driven.add()
    driven.client.hset(driven.key("job:1"), "revoked", "1")
    assert driven.step(1).ids == []
    job = driven.job("1")
    assert (job["state"], job["failedReason"], job["attemptsMade"]) == ("failed", "revoked", "1")
    assert driven.events_of("1") == ["added", "failed"]


def test_entry_of_a_removed_job_is_dropped(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row(lifo=1), driven.row())
    driven.client.delete(driven.key("job:1"), driven.key("job:2"))
    assert driven.step(1).ids == ["3"]
    assert driven.entries() == ["3"]
    assert driven.list_active() == 0


@pytest.mark.parametrize("state", ["completed", "failed", "suspended", "waiting-children", "group-waiting"])
def test_entry_of_a_job_that_is_elsewhere_is_dropped(driven: DrivenQueue, state: str) -> None:
    driven.add_waiting("1")
    driven.client.hset(driven.key("job:1"), "state", state)
    assert driven.step(1).ids == []
    assert driven.state("1") == state
    assert driven.entries() == []


def test_entry_of_a_rescheduled_job_is_dropped_but_a_late_state_is_not_believed(driven: DrivenQueue) -> None:
    driven.add_waiting("moved", "late")
    driven.client.hset(driven.key("job:moved"), "state", "delayed")
    driven.client.zadd(driven.key("scheduled"), {"moved": driven.now + 1000})
    driven.client.hset(driven.key("job:late"), "state", "delayed")
    assert driven.step(2).ids == ["late"]
    assert driven.state("moved") == "delayed"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"name": None}, "malformed job: field name is missing"),
        ({"id": None}, "malformed job: field id is missing"),
        ({"id": "7"}, "malformed job: field id is that of another job"),
        ({"opts": "{oops"}, "malformed job: field opts is not a JSON object"),
        ({"opts": "12"}, "malformed job: field opts is not a JSON object"),
        ({"timestamp": "yesterday"}, "malformed job: field timestamp is not a number"),
        ({"attemptsMade": "many"}, "malformed job: field attemptsMade is not a number"),
        ({"priority": "x"}, "malformed job: field priority is not a number"),
    ],
)
def test_malformed_job_is_set_aside_with_a_reason(
    driven: DrivenQueue, broken: dict[str, str | None], reason: str
) -> None:
    driven.add_waiting("bad", "good")
    for name, value in broken.items():
        if value is None:
            driven.client.hdel(driven.key("job:bad"), name)
        else:
            driven.client.hset(driven.key("job:bad"), name, value)
    stepped = driven.step(2)
    assert stepped.ids == ["good"]
    assert stepped.quarantined == 1
    assert driven.state("bad") == "failed"
    assert driven.field("bad", "failedReason") == reason
    assert "bad" in driven.members("failed")
    assert driven.entries() == ["good"]


def test_missing_data_and_opts_mean_empty_ones(driven: DrivenQueue) -> None:
    driven.add_waiting("1")
    driven.client.hdel(driven.key("job:1"), "data", "opts", "timestamp")
    job = driven.start_one()
    assert job.opts == "{}"
    assert job.blob[2] == b"{}"


def test_stub_left_by_a_late_writer_is_dropped_and_stays_a_stub(driven: DrivenQueue) -> None:
    driven.client.xadd(driven.key("stream"), {"jobId": "ghost", "name": ""})
    driven.client.hset(driven.key("job:ghost"), "state", "waiting")
    assert driven.step(1).ids == []
    assert driven.job("ghost") == {"state": "waiting"}
    assert driven.entries() == []


def test_entry_without_a_job_id_and_key_of_another_type_do_not_stop_the_others(driven: DrivenQueue) -> None:
    driven.client.xadd(driven.key("stream"), {"foo": "bar"})
    driven.client.xadd(driven.key("stream"), {"name": "x", "jobId": "odd"})
    driven.client.set(driven.key("job:odd"), "a string")
    driven.add()
    stepped = driven.step(3)
    assert stepped.ids == ["1"]
    assert stepped.quarantined == 2
    assert driven.entries() == ["1"]
    driven.client.delete(driven.key("job:odd"))


def test_many_useless_entries_are_worked_through_a_few_rounds_at_a_time(driven: DrivenQueue) -> None:
    for n in range(250):
        driven.client.xadd(driven.key("stream"), {"jobId": f"gone{n}"})
    driven.add()
    stepped = driven.step(2)
    assert stepped.more == 1
    while stepped.more == 1 and not stepped.ids:
        stepped = driven.step(2)
    assert stepped.ids == ["1"]
    assert driven.entries() == ["1"]
