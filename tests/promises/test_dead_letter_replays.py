"""Dead letters can be looked at, summed up, removed, and tried again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from glidemq import Job, JobStateError, ValidationError
from tests.promises.dead_letters import AnyQueue, fill, letters, worker
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


async def test_letters_are_listed_by_position_and_found_by_id(
    server: ValkeyServer, failing: AnyQueue, dead: AnyQueue
) -> None:
    ids = [letter.id for letter in await fill(server, failing, dead, 5)]
    foreign = await dead.add("n", {"originalQueue": "another"})
    assert foreign is not None

    async def listed(*positions: int) -> list[str]:
        return [letter.id for letter in await failing.get_dead_letter_jobs(*positions)]

    assert await listed() == ids
    assert await listed(0, 0) == ids[:1]
    assert await listed(1, 3) == ids[1:4]
    assert await listed(-2) == ids[-2:]
    assert await listed(0, -3) == ids[:3]
    assert await listed(7, 9) == []
    with pytest.raises(ValidationError, match="end must be >= start when both are non-negative"):
        await listed(3, 1)
    found = await failing.get_dead_letter_job(ids[2])
    assert found is not None
    assert found.data["failedReason"] == "number 2"
    assert await failing.get_dead_letter_job(foreign.id) is None
    assert await failing.get_dead_letter_job("999") is None


async def test_removed_letter_leaves_the_failed_job(
    server: ValkeyServer, failing: AnyQueue, dead: AnyQueue
) -> None:
    first, second = await fill(server, failing, dead, 2)
    assert await failing.remove_dead_letter_job(first.id) is True
    assert await failing.remove_dead_letter_job(first.id) is False
    assert [letter.id for letter in await failing.get_dead_letter_jobs()] == [second.id]
    assert await dead.count() == 1
    assert (await failing.get_job_counts())["failed"] == 2


async def test_summary_tells_kinds_samples_age_and_the_success_of_replays(
    server: ValkeyServer, failing: AnyQueue, dead: AnyQueue
) -> None:
    before = datetime.now(UTC)
    async with worker(server, failing, dead.name) as running:
        for number in range(4):
            await failing.add("n", {"raise": f"order {number} is unknown"})
        await failing.add("n", {"give up": "hopeless"})
        await failing.add("n", {"wait": True}, timeout=0.05)
        found = await letters(failing, 6)
        summary = await failing.get_dead_letter_summary(samples=2)
        assert (summary.queue, summary.looked_at, summary.complete) == (dead.name, 6, True)
        assert {kind.name: kind.count for kind in summary.classes} == {
            "ValueError": 4,
            "UnrecoverableError": 1,
            "timeout": 1,
        }
        assert summary.classes[0].name == "ValueError"
        samples = [job.data["data"] for job in summary.classes[0].samples]
        assert samples == [{"raise": "order 3 is unknown"}, {"raise": "order 2 is unknown"}]
        assert summary.oldest is not None and summary.oldest_age is not None
        assert before.timestamp() - 1 < summary.oldest.timestamp() <= found[0].timestamp.timestamp()  # type: ignore[union-attr]
        assert 0 <= summary.oldest_age < 60
        assert summary.replays.success_rate is None
        bounded = await failing.get_dead_letter_summary(samples=0, look_at=2)
        assert (bounded.looked_at, bounded.complete) == (2, False)
        assert bounded.oldest == summary.oldest

        # Mend one input, and try all of that kind again.
        mended = await failing.get_job(found[0].data["originalJobId"])
        assert mended is not None
        await mended.update_data({"fine": True})
        for letter in found[:4]:
            await failing.replay_dead_letter_job(letter.id)

        async def ended() -> bool:
            counts = (await failing.get_dead_letter_summary()).replays
            return counts.completed + counts.failed == 4

        await eventually(ended, "the replayed jobs have ended")
        replays = (await failing.get_dead_letter_summary()).replays
        assert (replays.made, replays.completed, replays.failed, replays.unended) == (4, 1, 3, 0)
        assert replays.success_rate == 0.25
        assert running.is_running()


async def test_summary_of_a_queue_without_dead_letter_queue_is_empty(failing: AnyQueue) -> None:
    summary = await failing.get_dead_letter_summary()
    assert (summary.queue, summary.looked_at, summary.classes, summary.oldest_age) == (None, 0, [], None)
    with pytest.raises(ValidationError, match="samples must be between 0 and 20"):
        await failing.get_dead_letter_summary(samples=21)
    with pytest.raises(ValidationError, match="look_at must be between 1 and 10000"):
        await failing.get_dead_letter_summary(look_at=0)


async def test_a_dead_letter_queue_sums_up_the_letters_of_all_queues(
    server: ValkeyServer, failing: AnyQueue, dead: AnyQueue
) -> None:
    await fill(server, failing, dead, 3)
    await dead.add("n", {"originalQueue": "another", "failedReason": "number 8"})
    await dead.add("n", {"no": "letter"})
    summary = await dead.get_dead_letter_summary()
    assert (summary.queue, summary.looked_at, summary.complete) == (dead.name, 4, True)
    assert summary.sources == {failing.name: 3, "another": 1}
    assert {kind.name: kind.count for kind in summary.classes} == {"ValueError": 3, "number …": 1}
    assert summary.oldest_age is not None and summary.oldest_age < 60
    assert (await failing.get_dead_letter_summary()).sources == {failing.name: 3}


async def test_looking_for_letters_among_ordinary_jobs_ends_soon(failing: AnyQueue) -> None:
    await failing.add_bulk([("n", {"n": number}) for number in range(1001)])
    summary = await failing.get_dead_letter_summary()
    assert (summary.queue, summary.looked_at, summary.complete) == (None, 0, False)


# -- replaying ---------------------------------------------------------------------------------------------------


async def test_replayed_job_is_as_the_failed_one_was_added(
    server: ValkeyServer, failing: AnyQueue, dead: AnyQueue, raw: Any
) -> None:
    async with worker(server, failing, dead.name):
        await failing.add("order", {"raise": "x"}, job_id="order-7", delay=0.01, attempts=2, priority=4)
        [letter] = await letters(failing, 1)
    replayed = await failing.replay_dead_letter_job(letter.id)
    assert replayed is not None
    assert replayed.id != "order-7"
    assert (replayed.name, replayed.data) == ("order", {"raise": "x"})
    assert replayed.wire_opts == {"attempts": 2, "priority": 4}
    assert await replayed.get_state() == "prioritized"
    assert await failing.get_dead_letter_jobs() == []
    assert await dead.count() == 0
    assert raw.exists(dead.keys.job(letter.id)) == 0
    assert await failing.replay_dead_letter_job(letter.id) is None


async def test_many_are_replayed_oldest_first(
    server: ValkeyServer, failing: AnyQueue, dead: AnyQueue
) -> None:
    found = await fill(server, failing, dead, 120)
    assert await failing.replay_dead_letter_jobs(count=2) == 2
    assert [letter.id for letter in await failing.get_dead_letter_jobs(0, 0)] == [found[2].id]
    assert await failing.replay_dead_letter_jobs() == 118
    assert await failing.get_dead_letter_jobs() == []
    waiting = [job.data["raise"] for job in await failing.get_jobs("waiting")]
    assert sorted(waiting) == sorted(f"number {number}" for number in range(120))
    for bad in (-1, True, "5"):
        with pytest.raises(ValidationError, match="count must be a non-negative integer"):
            await failing.replay_dead_letter_jobs(count=bad)  # type: ignore[arg-type]


async def test_jobs_that_fail_again_are_not_replayed_in_circles(
    server: ValkeyServer, failing: AnyQueue, dead: AnyQueue
) -> None:
    async with worker(server, failing, dead.name, concurrency=10):
        await failing.add_bulk([("n", {"raise": "always"}) for _ in range(60)])
        await letters(failing, 60)
        assert await failing.replay_dead_letter_jobs() == 60
        await letters(failing, 60)
    assert (await failing.get_dead_letter_summary()).replays.made == 60


async def test_what_is_no_letter_of_this_queue_is_not_replayed(failing: AnyQueue, dead: AnyQueue) -> None:
    await failing.set_dead_letter_queue(dead.name)
    plain = await dead.add("n", {"a": 1})
    foreign = await dead.add("n", {"originalQueue": "another", "originalJobId": "1", "data": {}})
    assert plain is not None and foreign is not None
    with pytest.raises(JobStateError, match="DLQ entry is missing originalQueue metadata"):
        await failing.replay_dead_letter_job(plain.id)
    with pytest.raises(JobStateError, match="is from queue 'another', not from this one"):
        await failing.replay_dead_letter_job(foreign.id)
    assert await dead.count() == 2


async def test_letter_that_node_wrote_is_replayed(failing: AnyQueue, dead: AnyQueue) -> None:
    await failing.set_dead_letter_queue(dead.name)
    await dead.add(
        "bad",
        {
            "originalQueue": failing.name,
            "originalJobId": "77",
            "data": {"a": [1.5, "ü"]},
            "failedReason": "always",
            "attemptsMade": 1,
        },
    )
    [letter] = await failing.get_dead_letter_jobs()
    replayed = await failing.replay_dead_letter_job(letter.id)
    assert replayed is not None
    assert (replayed.name, replayed.data, replayed.opts) == ("bad", {"a": [1.5, "ü"]}, {})


async def test_letters_of_jobs_that_were_retried_by_hand_go_without_doing_the_work_twice(
    server: ValkeyServer, failing: AnyQueue, dead: AnyQueue
) -> None:
    first, second, third = await fill(server, failing, dead, 3)
    runs: list[str] = []

    async def note(job: Job[Any, Any]) -> None:
        runs.append(job.id)

    async with worker(server, failing, dead.name, processor=note):
        for letter in (first, second):
            retried = await failing.get_job(letter.data["originalJobId"])
            assert retried is not None
            await retried.retry()
            assert await retried.wait_until_finished() == "completed"
        found = await failing.replay_dead_letter_job(first.id)
        assert found is not None and found.id == first.data["originalJobId"]
        assert [letter.id for letter in await failing.get_dead_letter_jobs()] == [second.id, third.id]
        assert await failing.replay_dead_letter_jobs() == 1
        assert await failing.get_dead_letter_jobs() == []

        async def replayed() -> bool:
            return (await failing.get_dead_letter_summary()).replays.completed == 1

        await eventually(replayed, "the third letter's job has completed")
    originals = [letter.data["originalJobId"] for letter in (first, second, third)]
    assert len(runs) == 3 and runs[:2] == originals[:2] and runs[2] not in originals
