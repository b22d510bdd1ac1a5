"""Flows of common shapes, written in one call: a chain, a group, a chord, a graph.

Each takes the arguments of `FlowProducer`. Without `client` it connects for its one call, and the methods of the jobs
that it returns have no connection to talk over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NotRequired, TypedDict

from typing_extensions import Unpack

from glidemq.client.flow_jobs import DagNode, FlowJob
from glidemq.client.flow_producer import FlowProducer, JobNode
from glidemq.config import ConnectionOptions
from glidemq.connection import Connection
from glidemq.errors import ValidationError
from glidemq.job import Job
from glidemq.options import JobOptions
from glidemq.payload.compression import CompressionName
from glidemq.serializer import Serializer

GROUP_NAME: Final = "__group__"


class ProducerArguments(TypedDict, total=False):
    """The arguments of `FlowProducer`."""

    connection: str | ConnectionOptions | None
    client: Connection | None
    prefix: str
    serializer: Serializer
    compression: CompressionName | None


class ShapeJob(TypedDict):
    """One job of a chain, a group or a chord, all of which live in one queue.

    name, data, opts: as for `FlowJob`.
    """

    name: str
    data: NotRequired[Any]
    opts: NotRequired[JobOptions]


async def chain(queue_name: str, jobs: Sequence[ShapeJob], **producer: Unpack[ProducerArguments]) -> JobNode:
    """Add jobs that run one after the other, the *last* of the list first; the node of the first one, which runs last.

    Each job is the only child of the one before it in the list. Raises as `FlowProducer.add`.
    """
    if not jobs:
        raise ValidationError("a chain needs at least one job")
    flow = _in(queue_name, jobs[-1], [])
    for job in reversed(jobs[:-1]):
        flow = _in(queue_name, job, [flow])
    return await _add(flow, producer)


async def group(queue_name: str, jobs: Iterable[ShapeJob], **producer: Unpack[ProducerArguments]) -> JobNode:
    """Add jobs that run at the same time, and the job "__group__" with the data {}, which runs after all of them.

    The node of the latter. Raises as `FlowProducer.add`.
    """
    return await chord(queue_name, jobs, {"name": GROUP_NAME}, **producer)


async def chord(
    queue_name: str,
    group: Iterable[ShapeJob],
    callback: ShapeJob,
    **producer: Unpack[ProducerArguments],
) -> JobNode:
    """Add jobs that run at the same time, and `callback`, which runs after all of them; the node of the latter.

    Raises as `FlowProducer.add`.
    """
    children = [_in(queue_name, job, []) for job in group]
    if not children:
        raise ValidationError("a group needs at least one job")
    return await _add(_in(queue_name, callback, children), producer)


async def dag(nodes: Iterable[DagNode], **producer: Unpack[ProducerArguments]) -> dict[str, Job[Any, Any]]:
    """Add a graph; see `FlowProducer.add_dag`."""
    async with FlowProducer(**producer) as flows:
        return await flows.add_dag(nodes)


def _in(queue_name: str, job: ShapeJob, children: list[FlowJob]) -> FlowJob:
    if not isinstance(job, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
        raise ValidationError(f"a job of a chain or group must be a mapping, not {type(job).__name__}")
    return {**job, "queue_name": queue_name, "children": children}


async def _add(flow: FlowJob, producer: ProducerArguments) -> JobNode:
    async with FlowProducer(**producer) as flows:
        return await flows.add(flow)
