"""get_metrics: the minutes of the last day in which jobs finished, as this library and Node count them."""

from __future__ import annotations

import pytest

from glidemq.commands.get_metrics import GetMetricsCommand, MinuteMetrics, QueueMetrics
from glidemq.errors import ValidationError
from tests.interop.loader import load_dump
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute
from tests.lua.raw_queue import RawQueue

MINUTE = 60_000


def metrics(driven: DrivenQueue, kind: str = "completed", start: int = 0, end: int = -1) -> QueueMetrics:
    return execute(driven, GetMetricsCommand(driven.key("meta"), kind=kind, start=start, end=end))


def run_job(driven: DrivenQueue, duration_ms: int, *, failing: bool = False) -> None:
    driven.add()
    job = driven.start_one()
    driven.pass_time(duration_ms)
    if failing:
        driven.fail(job)
    else:
        driven.complete(job)


def test_each_minute_shows_its_jobs_and_their_average_duration(driven: DrivenQueue) -> None:
    first = driven.now
    assert first % MINUTE == 0
    run_job(driven, 10)
    run_job(driven, 25)
    driven.pass_time(3 * MINUTE)
    run_job(driven, 0)
    run_job(driven, 7, failing=True)
    found = metrics(driven)
    assert found.kept == 3
    assert found.minutes == [MinuteMetrics(first, 2, 18), MinuteMetrics(first + 3 * MINUTE, 1, 0)]
    failed = metrics(driven, "failed")
    assert (failed.kept, failed.minutes) == (1, [MinuteMetrics(first + 3 * MINUTE, 1, 7)])


@pytest.mark.parametrize(
    ("start", "end", "counts"),
    [(0, -1, [1, 2, 3, 4]), (1, 2, [2, 3]), (-2, -1, [3, 4]), (0, -2, [1, 2, 3]), (-9, 0, [1]), (2, 9, [3, 4]),
     (0, -9, []), (9, -1, [])],
)  # fmt: skip
def test_range_is_inclusive_and_may_count_from_the_end(
    driven: DrivenQueue, start: int, end: int, counts: list[int]
) -> None:
    for count in (1, 2, 3, 4):
        for _ in range(count):
            run_job(driven, 0)
        driven.pass_time(MINUTE)
    assert [minute.count for minute in metrics(driven, start=start, end=end).minutes] == counts


def test_minutes_older_than_a_day_are_not_shown(driven: DrivenQueue) -> None:
    run_job(driven, 5)
    driven.pass_time(1439 * MINUTE)
    assert len(metrics(driven).minutes) == 1
    driven.pass_time(MINUTE)
    assert metrics(driven).minutes == []
    assert metrics(driven).kept == 1


def test_a_hash_that_node_never_pruned_is_not_read_as_a_whole(driven: DrivenQueue) -> None:
    old = {f"m:{driven.now - number * MINUTE}:{kind}": 1 for number in range(4000) for kind in "cd"}
    driven.client.hset(driven.key("metrics:completed"), mapping=old)
    found = metrics(driven).minutes
    assert len(found) == 1440
    assert found[-1] == MinuteMetrics(driven.now, 1, 1)


def test_fields_of_another_shape_are_ignored(driven: DrivenQueue) -> None:
    strange = {"m:x:c": 1, "other": 2, f"m:{driven.now}:e": 3, f"m:{driven.now}:d": 4}
    driven.client.hset(driven.key("metrics:completed"), mapping=strange)
    assert metrics(driven).minutes == []


def test_counters_of_node_are_read(call: Call, queue: RawQueue) -> None:
    load_dump(queue.client, "plain", queue.name, moment="after_completion")
    reply = call("get_metrics", queue.name, kind="completed", now=1795313099999)
    found = GetMetricsCommand("k", kind="completed").parse_reply(reply)
    assert found == QueueMetrics(1, [MinuteMetrics(1795313040000, 1, 3)])


def test_wrong_arguments_are_refused(driven: DrivenQueue) -> None:
    with pytest.raises(ValidationError, match="not of 'waiting'"):
        GetMetricsCommand("k", kind="waiting")
    with pytest.raises(ValidationError, match=r"^end must be >= start when both are non-negative$"):
        GetMetricsCommand("k", kind="failed", start=2, end=1)
    assert driven.call("get_metrics", kind="x")[0] == b"bad_argument"
