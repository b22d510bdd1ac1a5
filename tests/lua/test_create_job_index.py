"""create_job_index: the search module indexes the queue's vectors; without one the index is only noted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from glidemq.commands.create_job_index import CreateJobIndexCommand, IndexReply
from glidemq.options.vectors import IndexDefinition, VectorField, index_definition
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute

DEFINITION = index_definition([], VectorField("v", 2, "FLAT"))


def create(
    driven: DrivenQueue,
    name: str = "",
    definition: IndexDefinition = DEFINITION,
    *,
    fallback: bool = True,
    options: list[str] | None = None,
) -> IndexReply:
    command = CreateJobIndexCommand(
        driven.key("meta"),
        name=name or f"{driven.name}-idx",
        schema=definition.schema(),
        options=options or [],
        definition=definition.to_json(),
        fallback=fallback,
    )
    return execute(driven, command)


def noted(driven: DrivenQueue) -> dict[str, Any]:
    found = driven.client.hgetall(driven.key("x-py:indexes"))
    return {name.decode(): json.loads(text) for name, text in found.items()}


def attributes_of(driven: DrivenQueue, name: str) -> dict[str, str]:
    """Field -> type, as the module has it."""
    info = driven.client.execute_command("FT.INFO", name)
    about = dict(zip(info[::2], info[1::2], strict=True))
    rows = [dict(zip(row[::2], row[1::2], strict=False)) for row in about[b"attributes"]]
    return {row[b"identifier"].decode(): row[b"type"].decode() for row in rows}


def test_module_indexes_base_fields_own_fields_and_the_vector(searchable: DrivenQueue) -> None:
    fields = [{"name": "tenant"}, {"name": "size", "type": "NUMERIC"}, {"name": "about", "type": "TEXT"}]
    definition = index_definition(fields, VectorField("v", 3))
    assert create(searchable, definition=definition) == ("ok", "")
    name = f"{searchable.name}-idx"
    assert attributes_of(searchable, name) == {
        "name": "TAG",
        "state": "TAG",
        "timestamp": "NUMERIC",
        "priority": "NUMERIC",
        "tenant": "TAG",
        "size": "NUMERIC",
        "about": "TEXT",
        "v": "VECTOR",
    }
    assert IndexDefinition.from_json(json.dumps(noted(searchable)[name]).encode()) == definition


def test_index_without_a_vector_field_has_a_placeholder(searchable: DrivenQueue) -> None:
    assert create(searchable, definition=index_definition([], None)).status == "ok"
    assert attributes_of(searchable, f"{searchable.name}-idx")["_vec"] == "VECTOR"


def test_options_of_the_module_are_passed_on(searchable: DrivenQueue) -> None:
    assert create(searchable, options=["LANGUAGE", "german"]).status == "ok"
    refused = create(searchable, "other", options=["NOSUCHOPTION"])
    assert refused.status == "refused" and refused.reason
    assert "other" not in noted(searchable)


def test_existing_index_is_left_alone(searchable: DrivenQueue) -> None:
    create(searchable)
    other = index_definition([], VectorField("w", 9))
    assert create(searchable, definition=other).status == "exists"
    assert noted(searchable)[f"{searchable.name}-idx"]["vector"]["name"] == "v"


def test_without_a_module_the_index_is_noted(driven: DrivenQueue) -> None:
    assert create(driven).status == "no_module"
    assert noted(driven) == {f"{driven.name}-idx": json.loads(DEFINITION.to_json())}
    assert create(driven).status == "exists"


def test_without_a_module_and_a_fallback_nothing_is_noted(driven: DrivenQueue) -> None:
    assert create(driven, fallback=False).status == "no_module"
    assert noted(driven) == {}


def test_obliterated_queue_can_be_indexed_again(searchable: DrivenQueue) -> None:
    create(searchable)
    cursor: dict[str, Any] = {}
    while (reply := searchable.call("obliterate", force=False, limit=1000, **cursor))[0] == b"more":
        cursor = {"cursor": reply[2]}
    assert create(searchable).status == "ok"


@pytest.mark.parametrize("metric", ["COSINE", "L2", "IP"])
@pytest.mark.parametrize("algorithm", ["HNSW", "FLAT"])
def test_every_algorithm_and_metric_is_one_of_the_module_s(
    searchable: DrivenQueue, algorithm: Any, metric: Any
) -> None:
    definition = index_definition([], VectorField("v", 4, algorithm, metric))
    assert create(searchable, definition=definition).status == "ok"
