"""A slot's phases: every legal step works, every other one is refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from glidemq.process_spec import Crew
from glidemq.shared_memory import Control, Doorbell, ProcessRole, ProcessState, StatusBoard
from glidemq_supervisor.process_slot import LEGAL_TRANSITIONS, Phase, ProcessSlot, SlotAddress

# As the diagram in the docstring draws it, written down a second time on purpose.
DRAWN = {
    ("VACANT", "WAITING"),
    ("WAITING", "VACANT"),
    ("WAITING", "FORKING"),
    ("WAITING", "RUNNING"),
    ("FORKING", "RUNNING"),
    ("FORKING", "WAITING"),
    ("FORKING", "VACANT"),
    ("RUNNING", "LEAVING"),
    ("RUNNING", "KILLED"),
    ("RUNNING", "WAITING"),
    ("RUNNING", "VACANT"),
    ("LEAVING", "KILLED"),
    ("LEAVING", "WAITING"),
    ("LEAVING", "VACANT"),
    ("KILLED", "WAITING"),
    ("KILLED", "VACANT"),
}


@pytest.fixture
def board() -> Iterator[StatusBoard]:
    board = StatusBoard.create(2)
    yield board
    board.close()


@pytest.fixture
def bells() -> Iterator[list[int]]:
    import os

    fds = [Doorbell.create_fd() for _ in range(2)]
    yield fds
    for fd in fds:
        os.close(fd)


@pytest.fixture
def actor(board: StatusBoard, bells: list[int]) -> ProcessSlot:
    own = board.slot(1).bell(bells[1])
    return ProcessSlot(
        SlotAddress(0, Crew("default", "sync"), 0), board.slot(1), own, board.gateway.bell(bells[0])
    )


@pytest.fixture
def gateway(board: StatusBoard, bells: list[int]) -> ProcessSlot:
    return ProcessSlot(SlotAddress(0, None), board.gateway, board.gateway.bell(bells[0]))


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Phase, Phase)))
def test_every_pair_of_phases(actor: ProcessSlot, before: Phase, after: Phase) -> None:
    actor._phase = before
    if (before.name, after.name) in DRAWN:
        actor.phase = after
        assert actor.phase is after
    else:
        with pytest.raises(AssertionError, match="no legal transition"):
            actor.phase = after


def test_every_phase_can_be_left() -> None:
    assert set(LEGAL_TRANSITIONS) == set(Phase)
    assert all(LEGAL_TRANSITIONS.values())


def test_life_of_an_actor_as_its_page_shows_it(actor: ProcessSlot, bells: list[int]) -> None:
    page = actor.page
    actor.want(now=1.0)
    assert actor.begin(app_epoch=3) == 1
    assert (page.generation, page.role, page.state, page.control) == (
        1,
        ProcessRole.SYNC_ACTOR,
        ProcessState.STARTING,
        Control.RUN,
    )
    actor.forked(4321, now=1.0)
    assert (page.pid, actor.app_epoch, actor.ready) == (4321, 3, False)
    page.state = ProcessState.READY
    assert actor.ready
    actor.drain()
    assert (page.control, actor.phase, actor.ready) == (Control.DRAIN, Phase.LEAVING, False)
    for fd in bells:  # the actor's own, and the gateway's, which takes back what has not started
        assert _rung(fd)
    actor.gone(wait_status=0, now=2.0)
    assert (page.pid, page.exit_status, page.state, actor.phase) == (0, 0, ProcessState.DEAD, Phase.WAITING)
    assert _rung(bells[0])  # for the harvest
    assert not actor.harvested
    page.harvested_generation = 1
    assert actor.harvested


def test_drained_gateway_stays_until_it_is_stopped(gateway: ProcessSlot) -> None:
    gateway.want(now=1.0)
    gateway.begin(1)
    gateway.forked(4321, now=1.0)
    gateway.drain(deadline_ns=77)
    assert (gateway.phase, gateway.page.deadline_ns) == (Phase.RUNNING, 77)
    gateway.stop()
    assert (gateway.phase, gateway.page.control) == (Phase.LEAVING, Control.STOP)


def test_successor_of_a_draining_gateway_finds_the_same_order(gateway: ProcessSlot) -> None:
    gateway.want(now=1.0)
    gateway.begin(1)
    gateway.forked(4321, now=1.0)
    gateway.drain(deadline_ns=77)
    gateway.gone(wait_status=9, now=2.0)
    gateway.begin(1)
    assert (gateway.page.control, gateway.page.deadline_ns) == (Control.DRAIN, 77)


def test_successor_of_a_drained_actor_runs(actor: ProcessSlot) -> None:
    actor.want(now=1.0)
    actor.begin(1)
    actor.forked(4321, now=1.0)
    actor.drain()
    actor.gone(wait_status=0, now=2.0)
    actor.begin(2)
    assert actor.page.control is Control.RUN


def test_abandoned_fork_uses_its_generation_up(actor: ProcessSlot) -> None:
    actor.want(now=1.0)
    actor.begin(1)
    actor.phase = Phase.FORKING
    actor.abandon_fork(due=5.0)
    assert (actor.phase, actor.page.state, actor.generation) == (Phase.WAITING, ProcessState.DEAD, 1)
    actor.page.harvested_generation = (
        1  # the gateway has seen a death of generation 1, and must see the next one
    )
    assert actor.begin(1) == 2


def test_retired_slot_is_not_filled_again(actor: ProcessSlot) -> None:
    actor.want(now=1.0)
    actor.retire()
    assert actor.phase is Phase.VACANT
    actor.want(now=1.0)
    actor.begin(1)
    actor.forked(4321, now=1.0)
    actor.retire()
    actor.gone(wait_status=0, now=2.0)
    assert actor.phase is Phase.VACANT


def _rung(fd: int) -> bool:
    import os

    try:
        return os.eventfd_read(fd) > 0
    except BlockingIOError:
        return False
