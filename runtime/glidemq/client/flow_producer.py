"""Adding flows: jobs that wait for other jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeAlias, TypeVar

from glidemq.client.connecting import choose_connection, whereabouts
from glidemq.client.flow_jobs import (
    DagNode,
    FlowJob,
    FlowPreparation,
    PlannedJob,
    in_order_of_adds,
    in_order_of_ids,
    share_budget,
)
from glidemq.client.flow_reader import FlowReader, StoredJob
from glidemq.client.flow_writer import FlowWriter
from glidemq.commands.keys import DEFAULT_PREFIX, QueueKeys
from glidemq.config import ConnectionOptions
from glidemq.connection import Connection
from glidemq.errors import ClosedError, ValidationError
from glidemq.job import Job
from glidemq.options import Budget, check_job_id, check_prefix, check_queue_name
from glidemq.options.budget import budget_to_wire
from glidemq.payload import Payload
from glidemq.payload.compression import CompressionName, check_compression
from glidemq.serializer import JSON_SERIALIZER, Serializer

R = TypeVar("R")

DUPLICATE_IN_FLOW = "Duplicate job ID in flow"
DUPLICATE_IN_DAG = "Duplicate job ID in DAG"


GivenBudget: TypeAlias = Budget | Mapping[str, Any]


class JobNode(NamedTuple):
    """A job of a tree that was added, and its children, in the order in which they were given."""

    job: Job[Any, Any]
    children: list[JobNode]


class FlowProducer:
    """Adds trees and graphs of jobs, over any number of queues.

    A parent is parked in state "waiting-children", where it holds no slot of any worker, until all its children have
    ended; each child's `on_failure` says what its failure means. Constructing one does no I/O. `async with` closes it.

    connection, client, prefix, serializer, compression: as for `Queue`; a borrowed client is never closed. The
    serializer is that of all queues involved, and the compression is for the data of all jobs, children included.

    Raises ValidationError and ConfigurationError as `Queue` does. Source: features page, section 22.
    """

    def __init__(
        self,
        *,
        connection: str | ConnectionOptions | None = None,
        client: Connection | None = None,
        prefix: str = DEFAULT_PREFIX,
        serializer: Serializer = JSON_SERIALIZER,
        compression: CompressionName | None = None,
    ) -> None:
        self._payload = Payload(serializer)
        self._prefix = check_prefix(prefix)
        self._preparation = FlowPreparation(self._payload, self._prefix, check_compression(compression))
        self._connection, self._owned = choose_connection(connection, client)
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        closed = "" if self._closing is None else ", closed"
        return f"<FlowProducer{whereabouts(self._connection)}{closed}>"

    async def close(self) -> None:
        """Refuse further calls, let flows under way be added, close the connection unless it is borrowed.

        May be called twice.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="glidemq-close-flow-producer")
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way)
        if self._owned is not None:
            await self._owned.close()

    # -- adding ------------------------------------------------------------------------------------------

    async def add(
        self, flow: FlowJob, *, budget: GivenBudget | None = None, priority: int | None = None
    ) -> JobNode:
        """Add a tree of jobs: each runs once its children have ended, the root last.

        In one queue, up to 500 jobs and 1 MiB, all jobs are added or none. Larger trees and those over several queues
        are written parents first, and removed again if that fails half-way. Should this process die half-way, no parent
        runs too early; one whose children never came fails after some minutes.

        budget: what the tree's jobs may use together; children that they add later count as well. Its id is the root's,
        see `Queue.get_flow_budget`.
        priority: of all jobs of the tree that state none in their `opts`, 1 (most urgent) to 2048. Children that they
        add later have their own: `priority=job.priority` passes it on.

        Raises, before anything is sent: ValidationError, SerializationError, ClosedError. Afterwards, nothing being
        left: ValidationError "Duplicate job ID in flow", and what `Queue.add` raises.
        """
        [node] = await self.add_bulk([flow], budget=budget, priority=priority)
        return node

    async def add_bulk(
        self,
        flows: Iterable[FlowJob],
        *,
        budget: GivenBudget | Sequence[GivenBudget | None] | None = None,
        priority: int | None = None,
    ) -> list[JobNode]:
        """Add several trees as `add` does one, in as few calls; all of them or none, within the same bounds.

        budget: one for each tree, each with its own account: a `Budget` that all get, or as many as there are trees.
        priority: of the jobs of all trees, as in `add`.
        """
        self._check_open()
        roots = [self._preparation.tree(flow, priority) for flow in flows]
        for root, limits in zip(roots, _budgets(budget, len(roots)), strict=True):
            if limits is not None:
                share_budget(root, in_order_of_ids(root), limits)
        if not roots:
            return []
        by_id = [job for root in roots for job in in_order_of_ids(root)]
        by_add = [job for root in roots for job in in_order_of_adds(root)]
        await self._write(by_id, by_add, DUPLICATE_IN_FLOW)
        return [self._node(root) for root in roots]

    async def add_dag(
        self, nodes: Iterable[DagNode], *, budget: GivenBudget | None = None, priority: int | None = None
    ) -> dict[str, Job[Any, Any]]:
        """Add a graph of jobs: each runs once those named in its `deps` have ended; several may wait for the same one.

        Returns the jobs by their names. Written like a tree, and within the same bounds all or none.

        budget: what all these jobs may use together. It stands with a job that none waits for: `job.budget_key` ends in
        that one's id.
        priority: of all jobs of the graph that state none, as in `add`.

        Raises, before anything is sent: ValidationError "Duplicate node name: …" and 'Node "…" depends on unknown node
        "…"', CycleError, and as `add`. Afterwards: ValidationError "Duplicate job ID in DAG", and as `add`.
        """
        self._check_open()
        jobs = self._preparation.graph(list(nodes), priority)
        [limits] = _budgets(budget, 1)
        if limits is not None and jobs:
            share_budget(jobs[0], jobs, limits)
        if jobs:
            await self._write(jobs, jobs, DUPLICATE_IN_DAG)
        return {job.name: self._job(job) for job in jobs}

    # -- reading -----------------------------------------------------------------------------------------

    async def get_flow(
        self, queue_name: str, job_id: str, *, depth: int = 10, max_jobs: int = 1000
    ) -> JobNode | None:
        """A job and those that it waits for, down to `depth` levels and `max_jobs` jobs; None if there is no such job.

        Works for flows of either library, at any time; children that were removed are left out. A job of a graph that
        several others wait for stands below each of them.

        Raises ValidationError, ConnectionError and ClosedError.
        """
        self._check_open()
        for name, value, least in (("depth", depth, 0), ("max_jobs", max_jobs, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < least:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ValidationError(f"{name} must be a whole number from {least} on, not {value!r:.40}")
        queue = QueueKeys(self._prefix, check_queue_name(queue_name))
        reader = FlowReader(self._connection, self._prefix, depth=depth, max_jobs=max_jobs)
        root = await reader.read(queue, check_job_id(job_id))
        return None if root is None else self._stored_node(root)

    def _stored_node(self, root: StoredJob) -> JobNode:
        nodes: dict[int, JobNode] = {}
        stack = [root]
        while stack:
            stored = stack.pop()
            if id(stored) not in nodes:
                job = Job[Any, Any].from_hash(
                    stored.fields,
                    queue_key=stored.keys.meta,
                    connection=self._connection,
                    payload=self._payload,
                )
                nodes[id(stored)] = JobNode(job, [])
                stack += stored.children
        linked: set[int] = set()
        stack = [root]
        while stack:
            stored = stack.pop()
            if id(stored) not in linked:
                linked.add(id(stored))
                nodes[id(stored)].children.extend(nodes[id(child)] for child in stored.children)
                stack += stored.children
        return nodes[id(root)]

    # ----------------------------------------------------------------------------------------------------

    async def _write(self, by_id: Sequence[PlannedJob], by_add: Sequence[PlannedJob], duplicate: str) -> None:
        custom = [(job.keys, job.wire.job_id) for job in by_id if job.wire.job_id is not None]
        if len(set(custom)) < len(custom):
            raise ValidationError(duplicate)
        await self._to_the_end(FlowWriter(self._connection, duplicate).write(by_id, by_add))

    async def _to_the_end(self, work: Coroutine[Any, Any, R]) -> R:
        """A task of its own: cancelling the caller must not leave half a flow behind."""
        task = asyncio.get_running_loop().create_task(work, name="glidemq-flow")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    def _check_open(self) -> None:
        if self._closing is not None:
            raise ClosedError("FlowProducer is closing")

    def _node(self, root: PlannedJob) -> JobNode:
        nodes: dict[int, JobNode] = {}
        for planned in reversed(in_order_of_adds(root)):
            nodes[id(planned)] = JobNode(self._job(planned), [])
        top = nodes[id(root)]
        for planned in in_order_of_adds(root):
            nodes[id(planned)].children.extend(nodes[id(child)] for child in planned.children)
        return top

    def _job(self, planned: PlannedJob) -> Job[Any, Any]:
        return Job[Any, Any].from_add(
            planned.id,
            planned.name,
            planned.data,
            planned.wire.json,
            planned.wire.priority,
            queue_key=planned.keys.meta,
            connection=self._connection,
            payload=self._payload,
        )


def _budgets(
    given: GivenBudget | Sequence[GivenBudget | None] | None, trees: int
) -> list[dict[str, str] | None]:
    """One for each tree, as their hashes will say."""
    if isinstance(given, Sequence):
        budgets = [None if one is None else budget_to_wire(one) for one in given]
        if len(budgets) != trees:
            raise ValidationError(f"budget must be one Budget, or one for each of the {trees} trees")
        return budgets
    return [None if given is None else budget_to_wire(given) for _ in range(trees)]
