"""register_child: parents that exist and have not ended expect a child before it is there."""

from __future__ import annotations

import pytest

from glidemq.commands.register_child import RegisterChildCommand
from glidemq.errors import JobNotFoundError, JobStateError
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute
from tests.lua.families import member


def register(driven: DrivenQueue, *parents: str) -> None:
    execute(driven, RegisterChildCommand(driven.key("meta"), parents=parents, member="glide:{x}:7"))


def test_all_parents_expect_the_child(driven: DrivenQueue) -> None:
    driven.add(job_id="p")
    driven.add(job_id="q")
    register(driven, "p", "q")
    for parent in ("p", "q"):
        assert set(driven.client.smembers(driven.key(f"deps:{parent}"))) == {b"glide:{x}:7"}


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_an_ended_parent_is_refused_and_no_other_expects_anything(driven: DrivenQueue, end: str) -> None:
    driven.hash("p", state="active")
    driven.hash("q", state=end)
    with pytest.raises(JobStateError, match="the parent job q has ended"):
        register(driven, "p", "q")
    assert not driven.client.exists(driven.key("deps:p"))


def test_a_missing_parent_is_refused(driven: DrivenQueue) -> None:
    with pytest.raises(JobNotFoundError, match="the parent job p does not exist"):
        register(driven, "p")
    assert not driven.client.exists(driven.key("deps:p"))


def test_a_name_that_is_none_is_refused(driven: DrivenQueue) -> None:
    driven.add(job_id="p")
    assert driven.call("register_child", parents=["p"], member="nonsense")[0] == b"bad_argument"
    assert driven.call("register_child", parents=[5], member=member(driven, "c"))[0] == b"bad_argument"
