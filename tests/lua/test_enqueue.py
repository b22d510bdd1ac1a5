"""gmq_enqueue: what it writes, in the words of the wire format, and what it refuses."""

from __future__ import annotations

import pytest
import valkey

from tests.lua.driven_queue import START_MS, DrivenQueue

SHIFT = 2**42


def test_plain_job_has_exactly_the_fields_of_the_wire_format(driven: DrivenQueue) -> None:
    assert driven.add("greet", '{"hello":"world"}') == "1"
    assert list(driven.job("1").items()) == [
        ("id", "1"),
        ("name", "greet"),
        ("data", '{"hello":"world"}'),
        ("opts", "{}"),
        ("timestamp", str(START_MS)),
        ("attemptsMade", "0"),
        ("delay", "0"),
        ("priority", "0"),
        ("maxAttempts", "0"),
        ("state", "waiting"),
    ]
    assert driven.entries() == ["1"]
    assert driven.events() == [{"event": "added", "jobId": "1", "name": "greet"}]
    assert driven.suffixes() == ["events", "id", "job:1", "stream"]


def test_ttl_custom_id_and_attempts_are_stored(driven: DrivenQueue) -> None:
    assert driven.add(job_id="my-id", ttl=60_000, attempts=3) == "my-id"
    job = driven.job("my-id")
    assert job["expireAt"] == str(START_MS + 60_000)
    assert job["maxAttempts"] == "3"
    assert "id" not in driven.suffixes()


@pytest.mark.parametrize(
    ("options", "state", "score"),
    [
        ({"delay": 400}, "delayed", START_MS + 400),
        ({"priority": 5}, "prioritized", 5 * SHIFT),
        ({"priority": 2, "delay": 300}, "delayed", 2 * SHIFT + START_MS + 300),
        ({"priority": 2048}, "prioritized", 2048 * SHIFT),
    ],
)
def test_scheduled_job_stands_in_the_sorted_set(
    driven: DrivenQueue, options: dict[str, int], state: str, score: int
) -> None:
    job_id = driven.add(**options)
    assert driven.state(job_id) == state
    assert driven.members("scheduled") == {job_id: score}
    assert driven.entries() == []


def test_lifo_job_is_pushed_on_the_right(driven: DrivenQueue) -> None:
    driven.add(lifo=1)
    driven.add(lifo=1)
    assert driven.elements("lifo") == ["1", "2"]
    assert driven.field("1", "lifo") == "1"
    assert driven.state("1") == "waiting"


def test_batch_gets_consecutive_ids_in_order(driven: DrivenQueue) -> None:
    _, ids, _ = driven.enqueue(*[driven.row(f"n{n}") for n in range(5)])
    assert ids == [b"1", b"2", b"3", b"4", b"5"]
    assert [driven.field(str(n), "name") for n in range(1, 6)] == [f"n{n}" for n in range(5)]
    assert driven.add() == "6"


def test_duplicate_custom_id_adds_nothing(driven: DrivenQueue) -> None:
    driven.add(job_id="x", data='"first"')
    before = driven.snapshot()
    _, ids, _ = driven.enqueue(driven.row(job_id="x", data='"second"'))
    assert ids == [False]
    assert driven.snapshot() == before


def test_duplicate_within_one_call_is_found(driven: DrivenQueue) -> None:
    _, ids, _ = driven.enqueue(driven.row(job_id="x"), driven.row(), driven.row(job_id="x"))
    assert ids == [b"x", b"1", False]
    assert driven.entries() == ["x", "1"]


@pytest.mark.parametrize(
    ("custom_id", "next_automatic"),
    [("100", "101"), ("007", "1"), ("0", "1"), ("99999999999999999999", "1"), ("12a", "1")],
)
def test_only_a_canonical_number_moves_the_counter(
    driven: DrivenQueue, custom_id: str, next_automatic: str
) -> None:
    assert driven.add(job_id=custom_id) == custom_id
    assert driven.add() == next_automatic


def test_automatic_ids_stay_distinct_where_lua_rounds(driven: DrivenQueue) -> None:
    driven.add(job_id="9007199254740990")
    _, ids, _ = driven.enqueue(*[driven.row()] * 4)
    assert ids == [str(9007199254740990 + number).encode() for number in (1, 2, 3, 4)]
    assert driven.add() == "9007199254740995"


def test_smaller_number_leaves_the_counter(driven: DrivenQueue) -> None:
    driven.add(job_id="100")
    driven.add(job_id="50")
    assert driven.add() == "101"


def test_custom_number_in_the_middle_of_a_batch_moves_the_counter_there(driven: DrivenQueue) -> None:
    _, ids, _ = driven.enqueue(driven.row(), driven.row(job_id="10"), driven.row())
    assert ids == [b"1", b"10", b"11"]


def test_counter_poisoned_by_others_is_reported_and_nothing_is_added(driven: DrivenQueue) -> None:
    driven.client.set(driven.key("id"), "007")
    for rows in ([driven.row()], [driven.row(job_id="a"), driven.row()]):
        assert driven.enqueue(*rows) == [b"bad_id_counter", b"007"]
    assert driven.suffixes() == ["id"]


def test_parent_of_the_same_queue_gets_its_dependency(driven: DrivenQueue) -> None:
    driven.add(job_id="p")
    child = driven.add(parent="p", parent_queue=driven.name)
    assert set(driven.client.smembers(driven.key("deps:p"))) == {driven.key(child).encode()}
    assert driven.job(child)["parentId"] == "p"
    assert driven.job(child)["parentQueue"] == driven.name


def test_a_parent_that_is_gone_leaves_no_trace_of_its_children(driven: DrivenQueue) -> None:
    child = driven.add(parent="p", parent_queue=driven.name)
    assert not driven.client.exists(driven.key("deps:p"))
    driven.complete(driven.start_one())
    assert driven.state(child) == "completed"


def test_parent_of_another_queue_is_only_noted(driven: DrivenQueue) -> None:
    child = driven.add(parent="p", parent_queue="other")
    assert driven.job(child)["parentQueue"] == "other"
    assert "deps:p" not in driven.suffixes()


def test_events_can_be_switched_off(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), events=False)
    assert driven.events() == []


@pytest.mark.parametrize(
    ("options", "rings"),
    [({}, 0), ({"lifo": 1}, 1), ({"priority": 1}, 1), ({"delay": 10}, 1), ({"priority": 1, "delay": 10}, 1)],
)
def test_bell_rings_for_what_no_blocked_reader_sees(
    driven: DrivenQueue, options: dict[str, int], rings: int
) -> None:
    driven.enqueue(driven.row(**options), driven.row(**options))
    assert driven.rings() == rings


def test_later_due_time_does_not_ring(driven: DrivenQueue) -> None:
    driven.add(delay=100)
    driven.add(delay=200)
    assert driven.rings() == 1
    driven.add(delay=50)
    assert driven.rings() == 2


def test_bell_keeps_few_rings(driven: DrivenQueue) -> None:
    for _ in range(50):
        driven.add(lifo=1)
    assert driven.rings() <= 16


def test_reply_tells_the_first_due_time_of_the_call(driven: DrivenQueue) -> None:
    assert driven.enqueue(driven.row())[2] == -1
    assert driven.enqueue(driven.row(delay=500), driven.row(delay=200))[2] == START_MS + 200
    assert driven.enqueue(driven.row(priority=1), driven.row(delay=200))[2] == START_MS


def test_repeated_call_gets_the_first_reply_and_adds_nothing(driven: DrivenQueue) -> None:
    first = driven.enqueue(driven.row(), driven.row(delay=5), idem="abc")
    before = driven.snapshot()
    assert driven.enqueue(driven.row(), driven.row(delay=5), idem="abc") == first
    assert driven.snapshot() == before
    assert 0 < driven.client.pttl(driven.key("x-py:add:abc")) <= 60_000
    assert driven.enqueue(driven.row(), idem="other")[1] == [b"3"]


def test_full_queue_refuses_the_whole_call(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row(lifo=1), driven.row(priority=3))
    assert driven.enqueue(driven.row(), driven.row(), max_waiting=4) == [b"queue_full", 3, 4]
    assert driven.enqueue(driven.row(), max_waiting=4)[0] == b"ok"
    assert driven.enqueue(driven.row(), max_waiting=4)[0] == b"queue_full"


def test_started_jobs_make_room_and_returned_ones_take_it(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row(), driven.row())
    job = driven.start_one()
    assert driven.enqueue(driven.row(), max_waiting=2)[0] == b"ok"
    driven.release(job)
    assert driven.enqueue(driven.row(), max_waiting=3) == [b"queue_full", 3, 3]


def test_delayed_jobs_do_not_wait(driven: DrivenQueue) -> None:
    driven.add(delay=1000)
    assert driven.enqueue(driven.row(), max_waiting=1)[0] == b"ok"


@pytest.mark.parametrize(
    "jobs",
    [
        [["n", "{}"]],
        ["row"],
        [[1, "{}", "{}", 0, 0, 0, 0, 0, False, False, False, False]],
        [["n", "{}", "{}", "soon", 0, 0, 0, 0, False, False, False, False]],
        [["n", "{}", "{}", 0, 0, 0, 0, 0, 7, False, False, False]],
        [["n", "{}", "{}", 0, 0, 0, 0, 0, False, False, False, {"group": "g"}]],
    ],
)
def test_malformed_rows_are_refused_before_anything_is_written(
    driven: DrivenQueue, jobs: list[object]
) -> None:
    good = driven.row()
    assert driven.call("enqueue", jobs=[good, *jobs])[0] == b"bad_argument"
    assert driven.suffixes() == []


def test_full_server_refuses_to_add(own_library: DrivenQueue) -> None:
    queue = own_library
    queue.add()
    queue.client.config_set("maxmemory", 1)
    with pytest.raises(valkey.OutOfMemoryError):
        queue.add()
    job = queue.start_one()
    assert queue.extend(job) == [1]
    assert queue.complete(job) == [1]
    queue.client.config_set("maxmemory", 0)
    assert queue.add() == "2"


def test_ids_that_the_caller_was_given_are_not_given_again_by_a_server_with_an_older_counter(
    driven: DrivenQueue,
) -> None:
    driven.enqueue(*[driven.row()] * 3)
    assert driven.enqueue(driven.row(), driven.row(), given=3)[1] == [b"4", b"5"]
    assert driven.enqueue(driven.row(), driven.row(), given=20)[1] == [b"21", b"22"]
    assert driven.enqueue(driven.row(), driven.row(job_id="own"), given=30)[1] == [b"31", b"own"]
    assert driven.enqueue(driven.row(), given=7)[1] == [b"32"]
    assert driven.enqueue(driven.row(), given=2**60)[1] == [b"33"], (
        "no counter is moved to where it is not exact"
    )


def test_a_queue_without_a_counter_begins_anew_whatever_its_callers_were_given(driven: DrivenQueue) -> None:
    assert driven.enqueue(driven.row(), driven.row(), given=20)[1] == [b"1", b"2"]
