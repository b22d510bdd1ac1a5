"""The names of a queue's keys on the server (wire format, section 2)."""

from __future__ import annotations

from typing import Final

DEFAULT_PREFIX: Final = "glide"


def limit_meta_key(prefix: str, limit_key: str) -> str:
    """KEYS[1] of the commands that concern a limit key: a slot of its own, and never a queue's, for the colon."""
    return f"{prefix}:x-py:{{limit:{limit_key}}}:meta"


class QueueKeys:
    """All keys of one queue. They share the hash tag `{<queue>}`, hence one cluster slot.

    Names starting with `x-py:` belong to glidemq for Python; all others are shared with glide-mq for Node.
    """

    __slots__ = ("base", "prefix", "queue")

    def __init__(self, prefix: str, queue: str) -> None:
        self.prefix = prefix
        self.queue = queue
        self.base = f"{prefix}:{{{queue}}}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QueueKeys) and self.base == other.base

    def __hash__(self) -> int:
        return hash(self.base)

    def __repr__(self) -> str:
        return f"QueueKeys({self.prefix!r}, {self.queue!r})"

    @property
    def meta(self) -> str:
        """The queue's settings; also KEYS[1] of every call."""
        return f"{self.base}:meta"

    @property
    def id(self) -> str:
        """The counter of automatic job ids."""
        return f"{self.base}:id"

    @property
    def stream(self) -> str:
        """Ready jobs in order, and those in hand (pending entries of the group `workers`)."""
        return f"{self.base}:stream"

    @property
    def bell(self) -> str:
        """The doorbell: a stream read together with `stream` by a blocked reader."""
        return f"{self.base}:x-py:bell"

    @property
    def events(self) -> str:
        """The event log, about a thousand entries."""
        return f"{self.base}:events"

    @property
    def scheduled(self) -> str:
        """Delayed and prioritized jobs, and retries."""
        return f"{self.base}:scheduled"

    @property
    def priority(self) -> str:
        """Promoted jobs of a priority above 0."""
        return f"{self.base}:priority"

    @property
    def lifo(self) -> str:
        """Last-in-first-out jobs."""
        return f"{self.base}:lifo"

    @property
    def list_active(self) -> str:
        """The number of jobs in hand that came from the two lists."""
        return f"{self.base}:list-active"

    @property
    def completed(self) -> str:
        """Completed job ids by finish time."""
        return f"{self.base}:completed"

    @property
    def failed(self) -> str:
        """Failed job ids by finish time."""
        return f"{self.base}:failed"

    def metrics(self, kind: str) -> str:
        """Per-minute counters; kind is `completed` or `failed`."""
        return f"{self.base}:metrics:{kind}"

    def job(self, job_id: str) -> str:
        """One job's hash."""
        return f"{self.base}:job:{job_id}"

    def log(self, job_id: str) -> str:
        """One job's log lines."""
        return f"{self.base}:log:{job_id}"

    def jstream(self, job_id: str) -> str:
        """One job's output chunks."""
        return f"{self.base}:jstream:{job_id}"

    def deps(self, job_id: str) -> str:
        """The children of a parent job."""
        return f"{self.base}:deps:{job_id}"

    def parents(self, job_id: str) -> str:
        """The additional parents of a child job."""
        return f"{self.base}:parents:{job_id}"

    def worker(self, consumer: str) -> str:
        """One worker's registry entry."""
        return f"{self.base}:w:{consumer}"

    def list_active_of(self, cell: str) -> str:
        """The list-sourced jobs in a cell's hands, by the time of their last heartbeat."""
        return f"{self.base}:x-py:active:{cell}"

    def budget(self, flow_id: str) -> str:
        """What the jobs of a flow may use, by the id of its root, which is in this queue."""
        return f"{self.base}:budget:{flow_id}"

    def usage(self, minute_ms: int) -> str:
        """What the queue's jobs have used, by the minute of their reports."""
        return f"{self.base}:usage:{minute_ms}"


def usage_queues_key(prefix: str) -> str:
    """The names of all queues of a prefix in which usage was ever reported; in no queue's slot."""
    return f"{prefix}:usage:queues"
