"""Put a recording of glide-mq on a server with plain commands, under queue names of the test's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import valkey

from tests.interop.snapshot import Case, KeyDump, Snapshot, load_case, rename_queues


@dataclass(frozen=True)
class LoadedCase:
    """A case and the names under which its queues stand on the server."""

    case: Case
    prefix: str
    queues: Mapping[str, str]

    def key(self, suffix: str, queue: str | None = None) -> str:
        """The full key of one of the loaded queues, by default of the only one."""
        recorded = queue if queue is not None else self.case.queues[0]
        return f"{self.prefix}:{{{self.queues[recorded]}}}:{suffix}"

    def expected(self, moment: str) -> Snapshot:
        """A recorded snapshot as it should look under the loaded names."""
        return rename_queues(self.case.snapshots[moment], self.queues, self.prefix)


def name_queues(case: Case, queue: str) -> dict[str, str]:
    """Recorded queue name -> name to use: `queue` for a case of one queue, else `queue.<recorded name>`."""
    if len(case.queues) == 1:
        return {case.queues[0]: queue}
    return {recorded: f"{queue}.{recorded}" for recorded in case.queues}


def load_dump(
    client: valkey.Valkey,
    case_name: str,
    queue: str,
    *,
    moment: str = "after_add",
    prefix: str = "glide",
) -> LoadedCase:
    """Recreate one moment of a recording. Consumer groups exist only where the recording has them."""
    case = load_case(case_name)
    loaded = LoadedCase(case, prefix, name_queues(case, queue))
    for key, dump in loaded.expected(moment).items():
        _write(client, key, dump)
    return loaded


def _write(client: Any, key: str, dump: KeyDump) -> None:
    if dump.type == "string":
        client.set(key, dump.text)
    elif dump.type == "hash":
        client.hset(key, mapping=dict(dump.fields))
    elif dump.type == "list":
        client.rpush(key, *dump.items)
    elif dump.type == "set":
        client.sadd(key, *dump.items)
    elif dump.type == "zset":
        client.zadd(key, dict(dump.scores))
    else:
        _write_stream(client, key, dump)
    if dump.ttl_ms is not None:
        client.pexpire(key, dump.ttl_ms)


def _write_stream(client: Any, key: str, dump: KeyDump) -> None:
    for entry_id, fields in dump.entries:
        client.xadd(key, dict(fields), id=entry_id)
    for group in dump.groups:
        client.xgroup_create(key, group.name, id=group.last_delivered, mkstream=True)
        for entry_id, consumer, deliveries in group.pending:
            client.xclaim(
                key, group.name, consumer, 0, [entry_id], retrycount=deliveries, force=True, justid=True
            )
