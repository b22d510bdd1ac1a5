"""Which management functions may run on a replica, and which on a server that is out of memory."""

from __future__ import annotations

from typing import Any

import pytest
import valkey

from glidemq.commands.command import pack, unpack
from glidemq_lua import library_source
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue
from tests.testkit.server import ValkeyServer

Arguments = dict[str, Any]

RANGE: Arguments = {"start": 0, "end": -1}
READING: dict[str, Arguments] = {
    "get_job": {"id": "1"},
    "get_jobs": {"state": "waiting", **RANGE},
    "search_jobs": {"name": "n"},
    "get_counts": {},
    "get_logs": {"id": "1", **RANGE},
    "is_paused": {},
    "get_settings": {},
    "get_metrics": {"kind": "completed"},
    "get_workers": {},
    "get_usage_buckets": {"first": 0, "last": 0},
    "read_stream": {"id": "1", "last_id": "0-0", "count": 10},
    "get_flow_usage": {"rows": [["1", "0"]]},
    "get_children": {"id": "1", "cursor": "0"},
    "get_fields": {"rows": []},
    "get_revocations": {"since_ms": 0},
    "read_outbox": {"limit": 10, "after": "", "min_age_ms": 0},
}
WRITING: dict[str, Arguments] = {
    "pause": {},
    "resume": {},
    "update_progress": {"id": "1", "progress": "1", "events": True},
    "report_usage": {"id": "1", "usage": {}, "tokens": {}, "costs": {}, "events": True},
    "register_worker": {"consumer": "w", "info_json": "{}", "ttl_ms": 1000},
    "leave": {"consumer": "w", "cell": "w"},
    "set_global_concurrency": {"concurrency": 5},
    "set_global_rate_limit": {"max": 5, "duration_ms": 1000},
    "move_to_delayed": {"rows": []},
    "rate_limit_group": {"rows": []},
    "rate_limit_group_external": {"group_key": "k", "duration_ms": 1000, "extend": "max"},
    "promote_job": {"id": "1"},
    "move_to_waiting_children": {"rows": []},
    "check_parents": {"limit": 10},
    "tell_again": {"rows": []},
    "hear_children": {"rows": []},
    "clear_outbox": {"entries": []},
    "hear_budgets": {"rows": []},
    "answer_budgets": {"rows": []},
    "revoke": {"id": "1"},
    "report_tokens": {"id": "1", "tokens": 5},
    "lease_tokens": {
        "max": 10,
        "duration_ms": 1000,
        "least": 1,
        "batch": 1,
        "most": 1,
        "held": 0,
        "window": 0,
        "overrun": 0,
    },
    "observe_limit": {"requests": 1, "reset_ms": 1000},
    "look_at_limit": {"requests": [1, 0, 0], "tokens": [1, 0, 0]},
    "subscribe": {"consumer": "w", "subscription": "s", "start_from": "$", "info_json": "{}", "ttl_ms": 1000},
    "unsubscribe": {"consumer": "w", "subscription": "s", "left": []},
    "take_deliveries": {
        "consumer": "w",
        "subscription": "s",
        "run": "r",
        "claimed": [],
        "skipped": [],
        "in_hand": [],
        "stale_ms": 0,
        "max_stalled": 1,
        "limit": 1,
    },
    "finish_deliveries": {"subscription": "s", "completed": [], "failed": []},
    "extend_deliveries": {"consumer": "w", "subscription": "s", "rows": []},
    "trim_broadcast": {"max_messages": 5},
    "clean": {"state": "failed", "grace_ms": 1000, "limit": 10},
    "drain": {"delayed": True},
    "remove": {"id": "1"},
    "obliterate": {"force": True, "limit": 10},
}
GROWING: dict[str, Arguments] = {
    "register_child": {"parents": [], "member": "glide:{x}:1"},
    "reserve_ids": {"count": 1, "custom": []},
    "add_flow": {"jobs": []},
    "add_log": {"id": "1", "line": "x"},
    "update_data": {"id": "1", "data": "{}"},
    "stream_append": {
        "lane": "l",
        "call": 1,
        "era": 0,
        "chunks": ["1", False, [2, 1, False, False], "t", "x"],
    },
    "change_priority": {"id": "1", "priority": 5},
    "change_delay": {"id": "1", "delay_ms": 5},
    "retry_job": {"id": "1"},
    "retry_jobs": {"count": False},
    "update_budget": {"flow": "1", "set": [], "unset": [], "limit": 1},
}
DONE = (b"ok", b"more", b"done", b"revoked", b"not_delayed")


@pytest.mark.parametrize("function", READING)
def test_reading_functions_can_be_called_read_only(library: None, queue: RawQueue, function: str) -> None:
    queue.add_waiting("1")
    arguments = pack({"v": 1, **READING[function]})
    assert unpack(queue.client.fcall_ro(f"gmq_{function}", 1, queue.key("meta"), arguments))[0] == b"ok"


@pytest.mark.parametrize("function", [*WRITING, *GROWING])
def test_writing_functions_cannot(library: None, queue: RawQueue, function: str) -> None:
    arguments = pack({"v": 1, **(WRITING | GROWING)[function]})
    with pytest.raises(valkey.ResponseError, match="write flag"):
        queue.client.fcall_ro(f"gmq_{function}", 1, queue.key("meta"), arguments)


def test_a_full_server_can_be_looked_at_and_emptied_but_not_filled(own_server: ValkeyServer) -> None:
    client = own_server.client()
    client.function_load(library_source())
    queue = RawQueue(client, "full")
    queue.add_waiting("1")
    queue.client.rpush(queue.key("log:1"), "line")
    client.config_set("maxmemory", 1)

    def call(function: str, arguments: Arguments) -> list[Any]:
        packed = pack({"v": 1, **arguments})
        reply: list[Any] = unpack(queue.client.fcall(f"gmq_{function}", 1, queue.key("meta"), packed))
        return reply

    for function, arguments in GROWING.items():
        with pytest.raises(valkey.exceptions.OutOfMemoryError):
            call(function, arguments)
    for function, arguments in (READING | WRITING).items():
        assert call(function, arguments)[0] in DONE, function


def test_a_newer_client_is_told_that_the_library_is_outdated(call: Call, queue: RawQueue) -> None:
    reply = call("get_counts", queue.name, v=1_000_000)
    assert reply[0] == b"library_outdated"
