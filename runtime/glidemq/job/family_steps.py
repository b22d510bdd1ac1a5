"""A job's children and parents: waiting for the former, asking about both."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

import orjson

from glidemq.commands.fail import FAILED
from glidemq.commands.get_children import KEPT_VALUE, ChildEntry, ChildrenPage, GetChildrenCommand
from glidemq.commands.get_fields import GetFieldsCommand
from glidemq.commands.get_job import GetJobCommand
from glidemq.commands.job_fields import JobFields
from glidemq.commands.move_to_waiting_children import (
    MoveToWaitingChildrenCommand,
    WaitResult,
    WaitRow,
)
from glidemq.errors import ConnectionError, WaitingChildrenError
from glidemq.job.detours import DetourSteps, detour
from glidemq.job.record import In, Out
from glidemq.job.stepping import Steps
from glidemq.job.stored_values import number
from glidemq.options import ParentJob

ACTION: Final = "Cannot move to waiting-children"
NOT_RUNNING: Final = "move_to_waiting_children() can only be used while the job is active in a Worker"


class FamilySteps(DetourSteps[In, Out]):
    """`move_to_waiting_children` and its error; `get_children_values`, `get_failed_children_values`, `get_parents`."""

    __slots__ = ()

    @detour(WaitingChildrenError)
    def _waiting_children_error_steps(self, request: WaitingChildrenError) -> Steps[None]:
        self._must_be_running(NOT_RUNNING)
        row = WaitRow.pack(self.id, self.token, number(self._processed_on), self.entry_id)
        result: WaitResult = yield MoveToWaitingChildrenCommand(self._queue_key, rows=[row])
        [code] = result.outcomes
        self._leave(code, ACTION)
        if (
            code == FAILED
        ):  # it was revoked, or a child has failed: the hash says, unless it was to be removed at once
            with suppress(ConnectionError):
                [reason] = yield GetFieldsCommand(self._queue_key, rows=[(self.id, "failedReason")])
                self._has_failed(
                    "a child has failed" if reason is None else reason.decode("utf-8", "replace")
                )

    def _move_to_waiting_children_steps(self) -> Steps[WaitingChildrenError]:
        request = WaitingChildrenError()
        yield from self._waiting_children_error_steps(request)
        return request

    def _children_steps(self) -> Steps[list[ChildEntry]]:
        children: dict[str, ChildEntry] = {}
        command: GetChildrenCommand | None = GetChildrenCommand(self._queue_key, job_id=self.id)
        while command is not None:
            page: ChildrenPage | None = yield command
            if page is None:
                raise self._gone()
            children |= {child.member: child for child in page.children}
            command = page.following
        return list(children.values())

    def _failed_children_values_steps(self) -> Steps[dict[str, str]]:
        children = yield from self._children_steps()
        return {child.member: child.failed for child in children if child.failed is not None}

    def _children_values_steps(self) -> Steps[dict[str, Any]]:
        children = yield from self._children_steps()
        fields: dict[str, dict[str, tuple[str, str]]] = {}
        for child in children:
            prefix, _, job_id = child.member.rpartition(":")
            if child.kept:
                fields.setdefault(self._queue_key, {})[child.member] = (self.id, KEPT_VALUE + child.member)
            else:
                fields.setdefault(f"{prefix}:meta", {})[child.member] = (job_id, "returnvalue")
        values: dict[str, Any] = {}
        for queue_key, rows in fields.items():
            found = yield from _field_steps(queue_key, rows.values())
            for member, raw in zip(rows, found, strict=True):
                if raw is not None:
                    values[member] = self._payload.load(raw)
        return values

    def _parents_steps(self) -> Steps[list[ParentJob]]:
        fields: JobFields | None = yield GetJobCommand(self._queue_key, job_id=self.id, exclude_data=True)
        if fields is None:
            raise self._gone()
        return parents_of(fields)


def parents_of(fields: JobFields) -> list[ParentJob]:
    """The jobs that wait for one, as the fields of its hash tell."""
    parents = [
        ParentJob(queue, job_id)
        for queue, job_id in zip(
            _texts(fields.get("parentQueues")), _texts(fields.get("parentIds")), strict=False
        )
    ]
    queue, job_id = fields.get("parentQueue"), fields.get("parentId")
    if queue and job_id:
        only = ParentJob(queue.decode(), job_id.decode())
        parents = [only, *(parent for parent in parents if parent != only)]
    return parents


def _field_steps(queue_key: str, rows: Iterable[tuple[str, str]]) -> Steps[list[bytes | None]]:
    left = list(rows)
    values: list[bytes | None] = []
    while left:
        some: list[bytes | None] = yield GetFieldsCommand(queue_key, rows=left)
        values += some
        left = left[len(some) :]
    return values


def _texts(raw: bytes | None) -> list[str]:
    """The texts of a JSON array; none when it is something else."""
    try:
        value: Any = orjson.loads(raw or b"[]")
    except orjson.JSONDecodeError:
        return []
    return [str(text) for text in value] if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
