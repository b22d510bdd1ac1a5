"""gmq_step: what is more urgent starts first, also when some of it cannot start at all."""

from __future__ import annotations

from tests.lua.driven_queue import DrivenQueue
from tests.lua.grouped_queue import GroupedQueue

NOTHING_LEFT, MORE_LEFT = 0, 1


def test_prioritized_job_whose_group_waits_lets_no_plain_job_overtake_the_others(
    grouped: GroupedQueue,
) -> None:
    grouped.join(own={"delay": 100})  # holds its group
    (held_up,) = grouped.join(own={"priority": 3})
    plain = grouped.add()
    urgent = [grouped.add(priority=3) for _ in range(2)]
    assert grouped.step(2).ids == urgent
    assert grouped.parked() == [held_up]
    assert grouped.step(1).ids == [plain]


def test_jobs_without_use_in_the_priority_list_are_all_passed_before_anything_else_starts(
    driven: DrivenQueue,
) -> None:
    driven.enqueue(*[driven.row(priority=1, ttl=100)] * 10)
    urgent = driven.add(priority=2)
    lifo, plain = driven.add(lifo=1), driven.add()
    driven.promote_due()
    driven.pass_time(101)
    order, steps = [], 0
    while len(order) < 3:
        stepped = driven.step(1)
        assert stepped.ids or stepped.more == MORE_LEFT
        order += stepped.ids
        steps += 1
        assert steps < 10
    assert order == [urgent, lifo, plain]


def test_lifo_jobs_without_use_hide_none_that_stands_behind_them(driven: DrivenQueue) -> None:
    behind = driven.add(lifo=1)
    driven.enqueue(*[driven.row(lifo=1, ttl=100)] * 10)
    plain = driven.add()
    driven.pass_time(101)
    order: list[str] = []
    for _ in range(8):
        stepped = driven.step(1)
        order += stepped.ids
        if stepped.more == NOTHING_LEFT:
            break
    assert order == [behind, plain]


def test_prioritized_job_that_the_start_of_its_predecessor_lets_go_starts_in_the_same_step(
    grouped: GroupedQueue,
) -> None:
    first, second = (grouped.join(own=own, concurrency=2)[0] for own in ({}, {"priority": 3}))
    stepped = grouped.step(4)
    assert stepped.ids == [first, second]
    assert grouped.elements("priority") == []
