"""get_revocations: which running jobs were revoked lately."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.get_revocations import GetRevocationsCommand, RevocationNews
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute


def news(driven: DrivenQueue, since_ms: int = 0, running: list[bytes] | None = None) -> RevocationNews:
    command = GetRevocationsCommand(driven.key("meta"), since_ms=since_ms, running=running or [])
    return execute(driven, command)


def test_running_jobs_are_told_in_the_order_of_their_revocation(driven: DrivenQueue) -> None:
    for _ in range(3):
        driven.add()
    driven.start(3)
    driven.call("revoke", id="3")
    driven.pass_time(5)
    driven.call("revoke", id="1")
    assert news(driven) == (driven.now, [b"3", b"1"])
    assert news(driven, driven.now).ids == [b"1"], "what happened in the same millisecond is told again"
    assert news(driven, driven.now + 1).ids == []


def test_jobs_that_nobody_runs_are_not_announced(driven: DrivenQueue) -> None:
    driven.add()
    driven.add()
    job = driven.start_one()
    assert driven.complete(job) == [1]
    assert driven.call("revoke", id="1") == [b"flagged"]
    assert driven.call("revoke", id="2")[0] == b"revoked"
    assert driven.call("revoke", id="77") == [b"not_found"]
    assert news(driven).ids == []


def test_announcements_are_kept_for_a_minute(driven: DrivenQueue) -> None:
    driven.add()
    driven.add()
    driven.start(2)
    driven.call("revoke", id="1")
    driven.pass_time(60_001)
    driven.call("revoke", id="2")
    assert driven.members("x-py:revocations") == {"2": driven.now}
    assert 0 < driven.client.pttl(driven.key("x-py:revocations")) <= 60_000


def test_marks_that_nobody_announced_are_seen_on_the_caller_s_own_jobs(driven: DrivenQueue) -> None:
    for _ in range(4):
        driven.add()
    driven.start(4)
    for marked in "134":
        driven.client.hset(driven.key(f"job:{marked}"), "revoked", "1")
    driven.client.hset(driven.key("job:2"), "revoked", "0")
    driven.client.set(driven.key("job:5"), "no hash")
    assert news(driven, running=[b"1", b"2", b"3", b"5", b"6"]).ids == [b"1", b"3"]
    assert news(driven).ids == []


@pytest.mark.parametrize("running", [["1"] * 1001, [1], "1"])
def test_what_is_no_short_list_of_ids_is_refused(driven: DrivenQueue, running: Any) -> None:
    assert driven.call("get_revocations", since_ms=0, running=running)[0] == b"bad_argument"


@pytest.mark.parametrize("force_after_ms", [-1, 2**42, "soon"])
def test_malformed_time_of_force_is_refused(driven: DrivenQueue, force_after_ms: Any) -> None:
    driven.add()
    driven.start_one()
    assert driven.call("revoke", id="1", force_after_ms=force_after_ms)[0] == b"bad_argument"
    assert "revoked" not in driven.job("1")


def test_time_of_force_is_kept_with_a_running_job_alone(driven: DrivenQueue) -> None:
    driven.add()
    driven.add()
    driven.start_one()
    driven.call("revoke", id="1", force_after_ms=250)
    driven.call("revoke", id="2", force_after_ms=250)
    assert driven.field("1", "x-py:forceAt") == str(driven.now + 250)
    assert "x-py:forceAt" not in driven.job("2")
