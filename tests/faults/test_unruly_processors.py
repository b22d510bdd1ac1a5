"""Processors that exit, raise what nobody expects, recurse, or return what cannot be stored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.faults.conftest import APP_OF, SYNC_APP, Launch, Look, Produce
from tests.testkit.checker import check
from tests.testkit.effects import History
from tests.testkit.waiting import eventually

KINDS = pytest.mark.parametrize("kind", ["sync", "async"])
MEBIBYTE = 1 << 20

# What the job does, and a part of the reason for which it fails; its process lives on.
RAISERS: list[tuple[list[Any], str]] = [
    (["call_exit", 0], "0"),
    (["call_exit", None], "SystemExit"),
    (["call_exit", "no more"], "no more"),
    (["raise_base"], "not even an Exception"),
    (["interrupt"], "KeyboardInterrupt"),
    (["recurse"], "maximum recursion depth exceeded"),
    (["fail", "an ordinary failure"], "an ordinary failure"),
    (["fail_beyond_unicode"], "is no text"),
    (["fail_without_words"], "SpeechlessError"),
    (["fail", "x" * 100_000], "xxx"),
    (["cancel"], "CancelledError"),
    (["stop_iteration"], "StopIteration"),
    (["run_a_loop"], ""),
]


@pytest.mark.parametrize("timeout", [None, 30.0])
@KINDS
async def test_whatever_a_processor_raises_fails_its_job_and_nothing_else(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str, timeout: float | None
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "1").ready()
    before = runtime.tree()
    producer, queue = produce(kind), look(kind)
    options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
    good = await producer.add_many(2, ["sleep", 0.01], **options)
    bad = [await producer.add(deed, **options) for deed, _ in RAISERS]
    good += await producer.add_many(10, **options)
    await eventually(lambda: queue.ended() == len(producer.acked), "all jobs end")
    check(queue, history, producer.acked, failed=bad, attempts_made=dict.fromkeys(bad, 1))
    for job, (deed, reason) in zip(bad, RAISERS, strict=True):
        assert reason in queue.job(job)["failedReason"], deed
    assert sorted(runtime.tree()) == sorted(before), "a process was replaced"
    assert runtime.stop() == 0


@pytest.mark.parametrize("status", [0, 3])
@KINDS
async def test_processor_that_ends_its_process_is_a_crash(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str, status: int
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "2").ready()
    producer, queue = produce(kind), look(kind)
    poison = await producer.add(["end_process", status])
    await producer.add_many(20, ["sleep", 0.01])
    await eventually(lambda: queue.ended() == 21, "all jobs end")
    cut_short = {run.id for run in history.running()}
    check(queue, history, producer.acked, failed={poison}, rerun=cut_short)
    reason = queue.job(poison)["failedReason"]
    assert f"exit status {status}" in reason
    assert "3 times" in reason
    assert queue.job(poison)["x-py:crashes"] == "3"
    assert runtime.stop() == 0


@KINDS
async def test_result_that_cannot_be_stored_fails_the_job_with_a_reason(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    runtime = await launch(APP_OF[kind], "--procs", "1").ready()
    before = runtime.tree()
    producer, queue = produce(kind), look(kind)
    unserialisable = await producer.add(data={"returns": "an object"})
    oversized = await producer.add(data={"returns": 2 * MEBIBYTE})
    good = await producer.add()
    await eventually(lambda: queue.ended() == 3, "all jobs end")
    check(
        queue, history, producer.acked, failed={unserialisable, oversized},
        attempts_made={unserialisable: 1, oversized: 1},
    )  # fmt: skip
    assert "object" in queue.job(unserialisable)["failedReason"]
    assert (
        "1048576" in queue.job(oversized)["failedReason"] or "1 MiB" in queue.job(oversized)["failedReason"]
    )
    assert len(queue.job(oversized)["failedReason"]) < 1000, "the value itself is no reason"
    assert queue.state(good) == "completed"
    assert sorted(runtime.tree()) == sorted(before), "a process was replaced"


@KINDS
async def test_large_payloads_in_both_directions_arrive_whole_and_in_numbers(
    launch: Launch, produce: Produce, look: Look, history: History, kind: str
) -> None:
    """They pass the rings by way of the spill areas, of which there are fewer slots than jobs."""
    runtime = await launch(APP_OF[kind], "--procs", "2").ready()
    before = runtime.tree()
    producer, queue = produce(kind), look(kind)
    sizes = [MEBIBYTE - 200, 300_000, 40_000, 33_000, 100] * 16
    for number, size in enumerate(sizes):
        await producer.add(data={"padding": chr(ord("a") + number % 26) * size, "returns": size})
    await eventually(lambda: queue.ended() == len(sizes), "all jobs end", within_s=60)
    check(queue, history, producer.acked)
    for job, size in zip(producer.acked, sizes, strict=True):
        assert len(json.loads(queue.job(job)["returnvalue"])["padding"]) == size
    assert sorted(runtime.tree()) == sorted(before), "a process was replaced"
    assert runtime.stop() == 0


async def test_subprocesses_of_a_job_end_with_its_process(
    launch: Launch, produce: Produce, look: Look, history: History
) -> None:
    runtime = await launch(SYNC_APP, "--procs", "1").ready()
    producer, queue = produce("sync"), look("sync")
    await producer.add(["spawn", 600], ["wait", "spawned"], ["die_once", "SIGKILL"])
    await eventually(lambda: "sleep" in runtime.commands(), "the subprocess runs")
    history.open_gate("spawned")
    await eventually(lambda: queue.ended() == 1, "the job completes at its second run")
    assert runtime.stop() == 0
    await eventually(lambda: runtime.tree() == [], "nothing is left", within_s=2)
