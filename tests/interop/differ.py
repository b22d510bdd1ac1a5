"""Compare what stands on a server with a recording of glide-mq.

Never compared: ids of stream entries, consumer names, idle times, how far a consumer group has read, and the
remaining life of a key. Times are compared exactly when the test injects the recorded ones, else only for
presence.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import valkey

from tests.interop.snapshot import KeyDump, Snapshot, StreamGroup

Times = Literal["exact", "ignored"]

SHIFT = 1 << 42  # priority class = score // SHIFT, due time = score % SHIFT
_TIME_FIELDS = frozenset(
    {"timestamp", "processedOn", "lastActive", "finishedOn", "expireAt", "suspendedAt"}
    | {"usage:bucketTs", "rateWindowStart", "tbLastRefill", "windowStart"}
)
_TIME_ZSETS = ("completed", "failed", "suspended", "ratelimited")
_METRIC = re.compile(r"^m:(\d+):([cd])$")
_TIME_IN_JSON = re.compile(r"\"(receivedAt|nextRun|lastRun|startedAt)\":\d{13}")
_CONSUMER_KEY = re.compile(r":w:[^:]+$")


@dataclass(frozen=True)
class Allowed:
    """A difference that is meant: a pattern over difference paths, and why it is there."""

    path: str
    reason: str

    def covers(self, difference: Difference) -> bool:
        return fnmatch.fnmatchcase(difference.path, self.path)


@dataclass(frozen=True)
class Difference:
    """One thing that is not as recorded; its path is `<key suffix>` or `<key suffix>/<field or member>`."""

    path: str
    expected: Any
    actual: Any

    def __str__(self) -> str:
        return f"{self.path}: recorded {self.expected!r}, found {self.actual!r}"


def read_keys(client: valkey.Valkey, queues: Iterable[str], prefix: str = "glide") -> Snapshot:
    """Everything that the server holds for these queues."""
    found: Snapshot = {}
    for queue in queues:
        pattern = f"{prefix}:{{{queue}}}:*"
        for raw_key in client.scan_iter(match=pattern, count=1000):
            key = raw_key.decode()
            found[key] = _read(client, key)
    return found


def differences(
    expected: Snapshot,
    actual: Snapshot,
    *,
    times: Times = "exact",
    allowed: Sequence[Allowed] = (),
) -> list[Difference]:
    """All differences that no row of `allowed` covers, by path."""
    several_queues = len({_queue_of(key) for key in (*expected, *actual)}) > 1
    wanted, found = _parts(expected, times, several_queues), _parts(actual, times, several_queues)
    all_paths = sorted(wanted.keys() | found.keys())
    unequal = (Difference(path, wanted.get(path), found.get(path)) for path in all_paths)
    return [
        difference
        for difference in unequal
        if difference.expected != difference.actual and not any(row.covers(difference) for row in allowed)
    ]


def assert_same(
    expected: Snapshot,
    actual: Snapshot,
    *,
    times: Times = "exact",
    allowed: Sequence[Allowed] = (),
) -> None:
    """Fail with one line for each difference that is not allowed."""
    unexplained = differences(expected, actual, times=times, allowed=allowed)
    assert not unexplained, "not as glide-mq leaves it:\n" + "\n".join(map(str, unexplained))


def _parts(snapshot: Snapshot, times: Times, several_queues: bool) -> dict[str, Any]:
    """Path -> comparable value, one path for each key and one for each of its members.

    With several queues a path starts with the queue's prefix; a pattern beginning with `*` covers both forms.
    """
    parts: dict[str, Any] = {}
    for key, dump in snapshot.items():
        suffix = key.partition("}:")[2]
        name = _CONSUMER_KEY.sub(":w:<consumer>", key if several_queues else f":{suffix}").lstrip(":")
        parts[name] = dump.type
        parts.update({f"{name}/{member}": value for member, value in _members(suffix, dump, times)})
    return parts


def _queue_of(key: str) -> str:
    return key.partition("}:")[0]


def _members(suffix: str, dump: KeyDump, times: Times) -> Iterable[tuple[str, Any]]:
    if dump.type == "hash":
        yield from _hash_members(suffix, dump.fields, times)
    elif dump.type == "zset":
        yield from ((member, _score(suffix, score, times)) for member, score in dump.scores.items())
    elif dump.type == "string":
        yield "text", _text(suffix, dump.text or "", times)
    elif dump.type == "stream":
        yield "entries", [_fields(pairs, times) for _, pairs in dump.entries]
        yield from ((f"group {group.name}", len(group.pending)) for group in dump.groups)
    else:
        items = list(dump.items) if dump.type == "list" else sorted(dump.items)
        yield "items", [_value("", item, times) for item in items]


def _hash_members(suffix: str, fields: Mapping[str, str], times: Times) -> Iterable[tuple[str, Any]]:
    if not suffix.startswith("metrics:") or times == "exact":
        yield from _fields(fields, times).items()
        return
    # Without injected times only the number of finished jobs is certain.
    counts = [int(value) for name, value in fields.items() if (m := _METRIC.match(name)) and m[2] == "c"]
    yield "count", sum(counts)


def _fields(fields: Mapping[str, str], times: Times) -> dict[str, str]:
    return {name: _value(name, value, times) for name, value in fields.items()}


def _value(name: str, value: str, times: Times) -> str:
    if times == "exact":
        return value
    if name in _TIME_FIELDS and value:
        return "<time>"
    return _TIME_IN_JSON.sub(r'"\1":"<time>"', value)


def _score(suffix: str, score: float, times: Times) -> tuple[int, float | str]:
    priority, due_ms = divmod(int(score), SHIFT)
    if times == "exact" or not due_ms:
        return priority, due_ms
    return priority, "<time>" if suffix in (*_TIME_ZSETS, "scheduled") else due_ms


def _text(suffix: str, text: str, times: Times) -> Any:
    if suffix.startswith("w:"):
        return sorted(json.loads(text))
    return _value("", text, times)


def _read(client: Any, key: str) -> KeyDump:
    kind = client.type(key).decode()
    ttl_ms = client.pttl(key)
    ttl_ms = ttl_ms if ttl_ms >= 0 else None
    if kind == "string":
        return KeyDump(kind, text=client.get(key).decode(errors="replace"), ttl_ms=ttl_ms)
    if kind == "hash":
        return KeyDump(kind, fields=_decoded(client.hgetall(key)), ttl_ms=ttl_ms)
    if kind == "list":
        return KeyDump(kind, items=tuple(item.decode() for item in client.lrange(key, 0, -1)), ttl_ms=ttl_ms)
    if kind == "set":
        return KeyDump(
            kind, items=tuple(sorted(item.decode() for item in client.smembers(key))), ttl_ms=ttl_ms
        )
    if kind == "zset":
        scores = {member.decode(): score for member, score in client.zrange(key, 0, -1, withscores=True)}
        return KeyDump(kind, scores=scores, ttl_ms=ttl_ms)
    entries = tuple((entry_id.decode(), _decoded(pairs)) for entry_id, pairs in client.xrange(key))
    return KeyDump(kind, entries=entries, groups=tuple(_groups(client, key)), ttl_ms=ttl_ms)


def _groups(client: Any, key: str) -> Iterable[StreamGroup]:
    for about in client.xinfo_groups(key):
        name = about["name"].decode()
        rows = client.xpending_range(key, name, "-", "+", 1000) if about["pending"] else []
        pending = tuple(
            (r["message_id"].decode(), r["consumer"].decode(), r["times_delivered"]) for r in rows
        )
        yield StreamGroup(name, about["last-delivered-id"].decode(), pending)


def _decoded(pairs: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in pairs.items()}
