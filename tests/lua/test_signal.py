"""signal: a suspended job goes on; for one that does not wait yet the signal is kept out of sight."""

from __future__ import annotations

import json

import pytest
import valkey

from glidemq.commands.signal import SignalCommand
from tests.lua.driven_queue import DrivenQueue, Started
from tests.lua.executed import execute


def signal(driven: DrivenQueue, job_id: str = "1", name: str = "go", data: bytes = b"") -> str:
    return execute(driven, SignalCommand(driven.key("meta"), job_id=job_id, name=name, data=data))


def suspend(driven: DrivenQueue, job: Started, timeout_ms: int = 0) -> None:
    row = [*job.fence, job.entry_id, False, timeout_ms]
    assert driven.call("suspend", rows=[row])[2] == [1]


@pytest.mark.parametrize("kind", [{}, {"lifo": 1}, {"priority": 4}])
def test_signalled_job_takes_its_place_and_runs_again_uncharged(
    driven: DrivenQueue, kind: dict[str, int]
) -> None:
    driven.add("ask", **kind)
    suspend(driven, driven.start_one(), 60_000)
    driven.pass_time(7)
    assert signal(driven, "1", "approve", b'{"by":"a/b","n":1}') == "resumed"
    stored = driven.job("1")
    assert stored["state"] == ("prioritized" if "priority" in kind else "waiting")
    expected = [{"name": "approve", "data": '{"by":"a/b","n":1}', "receivedAt": driven.now}]
    assert json.loads(stored["signals"]) == expected
    assert [json.loads(entry) for entry in driven.elements("signals:1")] == expected
    assert driven.members("suspended") == {}
    assert driven.entries() == ([] if kind else ["1"])
    assert driven.events()[-1] == {"event": "resumed", "jobId": "1", "signal": "approve"}
    again = driven.start_one()
    assert (again.id, again.name, again.blob[5]) == ("1", "ask", 0)
    assert json.loads(again.extras["signals"]) == expected
    assert driven.complete(again) == [1]
    assert driven.list_active() == 0


def test_signalled_job_with_a_priority_starts_before_less_urgent_ones(driven: DrivenQueue) -> None:
    driven.add(job_id="asked", priority=4)
    suspend(driven, driven.start_one())
    for job_id, kind in (("plain", {}), ("5", {"priority": 5}), ("3", {"priority": 3})):
        driven.add(job_id=job_id, **kind)
    signal(driven, "asked")
    assert [driven.start_one().id for _ in range(4)] == ["3", "asked", "5", "plain"]


def test_signals_of_several_waits_stay_in_order(driven: DrivenQueue) -> None:
    driven.add()
    for name in ("one", "two", "three"):
        suspend(driven, driven.start_one())
        assert signal(driven, "1", name) == "resumed"
    assert [entry["name"] for entry in json.loads(driven.job("1")["signals"])] == ["one", "two", "three"]


@pytest.mark.parametrize("state", ["waiting", "delayed", "active", "resumed"])
def test_signal_for_a_job_that_does_not_wait_is_kept_out_of_sight(driven: DrivenQueue, state: str) -> None:
    driven.add(delay=50 if state == "delayed" else 0)
    if state in ("active", "resumed"):
        job = driven.start_one()
        if state == "resumed":
            suspend(driven, job)
            signal(driven, "1", "first")
    before = driven.job("1")
    assert signal(driven, "1", "early") == "kept"
    after = driven.job("1")
    assert json.loads(after.pop("x-py:signals")) == [{"name": "early", "data": "", "receivedAt": driven.now}]
    assert after == before


def test_hundred_signals_are_kept_and_no_more(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    for number in range(100):
        assert signal(driven, "1", f"s{number}") == "kept"
    assert signal(driven, "1", "one too many") == "full"
    suspend(driven, job)
    names = [entry["name"] for entry in json.loads(driven.job("1")["signals"])]
    assert names == [f"s{number}" for number in range(100)]


def test_kept_signals_are_bounded_in_bytes_too_but_one_always_fits(driven: DrivenQueue) -> None:
    driven.add()
    large = json.dumps("x" * (1 << 20)).encode()
    assert signal(driven, "1", data=large) == "kept"
    assert signal(driven, "1", data=b'"small"') == "full"


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_nothing_is_kept_for_a_finished_or_missing_job(driven: DrivenQueue, end: str) -> None:
    driven.add()
    job = driven.start_one()
    driven.complete(job) if end == "completed" else driven.fail(job)
    before = driven.job("1")
    assert signal(driven) == "finished"
    assert signal(driven, "nobody") == "not_found"
    assert driven.job("1") == before
    assert driven.job("nobody") == {}


def test_repeated_call_of_a_lost_reply_signals_once(driven: DrivenQueue) -> None:
    driven.add()
    suspend(driven, driven.start_one())
    command = SignalCommand(driven.key("meta"), job_id="1", name="go", data=b"1")
    assert execute(driven, command) == "resumed"
    assert execute(driven, command) == "resumed"
    assert len(driven.elements("signals:1")) == 1
    assert "x-py:signals" not in driven.job("1")
    (remembered,) = [suffix for suffix in driven.suffixes() if suffix.startswith("x-py:add:")]
    assert 0 < driven.client.pttl(driven.key(remembered)) <= 60_000


def test_signal_reaches_a_job_that_another_runtime_suspended(driven: DrivenQueue) -> None:
    old = '{"name":"old","data":"","receivedAt":5}'
    driven.add_scored("suspended", "n", 9999999999999, state="suspended", suspendedAt="5", signals=f"[{old}]")
    driven.client.rpush(driven.key("signals:n"), old)
    assert signal(driven, "n", "new", b"2") == "resumed"
    assert [entry["name"] for entry in json.loads(driven.job("n")["signals"])] == ["old", "new"]
    assert driven.start_one().id == "n"


def test_full_server_refuses_a_signal(own_library: DrivenQueue) -> None:
    driven = own_library
    driven.add()
    suspend(driven, driven.start_one())
    driven.client.config_set("maxmemory", 1)
    with pytest.raises(valkey.OutOfMemoryError):
        signal(driven)
    driven.client.config_set("maxmemory", 0)
    assert driven.state("1") == "suspended"
