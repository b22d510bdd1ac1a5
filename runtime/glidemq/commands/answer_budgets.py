"""Tell jobs what the budgets of their flows, in other queues, have answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from glidemq.commands.rows_command import RowsCommand
from glidemq.commands.status import expect_ok

# The outbox entries that this command takes.
KIND: Final = b"budget-answer"


class RefusedByBudget(NamedTuple):
    """A job that the budget of its flow, named by its root's id, has no room for."""

    job_id: str
    flow_id: str


class Answered(NamedTuple):
    """Whether another queue has to hear of what follows, and which jobs were refused."""

    posted: bool
    refused: list[RefusedByBudget]


def refusals(rows: Sequence[Sequence[bytes]]) -> list[RefusedByBudget]:
    """Those that a reply names."""
    return [RefusedByBudget(job_id.decode(), flow_id.decode()) for job_id, flow_id in rows]


class AnswerBudgetsCommand(RowsCommand[Answered]):
    """Brings packed answers to the jobs of one queue."""

    function = "gmq_answer_budgets"
    replayable = True  # hearing something twice changes nothing

    __slots__ = ()

    def parse_reply(self, reply: list[Any]) -> Answered:
        expect_ok(self.function, reply)
        return Answered(bool(reply[1]), refusals(reply[2]))
