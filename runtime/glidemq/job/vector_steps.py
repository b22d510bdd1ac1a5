"""An embedding is stored with a job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from glidemq.commands.store_vector import StoreVectorCommand
from glidemq.job.detours import DetourSteps
from glidemq.job.record import In, Out
from glidemq.job.stepping import Steps
from glidemq.options.vectors import AttributeValue, attributes_on_wire, check_vector_name, vector_bytes


class VectorSteps(DetourSteps[In, Out]):
    """`store_vector`."""

    __slots__ = ()

    def _store_vector_steps(
        self, field: str, vector: Iterable[float], attributes: Mapping[str, AttributeValue] | None
    ) -> Steps[None]:
        command = StoreVectorCommand(
            self._queue_key,
            job_id=self.id,
            field=check_vector_name(field),
            vector=vector_bytes(vector),
            attributes=attributes_on_wire(attributes, field),
        )
        if not (yield command):
            raise self._gone()
