"""note_usage_queue: a queue is remembered under the key that the call declares."""

from __future__ import annotations

from typing import Any

from glidemq.commands.command import unpack
from glidemq.commands.keys import usage_queues_key
from glidemq.commands.note_usage_queue import NoteUsageQueueCommand


def test_queue_is_remembered_once(library: None, raw: Any, queue_name: str) -> None:
    key = usage_queues_key(f"prefix-{queue_name}")
    command = NoteUsageQueueCommand(key, queue="one")
    for _ in range(2):
        command.parse_reply(unpack(raw.fcall("gmq_note_usage_queue", 1, key, command.arguments())))
    assert set(raw.smembers(f"prefix-{queue_name}:usage:queues")) == {b"one"}
