"""The keys of some queues at one moment, as plain data, and the recordings made of glide-mq for Node 0.15.4.

A recording ("case") is a file in `fixtures/`: what the keys of a queue held after Node added its jobs, and
what they held after a Node worker had finished them. Keys are written as the server had them, with the
recorded queue names. Recorded with Node 20.20 and Valkey 9.1.2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent / "fixtures"

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class StreamGroup:
    """A consumer group, reduced to what both runtimes agree upon (consumer names and idle times differ)."""

    name: str
    last_delivered: str
    # (entry id, consumer, deliveries)
    pending: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True)
class KeyDump:
    """The content of one key. Exactly the members that its type needs are filled."""

    type: str
    text: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    items: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    entries: tuple[tuple[str, Mapping[str, str]], ...] = ()
    groups: tuple[StreamGroup, ...] = ()
    ttl_ms: int | None = None

    def to_json(self) -> JsonObject:
        body: JsonObject = {"type": self.type}
        if self.text is not None:
            body["text"] = self.text
        for member in ("fields", "scores"):
            if getattr(self, member):
                body[member] = dict(getattr(self, member))
        if self.items:
            body["items"] = list(self.items)
        if self.entries:
            body["entries"] = [[entry_id, dict(pairs)] for entry_id, pairs in self.entries]
        if self.groups:
            body["groups"] = [[g.name, g.last_delivered, [list(p) for p in g.pending]] for g in self.groups]
        if self.ttl_ms is not None:
            body["ttl_ms"] = self.ttl_ms
        return body

    @classmethod
    def from_json(cls, body: JsonObject) -> KeyDump:
        return cls(
            type=body["type"],
            text=body.get("text"),
            fields=body.get("fields", {}),
            items=tuple(body.get("items", ())),
            scores=body.get("scores", {}),
            entries=tuple((entry_id, pairs) for entry_id, pairs in body.get("entries", ())),
            groups=tuple(
                StreamGroup(name, last, tuple((e, c, n) for e, c, n in pending))
                for name, last, pending in body.get("groups", ())
            ),
            ttl_ms=body.get("ttl_ms"),
        )


Snapshot = dict[str, KeyDump]


@dataclass(frozen=True)
class Case:
    """One recording: its snapshots by moment, in the order in which they were taken."""

    name: str
    title: str
    queues: tuple[str, ...]
    snapshots: Mapping[str, Snapshot]

    @property
    def first(self) -> Snapshot:
        return next(iter(self.snapshots.values()))

    @property
    def last(self) -> Snapshot:
        return list(self.snapshots.values())[-1]

    def write(self, directory: Path) -> None:
        """Write the fixture with one key a line, so that a later recording can be compared line by line."""
        lines = [
            "{",
            f' "title": {json.dumps(self.title)},',
            f' "queues": {json.dumps(self.queues)},',
            ' "snapshots": {',
        ]
        for position, (moment, snapshot) in enumerate(self.snapshots.items(), 1):
            lines.append(f"  {json.dumps(moment)}: {{")
            rows = [
                f"   {json.dumps(key)}: {json.dumps(dump.to_json(), separators=(',', ':'))}"
                for key, dump in sorted(snapshot.items())
            ]
            lines.append(",\n".join(rows))
            lines.append("  }" if position == len(self.snapshots) else "  },")
        lines += [" }", "}", ""]
        (directory / f"{self.name}.json").write_text("\n".join(lines))


def case_names() -> list[str]:
    return sorted(path.stem for path in FIXTURES.glob("*.json"))


def load_case(name: str) -> Case:
    body = json.loads((FIXTURES / f"{name}.json").read_text())
    return Case(
        name=name,
        title=body["title"],
        queues=tuple(body["queues"]),
        snapshots={
            moment: {key: KeyDump.from_json(dump) for key, dump in keys.items()}
            for moment, keys in body["snapshots"].items()
        },
    )


def rename_queues(snapshot: Snapshot, names: Mapping[str, str], prefix: str) -> Snapshot:
    """The same snapshot for queues of other names: in keys, and wherever a value refers to a queue.

    References are either key prefixes such as `glide:{fc}:1`, or bare names in the few members holding one.
    """

    def text(value: str) -> str:
        for old, new in names.items():
            value = value.replace(f"glide:{{{old}}}", f"{prefix}:{{{new}}}")
            value = value.replace(f'"originalQueue":"{old}"', f'"originalQueue":"{new}"')
        return value

    def member(name: str, value: str) -> str:
        if name in ("parentQueue", "deadLetterQueueName"):
            return names.get(value, value)
        if name == "parentQueues":
            return json.dumps([names.get(queue, queue) for queue in json.loads(value)], separators=(",", ":"))
        return text(value)

    def pairs(fields: Mapping[str, str]) -> dict[str, str]:
        return {text(name): member(name, value) for name, value in fields.items()}

    renamed: Snapshot = {}
    for key, dump in snapshot.items():
        renamed[text(key)] = KeyDump(
            type=dump.type,
            text=dump.text if dump.text is None else text(dump.text),
            fields=pairs(dump.fields),
            items=tuple(map(text, dump.items)),
            scores={text(name): score for name, score in dump.scores.items()},
            entries=tuple((entry_id, pairs(fields)) for entry_id, fields in dump.entries),
            groups=dump.groups,
            ttl_ms=dump.ttl_ms,
        )
    return renamed
