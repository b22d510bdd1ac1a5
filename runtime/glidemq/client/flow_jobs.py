"""The jobs of a flow as their caller describes them, checked and made ready; nothing here talks to the server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict, cast

import orjson

from glidemq.client.graph_order import dependencies_of, levels_of, topo_sort
from glidemq.client.new_jobs import data_as_stored, job_row
from glidemq.commands.enqueue import Family
from glidemq.commands.keys import QueueKeys
from glidemq.errors import SerializationError, ValidationError
from glidemq.options import JobOptions, ParentJob, WireOptions, check_job_name, check_queue_name, to_wire
from glidemq.options.nested import unknown_name
from glidemq.payload import Payload
from glidemq.payload.compression import Compression

_TOGETHER = "lifo and ordering.key cannot be used together"


class FlowJob(TypedDict):
    """One job of a tree: it runs once all its `children` have ended.

    name: what kind of job it is. queue_name: where it runs; each job of a tree may have another queue.
    data: as for `Queue.add`; {} if not given. opts: the options of `Queue.add`, as a mapping; `on_failure` says what
        the job's own failure means for its parent. children: the jobs to wait for; each may have children of its own.
    """

    name: str
    queue_name: str
    data: NotRequired[Any]
    opts: NotRequired[JobOptions]
    children: NotRequired[Sequence[FlowJob]]


class DagNode(TypedDict):
    """One job of a graph: it runs once the jobs named in `deps` have ended.

    name: what kind of job it is, and how others refer to it: unique in its graph. The rest is as for `FlowJob`.
    """

    name: str
    queue_name: str
    data: NotRequired[Any]
    opts: NotRequired[JobOptions]
    deps: NotRequired[Sequence[str]]


@dataclass(eq=False, slots=True)
class PlannedJob:
    """A checked job of a flow, its relatives, and its id once there is one.

    parent: the one job that waits for it, as its hash says. dependents: in a graph there may be several, which stand in
        a set instead. budget: the whole flow's, as its hash will say; only the root has one. budget_of: that root, for
        all jobs of the flow. height: the length of the longest way down; every parent is higher than its children.
    """

    name: str
    data: Any
    text: bytes
    wire: WireOptions
    keys: QueueKeys
    children: list[PlannedJob] = field(default_factory=list["PlannedJob"])
    parent: PlannedJob | None = None
    dependents: list[PlannedJob] = field(default_factory=list["PlannedJob"])
    height: int = 0
    id: str = ""
    budget: Mapping[str, str] | None = None
    budget_of: PlannedJob | None = None

    @property
    def budget_key(self) -> str | None:
        """Where its flow's budget stands, once the root has its id."""
        root = self.budget_of
        return None if root is None else root.keys.budget(root.id)

    @property
    def member(self) -> str:
        """How it is named among the relatives of others."""
        return f"{self.keys.base}:{self.id}"

    def row(self) -> bytes:
        """What the server is told, once all ids are known."""
        parent = self.parent
        family = Family(
            children=[child.member for child in self.children],
            parents=[dependent.member for dependent in self.dependents],
            parent_ids=orjson.dumps([dependent.id for dependent in self.dependents]),
            parent_queues=orjson.dumps([dependent.keys.queue for dependent in self.dependents]),
        )
        return job_row(
            self.name,
            self.text,
            self.wire,
            job_id=self.id,
            parent=None if parent is None else ParentJob(parent.keys.queue, parent.id),
            family=family,
            budget_key=self.budget_key,
        )


class FlowPreparation:
    """Checks, serializes and compresses the jobs of flows for one producer."""

    def __init__(self, payload: Payload, prefix: str, compression: Compression | None) -> None:
        self._payload = payload
        self._prefix = prefix
        self._compression = compression

    def prepare(
        self,
        given: Mapping[str, Any],
        kind: type[FlowJob] | type[DagNode],
        what: str,
        priority: int | None = None,
    ) -> PlannedJob:
        """One job without its relatives. `what` it is called in errors, "Flow job" for example.

        priority: the job's, if it states none.

        Raises ValidationError and SerializationError; a note names the job.
        """
        if not isinstance(given, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError(f"a {what.lower()} must be a mapping, not {type(given).__name__}")
        members = list(kind.__annotations__)
        for name in given:
            if name not in members:
                raise unknown_name(name, members, f"member of a {what.lower()}")
        name = check_job_name(given.get("name"))
        data = given.get("data", {})
        try:
            return PlannedJob(
                name,
                data,
                data_as_stored(data, self._payload, self._compression),
                self._options(_with_priority(given.get("opts"), priority), name, what),
                QueueKeys(self._prefix, check_queue_name(given.get("queue_name"))),
            )
        except (ValidationError, SerializationError) as error:
            error.add_note(f"This is {what.lower()} {name!r}; nothing was added.")
            raise

    @staticmethod
    def _options(given: object, name: str, what: str) -> WireOptions:
        try:
            wire = to_wire(cast("Mapping[str, object]", given or {}))
        except ValidationError as error:
            if str(error) == _TOGETHER:
                raise ValidationError(_together(name, what)) from None
            raise
        if wire.deduplication is not None:
            raise ValidationError(
                "deduplication is not for the jobs of a flow: give the whole flow custom ids instead"
            )
        if wire.parents:
            raise ValidationError(
                "parent and parents are not for the jobs of a flow: its own structure says who waits"
            )
        return wire

    # -- trees -------------------------------------------------------------------------------------------

    def tree(self, given: FlowJob, priority: int | None = None) -> PlannedJob:
        """A whole tree; its root. Raises as `prepare` does."""
        root = self.prepare(given, FlowJob, "Flow job", priority)
        stack = [(root, given)]
        while stack:
            job, described = stack.pop()
            children = described.get("children") or ()
            if isinstance(children, (str, Mapping)) or not isinstance(children, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise ValidationError(f"children of flow job {job.name!r} must be a list of jobs")
            for child in children:
                planned = self.prepare(child, FlowJob, "Flow child", priority)
                planned.parent = job
                job.children.append(planned)
                stack.append((planned, child))
        for parent in _parents(root):
            parent.height = 1 + max(child.height for child in parent.children)
        return root

    # -- graphs ------------------------------------------------------------------------------------------

    def graph(self, given: Sequence[DagNode], priority: int | None = None) -> list[PlannedJob]:
        """A whole graph, in the order in which Node numbers it: each job before those it waits for.

        Raises as `prepare` and `validate_dag` do.
        """
        dependencies = dependencies_of(given)
        ordered = topo_sort(given)
        levels = levels_of(dependencies)
        jobs = {node["name"]: self.prepare(node, DagNode, "DAG node", priority) for node in given}
        for name, job in jobs.items():
            job.height = levels[name]
            job.children = [jobs[dep] for dep in dependencies[name]]
            for child in job.children:
                child.dependents.append(job)
        for job in jobs.values():
            if not job.children and len(job.dependents) == 1:
                [job.parent] = job.dependents
                job.dependents = []
        return [jobs[name] for name in sorted(ordered, key=lambda name: -levels[name])]


def _with_priority(opts: object, priority: int | None) -> object:
    """The options of one job of a flow whose jobs have this priority unless they say otherwise."""
    if priority is None or not isinstance(opts, Mapping | None):
        return opts
    return {"priority": priority, **(cast("Mapping[str, object] | None", opts) or {})}


def _together(name: str, what: str) -> str:
    if what == "DAG node":
        return "lifo and ordering.key cannot be combined in a DAG node"
    return f'{what} "{name}": {_TOGETHER}'


def share_budget(root: PlannedJob, jobs: Iterable[PlannedJob], budget: Mapping[str, str]) -> None:
    """All these jobs use one budget, which stands with the root."""
    root.budget = budget
    for job in jobs:
        job.budget_of = root


def in_order_of_ids(root: PlannedJob) -> list[PlannedJob]:
    """A tree's jobs in the order in which Node numbers them: inner trees first, then the parent, then its leaves."""
    jobs: list[PlannedJob] = []
    for parent in _parents(root):
        jobs.append(parent)
        jobs += [child for child in parent.children if not child.children]
    return jobs or [root]


def in_order_of_adds(root: PlannedJob) -> list[PlannedJob]:
    """The same jobs in the order in which Node announces them: each parent after its leaves."""
    jobs: list[PlannedJob] = []
    for parent in _parents(root):
        jobs += [child for child in parent.children if not child.children]
        jobs.append(parent)
    return jobs or [root]


def _parents(root: PlannedJob) -> list[PlannedJob]:
    """The jobs with children, deepest first, in the order of their siblings."""
    found: list[PlannedJob] = []
    stack = [root]
    while stack:
        job = stack.pop()
        if job.children:
            found.append(job)
            stack += job.children
    return found[::-1]
