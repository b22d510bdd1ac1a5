"""gmq_step: what a completion writes, who may complete, what is removed, which parents wake."""

from __future__ import annotations

from tests.lua.driven_queue import START_MS, DrivenQueue

MINUTE = START_MS - START_MS % 60_000


# -- completing


def test_completion_leaves_what_the_wire_format_says(driven: DrivenQueue) -> None:
    driven.add("greet")
    job = driven.start_one()
    driven.pass_time(7)
    assert driven.complete(job, value='{"ok":true}') == [1]
    stored = driven.job("1")
    assert (stored["state"], stored["returnvalue"], stored["finishedOn"]) == (
        "completed", '{"ok":true}', str(START_MS + 7)
    )  # fmt: skip
    assert stored["processedOn"] == str(START_MS)
    assert driven.members("completed") == {"1": START_MS + 7}
    assert driven.entries() == []
    assert driven.pending() == {}
    assert driven.events()[-1] == {"event": "completed", "jobId": "1", "returnvalue": '{"ok":true}'}
    assert driven.metrics("completed") == {f"m:{MINUTE}:c": 1, f"m:{MINUTE}:d": 7}


def test_completion_and_start_ride_in_one_call(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    first = driven.start_one()
    stepped = driven.step(1, complete=[driven.completion(first)])
    assert stepped.outcomes == [1]
    assert stepped.ids == ["2"]


def test_durations_of_a_batch_are_summed(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    (first,) = driven.start()
    driven.pass_time(10)
    (second,) = driven.start()
    driven.pass_time(5)
    driven.complete(first, second)
    minute = driven.now - driven.now % 60_000
    assert driven.metrics("completed") == {f"m:{minute}:c": 2, f"m:{minute}:d": 20}


def test_instant_jobs_create_no_duration_field(driven: DrivenQueue) -> None:
    driven.add()
    driven.complete(*driven.start())
    assert list(driven.metrics("completed")) == [f"m:{MINUTE}:c"]


def test_events_and_metrics_can_be_switched_off(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), events=False)
    driven.complete(*driven.start(), events=False, metrics=False)
    assert driven.events() == []
    assert driven.metrics("completed") == {}
    assert driven.state("1") == "completed"


def test_day_old_minute_goes_when_a_new_one_begins(driven: DrivenQueue) -> None:
    for _ in range(2):
        driven.add()
        driven.complete(*driven.start())
        driven.pass_time(86_400_000)
    driven.add()
    driven.complete(*driven.start())
    assert list(driven.metrics("completed")) == [f"m:{driven.now - driven.now % 60_000}:c"]


def test_leftover_minutes_of_a_large_hash_are_pruned_in_time(driven: DrivenQueue) -> None:
    old = {f"m:{MINUTE - 90_000_000 - n * 60_000}:c": 1 for n in range(4000)}
    driven.client.hset(driven.key("metrics:completed"), mapping=old)
    for _ in range(30):
        driven.add()
        driven.complete(*driven.start())
        driven.pass_time(60_000)
    assert driven.client.hlen(driven.key("metrics:completed")) < 3000


# -- fencing


def test_repeated_completion_is_already_recorded(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    assert driven.complete(job, value="1") == [1]
    before = driven.snapshot()
    assert driven.complete(job, value="2") == [2]
    assert driven.snapshot() == before


def test_completion_under_another_token_is_refused(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    before = driven.snapshot()
    assert driven.complete(job._replace(token="other.1")) == [4]
    assert driven.complete(job._replace(processed_on=job.processed_on + 1)) == [4]
    assert driven.snapshot() == before


def test_zombie_of_a_job_that_a_node_worker_started_again_is_refused(driven: DrivenQueue) -> None:
    driven.add(lifo=1)
    job = driven.start_one()
    # What Node's list reclaim and activation leave: our token stands, the start is another.
    later = {"state": "active", "processedOn": job.processed_on + 9, "lastActive": job.processed_on + 9}
    driven.client.hset(driven.key("job:1"), mapping=later)
    assert driven.complete(job) == [4]
    assert driven.state("1") == "active"


def test_completion_of_a_removed_job_only_clears_its_entry(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    driven.client.delete(driven.key("job:1"))
    assert driven.complete(job) == [3]
    assert driven.entries() == []
    assert "job:1" not in driven.suffixes()
    assert driven.members("completed") == {}


def test_outcomes_keep_the_order_of_the_rows(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row() for _ in range(4)])
    a, b, c, d = driven.start(4)
    driven.complete(b)
    driven.client.delete(driven.key(f"job:{c.id}"))
    assert driven.complete(a, b, c, d._replace(token="x")) == [1, 2, 3, 4]


# -- retention


def add_satellites(driven: DrivenQueue, job_id: str) -> None:
    driven.client.rpush(driven.key(f"log:{job_id}"), "line")
    driven.client.xadd(driven.key(f"jstream:{job_id}"), {"type": "x"})
    driven.client.rpush(driven.key(f"signals:{job_id}"), "{}")
    driven.client.sadd(driven.key(f"deps:{job_id}"), "glide:{x}:1")
    driven.client.sadd(driven.key(f"parents:{job_id}"), "glide:{x}:1")


def test_removed_job_takes_its_satellites_along(driven: DrivenQueue) -> None:
    driven.add()
    add_satellites(driven, "1")
    job = driven.start_one()
    assert driven.complete(job, value="1", retain=True) == [1]
    assert driven.suffixes() == ["events", "id", "metrics:completed", "stream"]
    assert driven.events()[-1]["event"] == "completed"
    assert driven.complete(job) == [3]


def test_count_keeps_the_newest(driven: DrivenQueue) -> None:
    for _ in range(5):
        driven.add()
        driven.complete(*driven.start(), retain=2)
        driven.pass_time(1)
    assert list(driven.members("completed")) == ["4", "5"]
    assert driven.state("3") is None


def test_count_zero_and_false_keep_everything(driven: DrivenQueue) -> None:
    for retain in (0, False):
        driven.add()
        driven.complete(*driven.start(), retain=retain)
    assert len(driven.members("completed")) == 2


def test_age_removes_what_is_older(driven: DrivenQueue) -> None:
    driven.add()
    driven.complete(*driven.start())
    add_satellites(driven, "1")
    driven.pass_time(10_001)
    driven.add()
    driven.complete(*driven.start(), retain=[10, False])
    assert list(driven.members("completed")) == ["2"]
    assert "log:1" not in driven.suffixes()


def test_age_and_count_together(driven: DrivenQueue) -> None:
    for _ in range(4):
        driven.add()
        driven.complete(*driven.start())
        driven.pass_time(1000)
    driven.add()
    driven.complete(*driven.start(), retain=[3, 2])
    assert list(driven.members("completed")) == ["4", "5"]


def test_retention_removes_a_thousand_at_most_per_call(driven: DrivenQueue) -> None:
    old = {f"old{n}": n for n in range(2500)}
    driven.client.zadd(driven.key("completed"), old)
    driven.add()
    driven.complete(*driven.start(), retain=1)
    assert len(driven.members("completed")) == 1501


# -- parents


def parent_of(driven: DrivenQueue, *children: str, parent: str = "p") -> None:
    driven.hash(parent, state="waiting-children")
    driven.client.sadd(driven.key(f"deps:{parent}"), *[driven.key(child) for child in children])


def test_parent_wakes_when_its_last_child_completes(driven: DrivenQueue) -> None:
    for child in ("a", "b"):
        driven.add(job_id=child, parent="p", parent_queue=driven.name)
    parent_of(driven, "a", "b")
    a, b = driven.start(2)
    driven.complete(a)
    assert driven.state("p") == "waiting-children"
    assert driven.field("p", "depsCompleted") == "1"
    assert driven.field("p", f"depdone:{driven.key('a')}") == "1"
    driven.complete(b)
    assert driven.state("p") == "waiting"
    assert driven.entries() == ["p"]
    assert driven.events()[-1] == {"event": "active", "jobId": "p"}


def test_child_marks_its_parent_once(driven: DrivenQueue) -> None:
    driven.add(job_id="a", parent="p", parent_queue=driven.name)
    parent_of(driven, "a", "b")
    driven.client.hset(driven.key("job:p"), f"depdone:{driven.key('a')}", "1")
    driven.complete(*driven.start())
    assert driven.field("p", "depsCompleted") is None


def test_removed_parent_does_not_come_back_as_a_stub(driven: DrivenQueue) -> None:
    driven.add(job_id="a", parent="p", parent_queue=driven.name)
    driven.complete(*driven.start())
    assert driven.job("p") == {}


def test_parent_of_another_queue_is_left_to_its_own_call(driven: DrivenQueue) -> None:
    driven.add(job_id="a", parent="p", parent_queue="elsewhere")
    parent_of(driven, "a")
    driven.complete(*driven.start())
    assert driven.state("p") == "waiting-children"


def test_all_dependents_of_a_graph_node_hear_of_it(driven: DrivenQueue) -> None:
    driven.add_waiting("a", parentIds='["p","q"]', parentQueues="[]")
    driven.client.sadd(driven.key("parents:a"), driven.key("p"), driven.key("q"), "glide:{another}:r")
    parent_of(driven, "a", parent="p")
    parent_of(driven, "a", parent="q")
    driven.complete(*driven.start())
    assert {driven.state("p"), driven.state("q")} == {"waiting"}
