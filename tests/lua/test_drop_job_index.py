"""drop_job_index: an index is forgotten, its vectors stay."""

from __future__ import annotations

from glidemq.commands.drop_job_index import DropJobIndexCommand
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute
from tests.lua.test_create_job_index import create, noted
from tests.lua.test_store_vector import store, stored


def drop(driven: DrivenQueue, name: str = "") -> bool:
    return execute(driven, DropJobIndexCommand(driven.key("meta"), name=name or f"{driven.name}-idx"))


def test_dropped_index_is_gone_and_its_vectors_stay(searchable: DrivenQueue) -> None:
    searchable.add()
    store(searchable)
    create(searchable)
    assert drop(searchable) is True
    assert noted(searchable) == {}
    assert stored(searchable)["state"] == "waiting"
    assert drop(searchable) is False
    assert create(searchable).status == "ok"


def test_index_of_another_library_is_dropped_too(searchable: DrivenQueue) -> None:
    searchable.client.execute_command(
        "FT.CREATE",
        f"{searchable.name}-idx",
        "ON",
        "HASH",
        "PREFIX",
        "1",
        "glide:{other",
        "SCHEMA",
        "name",
        "TAG",
    )
    assert drop(searchable) is True


def test_noted_index_is_forgotten_without_a_module(driven: DrivenQueue) -> None:
    assert drop(driven) is False
    create(driven)
    create(driven, "other")
    assert drop(driven) is True
    assert list(noted(driven)) == ["other"]
