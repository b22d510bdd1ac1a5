"""promote_job: a delayed job becomes ready where its kind waits; any other job is left alone."""

from __future__ import annotations

import pytest

from glidemq.commands.promote_job import PromoteJobCommand
from glidemq.errors import JobNotFoundError, JobStateError
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute


def promote(driven: DrivenQueue, job_id: str = "1") -> None:
    execute(driven, PromoteJobCommand(driven.key("meta"), job_id=job_id))


@pytest.mark.parametrize(
    ("kind", "place"), [({}, "stream"), ({"lifo": 1}, "lifo"), ({"priority": 4}, "priority")]
)
def test_delayed_job_starts_now(driven: DrivenQueue, kind: dict[str, int], place: str) -> None:
    driven.add(delay=60_000, **kind)
    rings = driven.rings()
    promote(driven)
    assert driven.members("scheduled") == {}
    assert (driven.state("1"), driven.field("1", "delay")) == ("waiting", "0")
    ready = driven.entries() if place == "stream" else driven.elements(place)
    assert ready == ["1"]
    assert driven.events()[-1] == {"event": "promoted", "jobId": "1"}
    # A blocked reader sees the stream, not the lists.
    assert driven.rings() == rings + (place != "stream")
    assert driven.step(1).ids == ["1"]


def test_job_waiting_for_its_retry_is_delayed_too(driven: DrivenQueue) -> None:
    driven.add()
    driven.fail(driven.start_one(), max_attempts=2, delay=60_000)
    promote(driven)
    assert driven.step(1).ids == ["1"]


@pytest.mark.parametrize("kind", [{}, {"priority": 3}])
def test_job_that_is_not_delayed_is_refused(driven: DrivenQueue, kind: dict[str, int]) -> None:
    driven.add(**kind)
    before = driven.snapshot()
    with pytest.raises(JobStateError, match=r"^Cannot promote: not_delayed$"):
        promote(driven)
    assert driven.snapshot() == before


def test_delayed_job_that_is_nowhere_is_refused(driven: DrivenQueue) -> None:
    driven.hash("1", state="delayed")
    before = driven.snapshot()
    with pytest.raises(JobStateError, match=r"^Cannot promote: not_in_scheduled$"):
        promote(driven)
    assert driven.snapshot() == before


def test_missing_job_is_not_found(driven: DrivenQueue) -> None:
    with pytest.raises(JobNotFoundError, match=r"^Cannot promote: not_found$"):
        promote(driven)
    assert driven.suffixes() == []
