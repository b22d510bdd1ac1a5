"""vector_search: what the search module finds, and what the client is told where there is none."""

from __future__ import annotations

import json
import struct

import pytest

from glidemq.commands.vector_search import SearchReply, VectorSearchCommand
from glidemq.options.vectors import index_definition
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute
from tests.lua.test_create_job_index import DEFINITION, create
from tests.lua.test_store_vector import store


def blob(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def search(
    driven: DrivenQueue,
    vector: bytes = blob(1, 0),
    *,
    index: str = "",
    filter: str = "*",
    k: int = 10,
    score_field: str = "__score",
    options: list[str] | None = None,
) -> SearchReply:
    command = VectorSearchCommand(
        driven.key("meta"),
        index=index or f"{driven.name}-idx",
        filter=filter,
        k=k,
        vector=vector,
        score_field=score_field,
        options=options or [],
    )
    return execute(driven, command)


@pytest.fixture
def filled(searchable: DrivenQueue) -> DrivenQueue:
    create(searchable)
    for number, vector in enumerate([(1, 0), (1, 1), (0, 1), (-1, 0)], 1):
        searchable.add(f"n{number}")
        store(searchable, str(number), vector=blob(*vector))
    return searchable


def test_nearest_jobs_come_with_their_distance(filled: DrivenQueue) -> None:
    reply = search(filled)
    assert reply.status == "ok"
    assert sorted(reply.found, key=lambda pair: pair[1]) == [
        ("1", pytest.approx(0, abs=1e-6)),
        ("2", pytest.approx(1 - 0.5**0.5, abs=1e-6)),
        ("3", pytest.approx(1)),
        ("4", pytest.approx(2)),
    ]
    assert {job_id for job_id, _ in search(filled, k=2).found} == {"1", "2"}
    assert search(filled, score_field="near").found


def test_filter_sees_the_state_that_a_job_has_now(filled: DrivenQueue) -> None:
    job = filled.start_one()
    assert [job_id for job_id, _ in search(filled, filter="@state:{active}").found] == [job.id]
    filled.complete(job)
    assert search(filled, filter="@state:{active}").found == []
    assert [job_id for job_id, _ in search(filled, filter="@state:{completed} @name:{n1|n9}").found] == ["1"]
    filled.call("remove", id="1")
    assert {job_id for job_id, _ in search(filled).found} == {"2", "3", "4"}


def test_more_results_than_the_module_gives_by_default(filled: DrivenQueue) -> None:
    for number in range(5, 45):
        filled.add()
        store(filled, str(number), vector=blob(number, 1))
    assert len(search(filled, k=40).found) == 40


def test_index_of_another_library_tells_its_vector_field(filled: DrivenQueue) -> None:
    filled.client.delete(filled.key("x-py:indexes"))
    assert len(search(filled).found) == 4


def test_module_s_refusals_are_told(filled: DrivenQueue) -> None:
    refused = search(filled, filter="@state:{")
    assert refused.status == "refused" and "Syntax error" in refused.reason
    assert search(filled, blob(1, 2, 3)).status == "refused"
    assert search(filled, options=["NOSUCH"]).status == "refused"


def test_index_that_the_module_does_not_know(filled: DrivenQueue) -> None:
    assert search(filled, index="none") == ("no_index", [], None, "")
    filled.client.hset(filled.key("x-py:indexes"), "noted", DEFINITION.to_json())
    reply = search(filled, index="noted")
    assert reply.status == "no_index" and reply.definition is not None
    assert json.loads(reply.definition) == json.loads(DEFINITION.to_json())


def test_index_without_a_vector_field_serves_no_search(searchable: DrivenQueue) -> None:
    create(searchable, definition=index_definition([], None))
    assert search(searchable).status == "no_vector_field"


def test_without_a_module_the_client_is_told_what_the_index_is_made_of(driven: DrivenQueue) -> None:
    assert search(driven) == ("no_module", [], None, "")
    create(driven)
    reply = search(driven)
    assert (reply.status, reply.definition) == ("no_module", DEFINITION.to_json().encode())
