"""list_usage_queues: every queue that was noted, in pages."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import unpack
from glidemq.commands.keys import usage_queues_key
from glidemq.commands.list_usage_queues import ListUsageQueuesCommand


def listed(raw: Any, key: str) -> tuple[set[str], int]:
    """The names, and in how many pages they came."""
    names: set[str] = set()
    pages = 0
    command: ListUsageQueuesCommand | None = ListUsageQueuesCommand(key)
    while command is not None:
        page = command.parse_reply(unpack(raw.fcall_ro("gmq_list_usage_queues", 1, key, command.arguments())))
        names.update(page.queues)
        pages += 1
        command = page.following
    return names, pages


def test_all_queues_come_in_several_pages(library: None, raw: Any, queue_name: str) -> None:
    key = usage_queues_key(f"prefix-{queue_name}")
    names = {f"queue-{number}" for number in range(2000)}
    raw.sadd(key, *names)
    found, pages = listed(raw, key)
    assert found == names
    assert pages > 1


def test_prefix_without_usage_has_no_queues(library: None, raw: Any, queue_name: str) -> None:
    assert listed(raw, usage_queues_key(f"prefix-{queue_name}")) == (set(), 1)
