"""Actor processes that have run for long enough are replaced, one at a time."""

from __future__ import annotations

from tests.lifecycle.conftest import Supervise


def test_actor_is_replaced_after_its_share_of_jobs(supervise: Supervise) -> None:
    supervised = supervise(procs=2, max_jobs=100, recycle_jitter=0.0).started()
    supervised.order("actor-0-0", "done", 99)
    supervised.order("actor-0-1", "done", 100)
    supervised.wait_for("actor-0-1", "ready", count=2)
    assert "it has done 100 jobs (--max-jobs 100)" in supervised.wait_for_log("actor 0.1 (pid")
    assert len(supervised.journal("actor-0-0", "started")) == 1
    assert supervised.journal("gateway-0", "harvested")[0].details == [1, 1, 0, "NONE"]


def test_actors_due_together_are_replaced_one_after_the_other(supervise: Supervise) -> None:
    supervised = supervise(procs=2, max_jobs=10).started()
    supervised.order("actor-0-1", "begin", 7)
    supervised.wait_for("actor-0-1", "did")
    supervised.order("actor-0-0", "begin", 8)
    supervised.wait_for("actor-0-0", "did")
    supervised.order("actor-0-0", "done", 10)
    supervised.order("actor-0-1", "done", 10)
    first = supervised.wait_for_log("finishes what it runs and is replaced")
    supervised.order("actor-0-0", "end")
    supervised.order("actor-0-1", "end")
    supervised.wait_for("actor-0-0", "ready", count=2)
    supervised.wait_for("actor-0-1", "ready", count=2)
    earlier, later = ("actor-0-0", "actor-0-1") if "actor 0.0" in first else ("actor-0-1", "actor-0-0")
    assert supervised.journal(earlier, "ready")[1].time < supervised.journal(later, "told")[0].time


def test_actor_that_has_grown_is_replaced(supervise: Supervise) -> None:
    supervised = supervise(procs=1, max_rss=100 << 20).started()
    supervised.order("actor-0-0", "grow", 125)
    supervised.order("actor-0-0", "done", 1)
    supervised.wait_for("actor-0-0", "ready", count=2)
    assert "MB (--max-rss 105 MB)" in supervised.wait_for_log("is replaced: it uses")


def test_actor_is_replaced_when_it_is_old(supervise: Supervise) -> None:
    supervised = supervise(procs=1, max_age=1.0).started()
    supervised.wait_for("actor-0-0", "ready", count=2)
    assert "s old (--max-age 1)" in supervised.wait_for_log("is replaced: it is")
