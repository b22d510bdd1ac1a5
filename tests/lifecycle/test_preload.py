"""`--preload`: actors forked from a process that has imported the app."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.lifecycle.conftest import Supervise
from tests.lifecycle.supervised import Supervised, is_gone, wait_until


def zygote_of(supervised: Supervised) -> int:
    return wait_until(lambda: named(supervised, "gmq app zygote"), "there is a zygote")[-1]


def named(supervised: Supervised, name: str) -> list[int]:
    return [pid for pid in supervised.tree() if Path(f"/proc/{pid}/comm").read_text().strip() == name]


def parent_of(pid: int) -> int:
    stat = Path(f"/proc/{pid}/stat").read_text()
    return int(stat[stat.rindex(")") + 2 :].split()[1])


def test_actors_get_the_app_that_the_zygote_has_imported(supervise: Supervise) -> None:
    supervised = supervise(preload=True).started()
    started = [entry for entry in supervised.journal(event="started") if entry.label.startswith("actor")]
    assert [entry.details[2] for entry in started] == ["stand:in", "stand:in"]
    assert {parent_of(entry.pid) for entry in started} == {supervised.pid}  # adopted
    supervised.signal(signal.SIGTERM)
    assert supervised.wait() == 0
    assert supervised.tree() == []


@pytest.mark.parametrize(
    ("leftover", "name"),
    [
        ("thread", "a running thread 'app-poller'"),
        ("loop", "an event loop (asyncio."),
        ("socket", "an open connection to"),
    ],
)
def test_import_that_leaves_something_behind_is_refused_by_name(
    supervise: Supervise, leftover: str, name: str
) -> None:
    supervised = supervise(preload=True)
    supervised.write_app(leaves=[leftover])
    supervised.start()
    assert supervised.wait() == 2
    (line,) = [line for line in supervised.log().splitlines() if "--preload" in line]
    assert name in line
    assert "or start without --preload" in line
    assert not supervised.journal(event="ready")
    assert supervised.tree() == []


def test_actors_survive_the_zygote_but_not_the_supervisor(supervise: Supervise) -> None:
    supervised = supervise(preload=True).started()
    actors = [supervised.pid_of("actor-0-0"), supervised.pid_of("actor-0-1")]
    zygote = zygote_of(supervised)
    os.kill(zygote, signal.SIGKILL)
    supervised.wait_for_log("a new one is started, running processes go on")
    wait_until(lambda: zygote_of(supervised) != zygote, "a new zygote")
    supervised.order("actor-0-0", "die", "SIGKILL")
    supervised.wait_for("actor-0-0", "ready", count=2)
    assert not is_gone(actors[1])
    supervised.signal(signal.SIGKILL)
    supervised.wait()
    wait_until(lambda: supervised.tree() == [], "all processes are gone", timeout_s=2.0)


def test_sighup_starts_a_fresh_zygote_and_retires_the_old(supervise: Supervise) -> None:
    supervised = supervise(preload=True).started()
    zygote = zygote_of(supervised)
    supervised.signal(signal.SIGHUP)
    supervised.wait_for_log("reloaded: ")
    wait_until(lambda: is_gone(zygote), "the old zygote is gone")
    assert len(named(supervised, "gmq app zygote")) == 1
    assert [len(supervised.journal(f"actor-0-{slot}", "ready")) for slot in (0, 1)] == [2, 2]


def test_reload_that_leaves_a_thread_keeps_the_old_processes_and_their_zygote(supervise: Supervise) -> None:
    supervised = supervise(preload=True, procs=1).started()
    zygote = zygote_of(supervised)
    supervised.write_app(leaves=["thread"])
    supervised.signal(signal.SIGHUP)
    assert "a running thread 'app-poller'" in supervised.wait_for_log("not reloaded")
    wait_until(lambda: named(supervised, "gmq app zygote") == [zygote], "only the old zygote is there")
    supervised.order("actor-0-0", "die", "SIGKILL")
    supervised.wait_for("actor-0-0", "ready", count=2)


def test_adopted_actor_leads_its_own_group_and_holds_no_socket_of_the_zygote(supervise: Supervise) -> None:
    supervised = supervise(preload=True, procs=1).started()
    supervised.order("actor-0-0", "look")
    looked = supervised.wait_for("actor-0-0", "looked")
    assert looked.details[0]["group"] == looked.pid
    assert looked.details[0]["parent"] == supervised.pid
    targets = [str(fd.readlink()) for fd in Path(f"/proc/{looked.pid}/fd").iterdir()]
    assert not [target for target in targets if target.startswith("socket:")]
