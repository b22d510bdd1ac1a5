"""Adding a job to parents that stand elsewhere, or to several: first they expect it, then it comes into being."""

from __future__ import annotations

import orjson

from glidemq.client.new_jobs import PreparedJob, job_row
from glidemq.commands.add_flow import AddFlowCommand
from glidemq.commands.enqueue import Family
from glidemq.commands.get_job import GetJobCommand
from glidemq.commands.hear_children import ChildNews, HearChildrenCommand
from glidemq.commands.keys import QueueKeys
from glidemq.commands.register_child import RegisterChildCommand
from glidemq.commands.reserve_ids import ReserveIdsCommand
from glidemq.commands.tell_again import TellAgainCommand
from glidemq.connection.connection import Connection
from glidemq.errors import UnknownOutcomeError, ValidationError
from glidemq.job.family_steps import parents_of
from glidemq.options import ParentJob, WireOptions


def stands_elsewhere(wire: WireOptions, queue: str) -> bool:
    """Whether a job of `queue` has parents that the call which adds it cannot tell."""
    return bool(wire.parents) and (wire.has_several_parents or wire.parents[0].queue != queue)


async def add_child(
    connection: Connection, keys: QueueKeys, new: PreparedJob[object], max_waiting: int | None
) -> str | None:
    """Add one job with parents elsewhere; its id, or None when a job with its `job_id` exists.

    Whatever happens, the parents either wait for a job that will end, or do not wait for it. Not to be cancelled.
    Raises JobNotFoundError and JobStateError for parents that are gone or have ended, and what `Queue.add` raises.
    """
    wire = new.wire
    if wire.deduplication is not None:
        raise ValidationError(
            "deduplication cannot be combined with parents in other queues, nor with several"
        )
    custom = [] if wire.job_id is None else [wire.job_id]
    reserved = await connection.execute(ReserveIdsCommand(keys.meta, count=1 - len(custom), custom=custom))
    if reserved.taken is not None:
        return None
    [job_id] = custom or reserved.ids
    member = f"{keys.base}:{job_id}"
    registered: list[ParentJob] = []
    budget_key: str | None = None
    try:
        for queue, ids in _by_queue(wire.parents).items():
            found = await connection.execute(
                RegisterChildCommand(QueueKeys(keys.prefix, queue).meta, parents=ids, member=member)
            )
            budget_key = budget_key or found
            registered += [ParentJob(queue, parent_id) for parent_id in ids]
        taken = await connection.execute(
            AddFlowCommand(keys.meta, rows=[_row(new, keys, job_id, budget_key)], max_waiting=max_waiting)
        )
    except UnknownOutcomeError:
        raise  # it may have been added: the parents go on waiting, and find out if it was not
    except BaseException:
        await _withdraw(connection, keys, registered, job_id)
        raise
    if taken is not None:
        await _withdraw(connection, keys, registered, job_id)
        return None
    return job_id


def _row(new: PreparedJob[object], keys: QueueKeys, job_id: str, budget_key: str | None) -> bytes:
    wire = new.wire
    if not wire.has_several_parents:
        return job_row(new.name, new.text, wire, job_id=job_id, budget_key=budget_key)
    return job_row(
        new.name,
        new.text,
        wire,
        job_id=job_id,
        budget_key=budget_key,
        family=Family(
            parents=[f"{QueueKeys(keys.prefix, parent.queue).base}:{parent.id}" for parent in wire.parents],
            parent_ids=orjson.dumps([parent.id for parent in wire.parents]),
            parent_queues=orjson.dumps([parent.queue for parent in wire.parents]),
        ),
    )


async def _withdraw(connection: Connection, keys: QueueKeys, parents: list[ParentJob], job_id: str) -> None:
    """This job is not going to be: nobody waits for it any more.

    But somebody else may have added a job of that id as a child of the same parents: those wait for that one, and hear
    once more how it has ended if it has, as they were promised a new one since.
    """
    fields = await connection.execute(GetJobCommand(keys.meta, job_id=job_id, exclude_data=True))
    others = parents_of(fields) if fields is not None else []
    for queue, ids in _by_queue([parent for parent in parents if parent not in others]).items():
        rows = [
            ChildNews.pack(parent_id, f"{keys.base}:{job_id}", "remove", "not added") for parent_id in ids
        ]
        await connection.execute(HearChildrenCommand(QueueKeys(keys.prefix, queue).meta, rows=rows))
    again = [
        (job_id, QueueKeys(keys.prefix, parent.queue).base, parent.id)
        for parent in parents
        if parent in others
    ]
    if again:
        await connection.execute(TellAgainCommand(keys.meta, rows=again))


def _by_queue(parents: list[ParentJob] | tuple[ParentJob, ...]) -> dict[str, list[str]]:
    queues: dict[str, list[str]] = {}
    for queue, parent_id in parents:
        queues.setdefault(queue, []).append(parent_id)
    return queues
