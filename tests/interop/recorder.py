"""Read the text of a key recording and write it as the fixtures of this directory.

    python -m tests.interop.recorder recording.txt tests/interop/fixtures

The text is what a Node script printed while glide-mq ran. A case starts with its title between two rules,
a snapshot with `--- <moment>`, a key with `<key>  [<type>] [pttl=<ms>]`; below it, indented, stand its
members as JSON literals. Lines about the commands that the server counted are skipped.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.interop.snapshot import Case, KeyDump, Snapshot, StreamGroup

# What a title starts with -> the name of its fixture.
NAMES = {
    "1.": "plain",
    "2.": "retry_progress_log",
    "3.": "custom_id_ttl_timeout",
    "4.": "remove_on_complete",
    "5.": "delayed",
    "6.": "priority",
    "7.": "lifo",
    "8.": "ordering_concurrency_1",
    "9.": "ordering_concurrency_2",
    "10.": "group_rate_limit_token_bucket",
    "11.": "deduplication",
    "12.": "gzip",
    "13.": "dead_letter_queue",
    "14.": "suspend_signal",
    "15.": "usage_token_limiter",
    "16.": "job_stream",
    "17.": "fallbacks_lock_duration",
    "18.": "queue_limits_pause",
    "flow with 2 children": "flow",
    "flow with budget": "flow_budget",
    "DAG": "dag",
    "schedulers": "schedulers",
    "broadcast": "broadcast",
    "revoked job": "revoked",
}
_RULE = re.compile(r"^=+$")
_KEY = re.compile(r"^(\S+)  \[(\w+)\](?: pttl=(\d+))?$")
_QUEUE = re.compile(r"^glide:\{([^}]*)\}")
_HASH_FIELD = re.compile(r"^(.+?) = (\".*\")$")
_ZSET_MEMBER = re.compile(r"^(\".*\") score (\S+)$")
_STREAM_ENTRY = re.compile(r"^(\d+-\d+) (\[.*\])$")


def parse_recording(text: str) -> dict[str, Case]:
    """All cases of a recording by fixture name. Raises ValueError on a line that it does not understand."""
    return {case.name: case for title, lines in _sections(text) if (case := _case(title, lines)) is not None}


def _sections(text: str) -> Iterator[tuple[str, list[str]]]:
    title: str | None = None
    lines: list[str] = []
    for line in text.splitlines():
        if _RULE.match(line):
            continue
        if line.startswith("== "):
            if title is not None:
                yield title, lines
            title, lines = line[3:].strip(), []
        elif title is not None:
            lines.append(line)
    if title is not None:
        yield title, lines


def _case(title: str, lines: list[str]) -> Case | None:
    name = next((name for start, name in NAMES.items() if title.startswith(start)), None)
    if name is None:
        return None
    moments: dict[str, dict[str, _KeyLines]] = {}
    keys: dict[str, _KeyLines] | None = None
    current: _KeyLines | None = None
    for line in lines:
        if line.startswith("--- "):
            keys = moments.setdefault(_moment(line[4:]), {})
            current = None
        elif keys is not None and (match := _KEY.match(line)):
            key, kind, ttl = match.groups()
            # Two snapshots taken at once print every line twice: the second header continues the first.
            current = keys.setdefault(key, _KeyLines(kind, int(ttl) if ttl else None))
        elif line.startswith("    ") and current is not None:
            current.add(line.strip())
        else:
            current = None
    snapshots: dict[str, Snapshot] = {
        moment: {key: lines_of_key.dump() for key, lines_of_key in found.items()}
        for moment, found in moments.items()
        if found
    }
    queues = sorted(
        {match[1] for found in snapshots.values() for key in found if (match := _QUEUE.match(key))}
    )
    return Case(name, re.sub(r"\s*\(queue.*", "", title), tuple(queues), snapshots)


def _moment(words: str) -> str:
    return re.sub(r"\W+", "_", re.sub(r"\(.*\)", "", words)).strip("_")


class _KeyLines:
    """Collects the printed members of one key; a member printed twice counts once, except in a list."""

    def __init__(self, kind: str, ttl_ms: int | None) -> None:
        self.kind = kind
        self.ttl_ms = ttl_ms
        self.text: str | None = None
        self.fields: dict[str, str] = {}
        self.items: list[str] = []
        self.scores: dict[str, float] = {}
        self.entries: dict[str, dict[str, str]] = {}
        self.groups: dict[str, StreamGroup] = {}

    def add(self, line: str) -> None:
        if self.kind == "string":
            self.text = json.loads(line)
        elif self.kind in ("list", "set"):
            self.items.append(json.loads(line))
        elif self.kind == "hash" and (match := _HASH_FIELD.match(line)):
            self.fields[match[1]] = json.loads(match[2])
        elif self.kind == "zset" and (match := _ZSET_MEMBER.match(line)):
            self.scores[json.loads(match[1])] = float(match[2])
        elif self.kind == "stream":
            self._add_stream_line(line)
        else:
            raise ValueError(f"not a {self.kind} member: {line!r}")

    def _add_stream_line(self, line: str) -> None:
        if match := _STREAM_ENTRY.match(line):
            self.entries[match[1]] = _pairs(json.loads(match[2]))
            return
        word, _, literal = line.partition(" ")
        values = json.loads(literal)
        if word == "group":
            about = _pairs(values)
            self.groups[about["name"]] = StreamGroup(about["name"], about["last-delivered-id"])
        elif word == "pending":
            entry_id, consumer, _idle_ms, deliveries = values
            last = next(reversed(self.groups.values()))
            pending = (*last.pending, (entry_id, consumer, deliveries))
            self.groups[last.name] = StreamGroup(last.name, last.last_delivered, pending)
        elif word != "consumer":
            raise ValueError(f"not a stream member: {line!r}")

    def dump(self) -> KeyDump:
        items = self.items if self.kind == "list" else sorted(set(self.items))
        return KeyDump(
            self.kind,
            self.text,
            self.fields,
            tuple(items),
            self.scores,
            tuple(self.entries.items()),
            tuple(self.groups.values()),
            self.ttl_ms,
        )


def _pairs(flat: list[Any]) -> dict[str, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


if __name__ == "__main__":
    recording, directory = map(Path, sys.argv[1:])
    for recorded in parse_recording(recording.read_text()).values():
        recorded.write(directory)
