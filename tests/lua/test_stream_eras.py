"""stream_append: writers that trust the era see what writers see that have every chunk looked at."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glidemq.commands.stream_append import GONE, LEASE_LOST
from glidemq.job.chunks import ChunkSource
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue, Started
from tests.lua.test_stream_append import Writer, chunks, source

RUNS = st.integers(0, 5)
STEPS = st.one_of(
    st.tuples(st.just("add"), st.just(0)),
    st.tuples(st.just("start"), st.just(0)),
    *(
        st.tuples(st.just(what), RUNS)
        for what in (
            "write",
            "write",
            "write",
            "complete",
            "vanish",
            "fail",
            "retry",
            "release",
            "remove",
            "by_node",
            "anew",
        )
    ),
    st.tuples(st.just("stall"), st.just(0)),
    st.tuples(st.just("forget"), st.just(0)),
)


class Scene:
    """One queue, its runs, alive or not, and one writer for all of them."""

    def __init__(self, driven: DrivenQueue, *, trusting: bool) -> None:
        self.driven = driven
        self._writer = Writer(driven)
        self._trusting = trusting
        self._runs: list[tuple[Started, ChunkSource]] = []
        self._ids: list[str] = []
        self._texts = itertools.count()
        self.replies: list[Any] = []

    def do(self, what: str, number: int) -> None:
        self.driven.pass_time(1)
        if what in ("add", "start", "stall", "forget"):
            getattr(self, f"_{what}")()
        elif self._runs:
            job, chunk = self._runs[-1 - number % len(self._runs)]  # those of late matter more
            getattr(self, f"_{what}")(job, chunk)

    def _add(self) -> None:
        self._ids.append(self.driven.add(job_id=f"job-{len(self._ids)}"))

    def _start(self) -> None:
        for job in self.driven.step(1).started:
            self._runs.append((job, source(job.id, job.token)))

    def _stall(self) -> None:
        self.driven.pass_time(60_000)
        self.driven.recover_stalled(max_stalled=3)

    def _forget(self) -> None:
        self.driven.client.delete(self.driven.key("x-py:streaming"))

    def _write(self, job: Started, chunk: ChunkSource) -> None:
        _, other = self._runs[-1]
        batch = [(which, {"t": str(next(self._texts))}) for which in (chunk, other, chunk)]
        if not self._trusting:
            self._writer.era = chunk.seen_in = other.seen_in = 0
        for reply in self._writer.append(*batch):
            self.replies.append(reply if reply in (GONE, LEASE_LOST) else "appended")

    def _complete(self, job: Started, _: ChunkSource) -> None:
        self.replies.append(self.driven.complete(job))

    def _vanish(self, job: Started, _: ChunkSource) -> None:
        """Completed, and removed at once."""
        self.replies.append(self.driven.complete(job, retain=True))

    def _fail(self, job: Started, _: ChunkSource) -> None:
        self.replies.append(self.driven.fail(job, max_attempts=0)[0][0])

    def _retry(self, job: Started, _: ChunkSource) -> None:
        self.driven.call("retry_job", id=job.id)

    def _release(self, job: Started, _: ChunkSource) -> None:
        self.replies.append(self.driven.release(job))

    def _remove(self, job: Started, _: ChunkSource) -> None:
        self.driven.call("remove", id=job.id)

    def _by_node(self, job: Started, _: ChunkSource) -> None:
        """Removed as Node removes it, which knows of no eras."""
        self.driven.client.delete(*(self.driven.key(f"{kind}:{job.id}") for kind in ("job", "jstream")))

    def _anew(self, job: Started, chunk: ChunkSource) -> None:
        """Removed by Node, and added once more under its id."""
        self._by_node(job, chunk)
        self.driven.add(job_id=job.id)
        self._start()

    def seen(self) -> list[Any]:
        """What readers can tell of each stream: its chunks, whether it will go, whether its last chunk is known."""
        return [
            (
                chunks(self.driven, job_id),
                self.driven.client.pttl(self.driven.key(f"jstream:{job_id}")) > 0,
                self._knows_the_last(job_id),
            )
            for job_id in self._ids
        ]

    def _knows_the_last(self, job_id: str) -> bool:
        entries = self.driven.client.xrevrange(self.driven.key(f"jstream:{job_id}"), count=1)
        mark = self.driven.job(job_id).get("x-py:chunks", "")
        return bool(entries) and entries[0][0].decode() in mark


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=st.lists(STEPS, max_size=40))
def test_trusting_the_era_changes_nothing_that_anybody_sees(
    raw: Any, queue_name: str, call: Call, steps: Sequence[tuple[str, int]]
) -> None:
    names = [f"{queue_name}-{how}-{next(_examples)}" for how in ("trusting", "careful")]
    trusting, careful = (Scene(DrivenQueue(raw, name, call), trusting=name is names[0]) for name in names)
    for what, number in (("add", 0), ("start", 0), ("write", 0), *steps):
        trusting.do(what, number)
        careful.do(what, number)
    assert trusting.replies == careful.replies
    assert trusting.seen() == careful.seen()


_examples = itertools.count()
