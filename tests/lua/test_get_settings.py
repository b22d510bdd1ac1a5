"""get_settings: what is set for the queue as a whole, by whichever library."""

from __future__ import annotations

from glidemq.commands.get_settings import GetSettingsCommand, StoredSettings
from glidemq.commands.rate_limit import RateLimitOnWire
from tests.interop.loader import load_dump
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute
from tests.lua.raw_queue import RawQueue


def test_settings_of_node_are_read(call: Call, queue: RawQueue) -> None:
    load_dump(queue.client, "queue_limits_pause", queue.name)
    queue.client.hset(queue.key("meta"), "deadLetterQueueName", "dead")
    found = GetSettingsCommand("k").parse_reply(call("get_settings", queue.name))
    assert found == StoredSettings(True, 3, RateLimitOnWire(5, 1000), "dead")


def test_a_queue_without_settings_has_none(driven: DrivenQueue) -> None:
    nothing = StoredSettings(False, None, None, None)
    assert execute(driven, GetSettingsCommand("k")) == nothing
    driven.client.hset(
        driven.key("meta"),
        mapping={"paused": "0", "globalConcurrency": "0", "rateLimitMax": "5", "deadLetterQueueName": ""},
    )
    assert execute(driven, GetSettingsCommand("k")) == nothing


def test_settings_are_read_as_they_were_set(driven: DrivenQueue) -> None:
    driven.call("pause")
    driven.call("set_global_concurrency", concurrency=7)
    driven.call("set_global_rate_limit", max=10, duration_ms=60_000)
    found = execute(driven, GetSettingsCommand("k"))
    assert found == StoredSettings(True, 7, RateLimitOnWire(10, 60_000), None)
