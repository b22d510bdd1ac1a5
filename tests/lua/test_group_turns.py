"""Jobs of a group start in the order of their adds, within its concurrency."""

from __future__ import annotations

import pytest

from tests.lua.grouped_queue import GroupedQueue

ACCEPTED = 1


def test_one_at_a_time_and_in_order_without_a_concurrency(grouped: GroupedQueue) -> None:
    ids = grouped.join(3)
    stepped = grouped.step(3)
    assert stepped.ids == ids[:1]
    assert grouped.parked() == ids[1:]
    assert [grouped.state(job_id) for job_id in ids] == ["active", "group-waiting", "group-waiting"]
    assert grouped.group() == {"maxConcurrency": 1, "nextSeq": 2, "active": 1}
    # What is parked stands in no other place.
    assert grouped.entries() == ids[:1]


def test_end_of_a_job_starts_the_next_in_the_same_step(grouped: GroupedQueue) -> None:
    ids = grouped.join(3)
    (job,) = grouped.step(3).started
    for number in (1, 2):
        (job,) = grouped.step(3, complete=[grouped.completion(job)]).started
        assert job.id == ids[number]
    assert grouped.complete(job) == [ACCEPTED]
    assert grouped.group() == {"maxConcurrency": 1, "nextSeq": 4, "active": 0}
    assert grouped.parked() == []
    assert grouped.entries() == []


@pytest.mark.parametrize("concurrency", [1, 2, 3, 7])
def test_start_order_is_add_order_at_any_concurrency(grouped: GroupedQueue, concurrency: int) -> None:
    ids = grouped.join(12, concurrency=concurrency)
    first = grouped.step(20).started
    assert [job.id for job in first] == ids[:concurrency]
    assert grouped.active() == concurrency
    order = [job.id for job in first]
    running = first
    while running:
        done, running = running[-1], running[:-1]
        started = grouped.step(20, complete=[grouped.completion(done)]).started
        assert grouped.active() <= concurrency
        order += [job.id for job in started]
        running += started
    assert order == ids
    assert (grouped.active(), grouped.next_seq()) == (0, 13)


def test_hosts_together_keep_the_concurrency(grouped: GroupedQueue) -> None:
    ids = grouped.join(6, concurrency=2)
    assert grouped.step(1, consumer="c1").ids == ids[:1]
    assert grouped.step(4, consumer="c2").ids == ids[1:2]
    assert grouped.step(4, consumer="c3").ids == []


def test_groups_and_plain_jobs_do_not_wait_for_each_other(grouped: GroupedQueue) -> None:
    a1, _ = grouped.join(2, key="a")
    (b1,) = grouped.join(key="b")
    plain = grouped.add()
    assert grouped.step(9).ids == [a1, b1, plain]


def test_delayed_head_holds_its_group(grouped: GroupedQueue) -> None:
    (head,) = grouped.join(own={"delay": 100}, concurrency=3)
    others = grouped.join(2, concurrency=3)
    assert grouped.step(9).ids == []
    assert grouped.parked() == others
    grouped.pass_time(100)
    # All of them may run at once, and the head's start is what they have waited for.
    assert grouped.step(9).ids == [head, *others]


def test_prioritized_jobs_of_a_group_still_go_in_order(grouped: GroupedQueue) -> None:
    (plain,) = grouped.join()
    (urgent,) = grouped.join(own={"priority": 1})
    job = grouped.start_one()
    assert job.id == plain
    assert grouped.parked() == [urgent]
    stepped = grouped.step(1, complete=[grouped.completion(job)])
    assert stepped.ids == [urgent]
    # A list-sourced job like any other with a priority, for everybody who counts.
    assert stepped.started[0].entry_id == ""
    assert grouped.list_active() == 1


def test_prioritized_job_that_was_parked_goes_ahead_of_plain_ones(grouped: GroupedQueue) -> None:
    (first,) = grouped.join()
    (urgent,) = grouped.join(own={"priority": 1})
    job = grouped.step(2).started[0]
    assert job.id == first
    backlog = [grouped.add() for _ in range(3)]
    before = grouped.rings()
    assert grouped.step(0, complete=[grouped.completion(job)]).ids == []
    assert grouped.rings() == before + 1
    assert grouped.step(2).ids == [urgent, backlog[0]]


def test_job_read_before_its_predecessor_waits_for_it(grouped: GroupedQueue) -> None:
    first, second = grouped.join(2, concurrency=2)
    grouped.step(0)
    grouped.create_group()
    head, other = grouped.read_as_node("c1", 2)
    assert grouped.step(2, claimed=[other]).ids == []
    assert grouped.parked() == [second]
    # The start of the first lets the second go at once, although no slot was given back.
    assert grouped.step(2, claimed=[head]).ids == [first, second]


def test_backlog_of_one_group_hides_no_other_job_for_long(grouped: GroupedQueue) -> None:
    grouped.join(300)
    plain = grouped.add()
    steps, ids = 0, []
    while plain not in ids:
        stepped = grouped.step(2)
        ids += stepped.ids
        steps += 1
        assert stepped.more or plain in ids
    assert steps <= 4


def test_job_of_a_group_is_parked_once_however_often_its_entry_turns_up(grouped: GroupedQueue) -> None:
    _, second = grouped.join(2)
    job = grouped.step(2).started[0]
    grouped.client.xadd(grouped.key("stream"), {"jobId": second, "name": "n"})
    assert grouped.step(2).ids == []
    assert grouped.parked() == [second]
    assert grouped.step(2, complete=[grouped.completion(job)]).ids == [second]


def test_echo_of_a_running_job_in_the_wait_list_is_dropped(grouped: GroupedQueue) -> None:
    first, second = grouped.join(2)
    job = grouped.step(2).started[0]
    grouped.client.zadd(grouped.key("groupq:k"), {first: 0, "gone": 0})
    assert grouped.step(2, complete=[grouped.completion(job)]).ids == [second]
    assert grouped.parked() == []


def test_job_given_back_before_it_started_keeps_its_turn(grouped: GroupedQueue) -> None:
    ids = grouped.join(3)
    job = grouped.start_one()
    assert grouped.release(job) == [ACCEPTED]
    assert grouped.active() == 1
    assert grouped.step(3).ids == ids[:1]
    assert grouped.group() == {"maxConcurrency": 1, "nextSeq": 2, "active": 1}


def test_cost_without_a_group_limits_nothing(grouped: GroupedQueue) -> None:
    job_id = grouped.add(extra={"cost": 5000})
    job = grouped.start_one()
    assert (job.id, job.extras["cost"]) == (job_id, "5000")
    assert grouped.complete(job) == [ACCEPTED]
    assert "x-py:slot" not in grouped.job(job_id)
    assert not {"ordering", "ratelimited"} & set(grouped.suffixes())


def test_hash_without_a_sequence_keeps_the_concurrency(grouped: GroupedQueue) -> None:
    # No current writer makes one, but an old one did.
    grouped.client.hset(grouped.key("group:k"), mapping={"maxConcurrency": 1, "nextSeq": 1})
    grouped.client.hset(grouped.key("ordering"), "k", 2)
    grouped.add_waiting("1", "2", groupKey="k")
    job = grouped.start_one()
    assert grouped.step(2).ids == []
    assert grouped.step(2, complete=[grouped.completion(job)]).ids == ["2"]
    assert grouped.group() == {"maxConcurrency": 1, "nextSeq": 1, "active": 1}


def test_group_whose_hash_is_gone_lets_its_jobs_start(grouped: GroupedQueue) -> None:
    first, second = grouped.join(2)
    grouped.client.delete(grouped.key("group:k"))
    assert grouped.step(2).ids == [first, second]
