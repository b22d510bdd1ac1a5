"""clear_outbox: carried letters go, others stay, and an empty outbox leaves no key behind."""

from __future__ import annotations

from glidemq.commands.clear_outbox import ClearOutboxCommand
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute


def post(driven: DrivenQueue) -> bytes:
    entry_id: bytes = driven.client.xadd(
        driven.key("x-py:outbox"), {"kind": "child", "to": "glide:{t}", "body": "x"}
    )
    return entry_id


def test_only_the_named_letters_go(driven: DrivenQueue) -> None:
    first, second = post(driven), post(driven)
    assert execute(driven, ClearOutboxCommand(driven.key("meta"), entry_ids=[first])) == 1
    assert execute(driven, ClearOutboxCommand(driven.key("meta"), entry_ids=[first])) == 1
    assert [entry for entry, _ in driven.client.xrange(driven.key("x-py:outbox"))] == [second]
    assert execute(driven, ClearOutboxCommand(driven.key("meta"), entry_ids=[second])) == 0
    assert not driven.client.exists(driven.key("x-py:outbox"))


def test_an_empty_list_clears_nothing(driven: DrivenQueue) -> None:
    post(driven)
    assert execute(driven, ClearOutboxCommand(driven.key("meta"), entry_ids=[])) == 1


def test_what_is_no_entry_is_refused(driven: DrivenQueue) -> None:
    entry = post(driven)
    status, fault = driven.call("clear_outbox", entries=[entry, b"*"])
    assert (status, fault) == (b"bad_argument", b"entry 2 must be the id of one")
    assert driven.client.xlen(driven.key("x-py:outbox")) == 1
