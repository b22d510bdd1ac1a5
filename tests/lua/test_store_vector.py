"""store_vector: an embedding beside a job's hash, which follows the job to its end."""

from __future__ import annotations

import struct
from typing import Any

import pytest
import valkey

from glidemq.commands.store_vector import StoreVectorCommand
from tests.lua.driven_queue import DrivenQueue, Started
from tests.lua.executed import execute

VECTOR = struct.pack("<3f", 1.0, 0.0, -0.5)


def store(
    driven: DrivenQueue, job_id: str = "1", field: str = "v", vector: bytes = VECTOR, **attributes: str
) -> bool:
    command = StoreVectorCommand(
        driven.key("meta"), job_id=job_id, field=field, vector=vector, attributes=attributes
    )
    return execute(driven, command)


def stored(driven: DrivenQueue, job_id: str = "1") -> dict[str, Any]:
    fields = driven.client.hgetall(driven.key(f"vec:{job_id}"))
    return {
        name.decode(): value if name in (b"v", b"w") else value.decode() for name, value in fields.items()
    }


def indexed(driven: DrivenQueue) -> set[str]:
    return set(driven.members("x-py:vectors"))


def test_vector_stands_beside_the_job_with_what_filters_ask_for(driven: DrivenQueue) -> None:
    driven.add("embed", priority=3)
    before = driven.job("1")
    assert store(driven, tenant="acme", size="5") is True
    assert driven.job("1") == before, "the job's own hash stays text"
    assert stored(driven) == {
        "v": VECTOR,
        "tenant": "acme",
        "size": "5",
        "name": "embed",
        "state": "prioritized",
        "timestamp": before["timestamp"],
        "priority": "3",
        "attemptsMade": "0",
    }
    assert indexed(driven) == {"1"}


def test_storing_again_replaces_the_vector_and_keeps_other_fields(driven: DrivenQueue) -> None:
    driven.add()
    store(driven, tenant="acme", size="5")
    other = struct.pack("<3f", 0, 1, 0)
    store(driven, vector=other, size="6")
    store(driven, field="w")
    found = stored(driven)
    assert (found["v"], found["tenant"], found["size"]) == (other, "acme", "6")
    assert found["w"] == VECTOR


def test_vector_of_a_missing_job_is_not_stored(driven: DrivenQueue) -> None:
    driven.client.hset(driven.key("job:stub"), "lastActive", "5")
    for job_id in ("1", "stub"):
        assert store(driven, job_id) is False
        assert stored(driven, job_id) == {}
    assert indexed(driven) == set()


@pytest.mark.parametrize("vector", [b"", b"123", b"12345"])
def test_bytes_that_are_no_numbers_are_refused(driven: DrivenQueue, vector: bytes) -> None:
    driven.add()
    reply = driven.call("store_vector", id="1", field="v", vector=vector, attributes={})
    assert reply == [b"bad_argument", b"vector must be made of float32 numbers"]


# -- following the job --------------------------------------------------------------------------------------------


def state_of(driven: DrivenQueue) -> str | None:
    return stored(driven).get("state")


def test_state_follows_the_job_through_its_whole_life(driven: DrivenQueue) -> None:
    driven.add(delay=50)
    store(driven)
    states = [state_of(driven)]
    driven.call("change_delay", id="1", delay_ms=40)
    driven.pass_time(40)
    driven.promote_due()
    states.append(state_of(driven))
    job = driven.start_one()
    states.append(state_of(driven))
    driven.release(job)
    states.append(state_of(driven))
    driven.call("change_priority", id="1", priority=7)
    states.append(state_of(driven))
    assert stored(driven)["priority"] == "7"
    job = driven.start_one()
    driven.fail(job, max_attempts=5, delay=10)
    states.append(state_of(driven))
    assert stored(driven)["attemptsMade"] == "1"
    driven.pass_time(10)
    job = driven.start_one()
    driven.call("suspend", rows=[[*job.fence, job.entry_id, False, 0]])
    states.append(state_of(driven))
    driven.call("signal", id="1", name="go", data="", idem="i")
    states.append(state_of(driven))
    driven.fail(driven.start_one())
    states.append(state_of(driven))
    assert stored(driven)["finishedOn"] == str(driven.now)
    driven.call("retry_job", id="1")
    states.append(state_of(driven))
    assert "finishedOn" not in stored(driven), "an index of numbers would refuse an empty text"
    driven.complete(driven.start_one())
    states.append(state_of(driven))
    assert states == [
        "delayed", "waiting", "active", "waiting", "prioritized", "delayed", "suspended", "prioritized",
        "failed", "delayed", "completed",
    ]  # fmt: skip
    assert stored(driven)["v"] == VECTOR


def complete_and_remove(driven: DrivenQueue, job: Started) -> None:
    driven.complete(job, retain=True)


def remove(driven: DrivenQueue, job: Started) -> None:
    driven.call("remove", id="1")


def clean(driven: DrivenQueue, job: Started) -> None:
    driven.fail(job)
    driven.call("clean", state="failed", grace_ms=0, limit=10)


def drain(driven: DrivenQueue, job: Started) -> None:
    driven.release(job)
    driven.call("drain", delayed=False)


def keep_none(driven: DrivenQueue, job: Started) -> None:
    driven.complete(job, retain=1)
    driven.add(job_id="younger")
    driven.pass_time(1)
    driven.complete(driven.start_one(), retain=1)


@pytest.mark.parametrize("end", [complete_and_remove, remove, clean, drain, keep_none])
def test_vector_goes_with_its_job(driven: DrivenQueue, end: Any) -> None:
    driven.add()
    store(driven)
    end(driven, driven.start_one())
    assert driven.state("1") is None
    assert stored(driven) == {}
    assert indexed(driven) == set()


def test_jobs_without_a_vector_leave_no_trace_of_one(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    store(driven)
    driven.complete(*driven.start(2))
    assert stored(driven, "2") == {}
    assert indexed(driven) == {"1"}


@pytest.mark.parametrize("tick", ["step", "promote_due"])
def test_what_other_libraries_do_to_a_job_is_noticed_within_a_second(driven: DrivenQueue, tick: str) -> None:
    driven.enqueue(driven.row(), driven.row(), driven.row(delay=10**9))
    for job_id in ("1", "2", "3"):
        store(driven, job_id)
    driven.client.hset(driven.key("job:1"), "state", "completed")
    driven.client.delete(driven.key("job:2"))
    driven.promote_due() if tick == "promote_due" else driven.step(0)
    assert state_of(driven) == "completed"
    assert stored(driven, "2") == {}
    assert indexed(driven) == {"1", "3"}
    # Only now and then: every step would be too often.
    assert 0 < driven.client.pttl(driven.key("x-py:vectors-look")) <= 1_000
    driven.client.hset(driven.key("job:1"), "state", "failed")
    driven.step(0)
    assert state_of(driven) == "completed"


def test_looking_writes_nothing_where_nothing_has_changed(driven: DrivenQueue) -> None:
    """A search module would index every vector anew."""
    driven.add(delay=10**6)
    store(driven)

    def writes() -> int:
        stats: Any = driven.client.info("commandstats")
        return int(stats["cmdstat_hset"]["calls"])

    before = writes()
    driven.promote_due()
    driven.call("change_delay", id="1", delay_ms=10**7)  # one for the job itself
    assert writes() == before + 1
    driven.call("promote_job", id="1")
    assert (writes(), state_of(driven)) == (before + 3, "waiting")


def test_full_server_refuses_a_vector(own_library: DrivenQueue) -> None:
    own_library.add()
    own_library.client.config_set("maxmemory", 1)
    with pytest.raises(valkey.OutOfMemoryError):
        store(own_library)
