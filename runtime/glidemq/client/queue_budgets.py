"""What the jobs of a flow may use together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, Unpack

from glidemq.client.queue_handle import QueueHandle
from glidemq.commands.get_budget import GetBudgetCommand
from glidemq.commands.update_budget import UpdateBudgetCommand
from glidemq.errors import JobNotFoundError, ValidationError
from glidemq.options import check_job_id
from glidemq.options.budget import FlowBudget, OnExceeded, changes_to_wire, stored_budget


class BudgetChanges(TypedDict, total=False):
    """The fields of `Budget` that `update_flow_budget` changes; None takes a limit away."""

    max_total_tokens: float | None
    max_tokens: Mapping[str, float] | None
    token_weights: Mapping[str, float] | None
    max_total_cost: float | None
    max_costs: Mapping[str, float] | None
    cost_unit: str | None
    on_exceeded: OnExceeded


class QueueBudgets(QueueHandle):
    """The part of `Queue` that concerns budgets; every method raises ConnectionError and ClosedError."""

    async def get_flow_budget(self, flow_id: str) -> FlowBudget | None:
        """The budget of the flow whose root, a job of this queue, has the id `flow_id`; None if it has none.

        What jobs of other queues have reported may take a second or two to be in.
        """
        self._check_open()
        stored = await self._connection.execute(
            GetBudgetCommand(self._queue_key, flow_id=check_job_id(flow_id))
        )
        return None if stored is None else stored_budget(stored.fields, stored.reserved)

    async def update_flow_budget(self, flow_id: str, **limits: Unpack[BudgetChanges]) -> FlowBudget:
        """Change limits of a flow's budget, and let the jobs go on that it has paused, as far as there is room now.

        limits: fields of `Budget`; what is not named stays, None takes a limit away. Jobs that have failed stay failed.

        Raises:
            ValidationError: an unknown field or a value that cannot be, or no limit is named.
            JobNotFoundError: the flow has no budget.
        """
        self._check_open()
        fields, unset = changes_to_wire(limits)
        if not fields and not unset:
            raise ValidationError("update_flow_budget needs at least one limit to change")
        flow_id = check_job_id(flow_id)
        command = UpdateBudgetCommand(self._queue_key, flow_id=flow_id, fields=fields, unset=unset)
        left: int | None = None
        while True:
            before, left = left, await self._connection.execute(command)
            if left is None:
                raise JobNotFoundError(f"no flow {flow_id} of queue {self.name!r} has a budget")
            if left == 0 or (
                before is not None and left >= before
            ):  # others are paused as fast as these wake
                break
            command = UpdateBudgetCommand(self._queue_key, flow_id=flow_id, fields={})
        budget = await self.get_flow_budget(flow_id)
        if budget is None:
            raise JobNotFoundError(f"flow {flow_id} of queue {self.name!r} was removed meanwhile")
        return budget
