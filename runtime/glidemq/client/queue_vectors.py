"""Finding jobs by the vectors that were stored with them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple

from glidemq.client.exact_search import FLOAT32_BYTES, ExactSearch
from glidemq.client.queue_inspection import QueueInspection
from glidemq.client.search_filter import SearchFilter
from glidemq.commands.create_job_index import CreateJobIndexCommand
from glidemq.commands.drop_job_index import DropJobIndexCommand
from glidemq.commands.get_job import GetJobCommand
from glidemq.commands.read_vectors import ReadVectorsCommand
from glidemq.commands.vector_search import SearchReply, VectorSearchCommand
from glidemq.errors import JobStateError, SearchUnavailableError, ValidationError
from glidemq.job import Job
from glidemq.job.record import In, Out
from glidemq.options.nested import unknown_name
from glidemq.options.vectors import (
    IndexDefinition,
    IndexField,
    VectorField,
    check_index_name,
    check_score_name,
    index_definition,
    vector_bytes,
    words,
)

log = logging.getLogger("glidemq.search")

UNAVAILABLE: Final = (
    "Valkey Search module is not available. Install valkey-bundle or load the search module to use index"
    " features."
)
MOST_NEIGHBOURS: Final = 10_000
MAX_FILTER: Final = 65_536
# Jobs read at once for a result.
READ_AT_ONCE: Final = 100
# What `return_fields` may name: what of a job is read from its hash -> the field there.
STORED_NAMES: Final = {
    "attempts_made": "attemptsMade",
    "budget_key": "budgetKey",
    "cost": "cost",
    "current_fallback": "fallbackIndex",
    "data": "data",
    "delay": "delay",
    "expire_at": "expireAt",
    "failed_reason": "failedReason",
    "fallback_index": "fallbackIndex",
    "finished_on": "finishedOn",
    "id": "id",
    "name": "name",
    "opts": "opts",
    "ordering_key": "groupKey",
    "parent_id": "parentId",
    "parent_queue": "parentQueue",
    "priority": "priority",
    "processed_on": "processedOn",
    "progress": "progress",
    "return_value": "returnvalue",
    "scheduler_name": "schedulerName",
    "signals": "signals",
    "stalled_count": "stalledCount",
    "state": "state",
    "timestamp": "timestamp",
    "usage": "usage:",
}
SPLIT_FIELD: Final = "usage:"  # the one that is many: "usage:model", "usage:tokens" …
PAYLOAD: Final = frozenset({"data", "returnvalue"})
# What makes a job.
ALWAYS_READ: Final = frozenset({"id", "name", "opts", "timestamp", "priority", "attemptsMade"})


class VectorMatch(NamedTuple, Generic[In, Out]):
    """A job that a vector search has found, and its score; see `Queue.vector_search`."""

    job: Job[In, Out]
    score: float


class QueueVectors(QueueInspection[In, Out], Generic[In, Out]):
    """The part of `Queue` that searches by vector; every method raises ConnectionError and ClosedError."""

    _told_of_fallback = False

    async def create_job_index(
        self,
        *,
        name: str | None = None,
        fields: Iterable[IndexField | Mapping[str, Any]] = (),
        vector_field: VectorField | Mapping[str, Any] | None = None,
        create_options: Sequence[str] = (),
        fallback: bool = True,
    ) -> None:
        """Index the vectors that `Job.store_vector` stores; those that are stored already, too.

        name: the index's; `<queue>-idx` by default.
        fields: what filters may ask for beside name, state, timestamp and priority: attributes given to
            `store_vector`, or attemptsMade, processedOn, finishedOn, groupKey, schedulerName. `IndexField`s.
        vector_field: which vectors. Without one the index serves no vector search.
        create_options: further words for FT.CREATE, before the schema.
        fallback: on a server without search module, and in a cluster, only note what the index is made of, so that
            `vector_search` can search in its own process; with one warning. False raises instead.

        Raises:
            ValidationError: a bad name, field or option, or what the module refuses. JobStateError: the index exists.
            SearchUnavailableError: no search module, and `fallback` is False.
        Source: features page, section 21; ruling 33.
        """
        definition = index_definition(fields, vector_field)
        reply = await self._execute(
            CreateJobIndexCommand(
                self._queue_key,
                name=self._index_name(name),
                schema=definition.schema(),
                options=words(create_options, "create_options"),
                definition=definition.to_json(),
                fallback=fallback,
            )
        )
        if reply.status == "exists":
            raise JobStateError(f"index {self._index_name(name)!r} exists: drop it first")
        if reply.status == "refused":
            raise ValidationError(f"the search module refuses the index: {reply.reason}")
        if reply.status != "ok":
            self._fall_back(reply.status, fallback)

    async def drop_job_index(self, name: str | None = None) -> bool:
        """Forget an index; False if there is none. The vectors stay.

        Raises:
            ValidationError: a bad name.
        """
        return await self._execute(DropJobIndexCommand(self._queue_key, name=self._index_name(name)))

    async def vector_search(
        self,
        vector: Iterable[float],
        *,
        k: int = 10,
        filter: str = "*",
        index_name: str | None = None,
        score_field: str = "__score",
        return_fields: Iterable[str] | None = None,
        search_options: Sequence[str] = (),
        fallback: bool = True,
    ) -> list[VectorMatch[In, Out]]:
        """The `k` jobs whose vectors are nearest to `vector`, nearest first, each with its score.

        The score is the search module's distance, whatever finds it: COSINE 0 (same direction) to 2, L2 the square of
        the Euclidean distance, IP 1 - inner product; lower is nearer.

        vector: as many finite numbers as the index has dimensions.
        filter: what a job must be to count, in the module's query language: `@state:{completed}`,
            `@timestamp:[1700000000000 +inf]`, conditions side by side for and, `|` for or, `-` for not, parentheses.
        index_name: `<queue>-idx` by default. score_field: the score's name in the query, should "__score" be taken.
        return_fields: what to read of the jobs ("data", "return_value", "progress", "usage" …); None: everything. What
            is left out reads as absent.
        search_options: further words for FT.SEARCH.
        fallback: without the module, or in a cluster, read the vectors and search exactly in this process (needs the
            extra `vectors`), after one warning. False raises instead. The filters named above are understood then.

        Raises:
            ValidationError: a bad argument or filter, or the index does not exist, or has no vector field.
            SearchUnavailableError: no search module, and `fallback` is False. ConfigurationError: no numpy.
        Source: features page, section 21; ruling 33.
        """
        raw = vector_bytes(vector)
        if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MOST_NEIGHBOURS:  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError(f"k must be an integer between 1 and {MOST_NEIGHBOURS}")
        command = VectorSearchCommand(
            self._queue_key,
            index=self._index_name(index_name),
            filter=_checked_filter(filter),
            k=k,
            vector=raw,
            score_field=check_score_name(score_field),
            options=words(search_options, "search_options"),
        )
        wanted = None if return_fields is None else _stored_names(return_fields)
        reply = await self._execute(command)
        if reply.status == "ok":
            found = sorted(
                (pair for pair in reply.found if not math.isnan(pair[1])), key=lambda pair: pair[1]
            )
        else:
            found = await self._search_here(command, reply, fallback)
        return await self._matches(found, wanted)

    # -- without a module ----------------------------------------------------------------------------------------

    async def _search_here(
        self, command: VectorSearchCommand, reply: SearchReply, fallback: bool
    ) -> list[tuple[str, float]]:
        if reply.status == "refused":
            raise ValidationError(f"the search module refuses the search: {reply.reason}")
        if reply.status in ("no_module", "cluster") or reply.definition is not None:
            self._fall_back(reply.status, fallback)
        if reply.status != "no_vector_field" and reply.definition is None:
            raise ValidationError(f"there is no index {command.index!r}: make it with create_job_index()")
        definition = None if reply.definition is None else IndexDefinition.from_json(reply.definition)
        field = None if definition is None else definition.vector
        if definition is None or field is None:
            raise ValidationError(f"index {command.index!r} has no vector field")
        if len(command.vector) != field.dimensions * FLOAT32_BYTES:
            raise ValidationError(
                f"vector must have {field.dimensions} numbers, not {len(command.vector) // FLOAT32_BYTES}"
            )
        search = ExactSearch(
            command.vector, field, command.k, SearchFilter(command.filter, definition.fields)
        )
        async for page in self._pages(ReadVectorsCommand(self._queue_key, fields=search.fields)):
            search.show(page.rows)
        return search.found

    def _fall_back(self, status: str, fallback: bool) -> None:
        if not fallback:
            raise SearchUnavailableError(UNAVAILABLE)
        if not self._told_of_fallback:
            self._told_of_fallback = True
            log.warning(
                "queue %r: %s; vectors are read and searched exactly in this process instead, in a time that grows"
                " with their number",
                self.name,
                {
                    "cluster": "the search module serves standalone servers only, this is a cluster",
                    "no_index": "the search module does not know the index, which was made without it",
                }.get(status, UNAVAILABLE.rstrip(".")),
            )

    # -- results -------------------------------------------------------------------------------------------------

    async def _matches(
        self, found: list[tuple[str, float]], wanted: frozenset[str] | None
    ) -> list[VectorMatch[In, Out]]:
        matches: list[VectorMatch[In, Out]] = []
        exclude_data = wanted is not None and not wanted & PAYLOAD
        for start in range(0, len(found), READ_AT_ONCE):
            part = found[start : start + READ_AT_ONCE]
            commands = [
                GetJobCommand(self._queue_key, job_id=job_id, exclude_data=exclude_data) for job_id, _ in part
            ]
            jobs = await asyncio.gather(*map(self._execute, commands))
            for fields, (_, score) in zip(jobs, part, strict=True):
                if fields is not None:  # else it was removed a moment ago
                    kept = fields if wanted is None else _kept(fields, wanted)
                    matches.append(VectorMatch(self._stored(kept), score))
        return matches

    def _index_name(self, name: str | None) -> str:
        return f"{self.name}-idx" if name is None else check_index_name(name)


def _checked_filter(text: object) -> str:
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_FILTER:
        raise ValidationError("filter must be a non-empty string, '*' for every job")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValidationError("filter must be valid Unicode") from None
    return text.strip()


def _stored_names(names: Iterable[str]) -> frozenset[str]:
    """The fields of a job's hash that these attributes of a job are read from; fields may be named as well."""
    if isinstance(names, str):
        raise ValidationError("return_fields must be a sequence of names")
    stored: set[str] = set()
    fields = frozenset(STORED_NAMES.values())
    for name in names:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError("return_fields must be a sequence of names")
        if name not in STORED_NAMES and name not in fields:
            raise unknown_name(name, list(STORED_NAMES), "field of a job in return_fields")
        stored.add(STORED_NAMES.get(name, name))
    return ALWAYS_READ | stored


def _kept(fields: Mapping[str, Any], wanted: frozenset[str]) -> dict[str, Any]:
    split = SPLIT_FIELD in wanted
    return {n: v for n, v in fields.items() if n in wanted or (split and n.startswith(SPLIT_FIELD))}
