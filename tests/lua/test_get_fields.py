"""get_fields: one field of each job, in replies of bounded size."""

from __future__ import annotations

from glidemq.commands.get_fields import GetFieldsCommand
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute


def read(driven: DrivenQueue, *rows: tuple[str, str]) -> list[bytes | None]:
    return execute(driven, GetFieldsCommand(driven.key("meta"), rows=rows))


def test_absent_jobs_fields_and_hashes_are_none(driven: DrivenQueue) -> None:
    driven.hash("1", returnvalue="5")
    driven.client.set(driven.key("job:3"), "text")
    rows = [("1", "returnvalue"), ("1", "nothing"), ("2", "returnvalue"), ("3", "returnvalue"), ("1", "name")]
    assert read(driven, *rows) == [b"5", None, None, None, b"n"]
    assert read(driven) == []


def test_a_reply_stops_at_a_mebibyte_but_holds_one_value_whatever_its_size(driven: DrivenQueue) -> None:
    for job_id, size in (("1", 700_000), ("2", 700_000), ("3", 3_000_000)):
        driven.hash(job_id, returnvalue="x" * size)
    rows = [(job_id, "returnvalue") for job_id in "123"]
    assert [len(value or b"") for value in read(driven, *rows)] == [700_000]
    assert [len(value or b"") for value in read(driven, *rows[2:])] == [3_000_000]


def test_a_call_looks_at_a_thousand_jobs_at_most(driven: DrivenQueue) -> None:
    reply = driven.call("get_fields", rows=[["1", "name"]] * 1500)
    assert len(reply[1]) == 1000
    assert len(read(driven, *[("1", "name")] * 1500)) == 1000
