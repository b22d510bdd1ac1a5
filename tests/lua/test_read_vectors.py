"""read_vectors: all vectors of a queue with what a filter asks for, in bounded pages."""

from __future__ import annotations

import struct
from typing import Any

from glidemq.commands.read_vectors import ReadVectorsCommand
from glidemq.commands.store_vector import StoreVectorCommand
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute, execute_all


def store(driven: DrivenQueue, job_id: str, vector: bytes, field: str = "v", **attributes: str) -> None:
    command = StoreVectorCommand(
        driven.key("meta"), job_id=job_id, field=field, vector=vector, attributes=attributes
    )
    assert execute(driven, command)


def rows(driven: DrivenQueue, *fields: str) -> list[tuple[Any, ...]]:
    pages = execute_all(driven, ReadVectorsCommand(driven.key("meta"), fields=fields))
    return [row for page in pages for row in page.rows]


def test_rows_hold_the_fields_that_were_asked_for(driven: DrivenQueue) -> None:
    driven.enqueue(driven.row("one"), driven.row("two"), driven.row("three"))
    store(driven, "1", b"aaaa", tenant="acme")
    store(driven, "2", b"bbbb")
    store(driven, "3", b"cccc", field="w", tenant="acme")
    assert rows(driven, "v", "name", "tenant") == [
        (b"1", b"aaaa", b"one", b"acme"),
        (b"2", b"bbbb", b"two", False),
    ]
    assert rows(driven, "w") == [(b"3", b"cccc")]


def test_queue_without_vectors_has_none(driven: DrivenQueue) -> None:
    driven.add()
    assert rows(driven, "v") == []


def test_many_vectors_come_in_pages_each_once(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row()] * 1200)
    for number in range(1, 1201):
        store(driven, str(number), struct.pack("<f", number))
    pages = execute_all(driven, ReadVectorsCommand(driven.key("meta"), fields=["v"]))
    assert [len(page.rows) for page in pages] == [500, 500, 200]
    found = {row[0].decode(): struct.unpack("<f", row[1])[0] for page in pages for row in page.rows}
    assert found == {str(number): float(number) for number in range(1, 1201)}


def test_long_vectors_make_short_pages(driven: DrivenQueue) -> None:
    driven.enqueue(*[driven.row()] * 20)
    for number in range(1, 21):
        store(driven, str(number), bytes(4 * 32_768))
    pages = execute_all(driven, ReadVectorsCommand(driven.key("meta"), fields=["v"]))
    assert [len(page.rows) for page in pages] == [8, 8, 4]
