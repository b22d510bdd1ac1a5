"""gmq_set_dead_letter_queue, and the workers' way to the same setting."""

from __future__ import annotations

import pytest

from tests.lua.dead_letters import DLQ, configure, fail_one, outbox
from tests.lua.driven_queue import DrivenQueue


def test_queue_is_not_its_own_dead_letter_queue(driven: DrivenQueue) -> None:
    assert driven.call("set_dead_letter_queue", dead_letters=[driven.name, False])[0] == b"bad_argument"
    driven.client.hset(driven.key("meta"), "deadLetterQueueName", driven.name)
    fail_one(driven)
    assert outbox(driven) == []


def test_last_setting_counts_and_none_takes_it_away(driven: DrivenQueue) -> None:
    configure(driven, "one", 3)
    configure(driven, "two")
    settings = driven.client.hgetall(driven.key("meta"))
    assert settings == {b"deadLetterQueueName": b"two"}
    assert driven.call("set_dead_letter_queue") == [b"ok"]
    assert driven.client.exists(driven.key("meta")) == 0


def test_worker_names_the_queue_when_it_registers(driven: DrivenQueue) -> None:
    reply = driven.call("register_worker", consumer="c", info_json="{}", ttl_ms=1000, dead_letters=[DLQ, 2])
    assert reply == [b"ok"]
    assert driven.client.hget(driven.key("meta"), "deadLetterQueueName") == DLQ.encode()
    reply = driven.call("register_worker", consumer="c", info_json="{}", ttl_ms=1000, dead_letters=["{", 2])
    assert reply[0] == b"bad_argument"


@pytest.mark.parametrize(("attempts", "max_retries", "runs"), [(5, 2, 3), (2, 5, 2), (3, 0, 1), (0, 3, 1)])
def test_max_retries_bounds_the_attempts(
    driven: DrivenQueue, attempts: int, max_retries: int, runs: int
) -> None:
    configure(driven, max_retries=max_retries)
    job_id = driven.add()
    for run in range(1, runs + 1):
        driven.fail(driven.start_one(), max_attempts=attempts)
        assert driven.state(job_id) == ("failed" if run == runs else "waiting")
    assert len(outbox(driven)) == 1
