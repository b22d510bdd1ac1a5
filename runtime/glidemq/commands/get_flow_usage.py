"""Read what the jobs of a flow have used, and who their children are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glidemq.commands.command import Command, pack
from glidemq.commands.fragments import CALL_VERSION
from glidemq.commands.status import expect_ok


@dataclass(frozen=True, slots=True)
class FlowRow:
    """A job to be looked at, or with a cursor, the rest of its children."""

    job_id: str
    cursor: str = "0"


@dataclass(frozen=True, slots=True)
class FlowAnswer:
    """One row's answer.

    usage: JSON; None when nothing was reported, and for the later pages of a job's children.
    models: those that the job's runs have used.
    children: "<prefix>:{<queue>}:<id>" each; perhaps some twice.
    following: what asks for the other children; None at the end.
    """

    usage: bytes | None
    models: Sequence[str]
    children: Sequence[str]
    following: FlowRow | None


class GetFlowUsageCommand(Command[Sequence[FlowAnswer]]):
    """Looks at some jobs of one queue; answers at least the first row, and perhaps not all of them."""

    function = "gmq_get_flow_usage"
    replayable = True

    __slots__ = ("rows",)

    def __init__(self, queue_key: str, *, rows: Sequence[FlowRow]) -> None:
        super().__init__(queue_key)
        self.rows = rows

    def arguments(self) -> bytes:
        return pack({"v": CALL_VERSION, "rows": [(row.job_id, row.cursor) for row in self.rows]})

    def parse_reply(self, reply: list[Any]) -> Sequence[FlowAnswer]:
        expect_ok(self.function, reply)
        return [
            FlowAnswer(
                usage or None,
                [_text(model) for model in models],
                [_text(child) for child in children],
                FlowRow(row.job_id, cursor.decode()) if cursor else None,
            )
            for row, (usage, models, children, cursor) in zip(self.rows, reply[1], strict=False)
        ]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
