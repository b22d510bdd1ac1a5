"""The status board: one page per process, one writer per word, notes that are never torn."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

import pytest

from glidemq.shared_memory.doorbell import Doorbell
from glidemq.shared_memory.status_board import StatusBoard
from glidemq.shared_memory.status_slot import (
    NOTE_BYTES,
    SLOT_BYTES,
    Control,
    KillReason,
    ProcessRole,
    ProcessState,
)
from tests.shared_memory.forked import Forked, mappings_of, open_descriptors

ACTORS = 3
INTEGERS = [
    "generation",
    "pid",
    "deadline_ns",
    "started_ns",
    "beat_ns",
    "ready_ns",
    "jobs_done",
    "jobs_failed",
    "current_seq",
    "job_started_ns",
    "held",
    "connected",
    "harvested_generation",
]


@pytest.fixture
def board() -> Iterator[StatusBoard]:
    board = StatusBoard.create(ACTORS)
    yield board
    board.close()


def test_every_process_has_a_page_of_its_own(board: StatusBoard) -> None:
    assert board.slots == ACTORS + 1
    assert os.fstat(board.fd).st_size == (ACTORS + 1) * mmap.PAGESIZE
    for index in range(board.slots):
        board.slot(index).pid = 100 + index
    again = StatusBoard.attach(board.fd)
    assert [again.slot(index).pid for index in range(again.slots)] == [100, 101, 102, 103]
    assert again.gateway.pid == 100
    again.close()


def test_board_without_actors_has_the_gateway_s_page() -> None:
    board = StatusBoard.create(0)
    board.gateway.pid = 7
    assert board.slots == 1
    assert board.gateway.pid == 7
    board.close()


def test_no_word_lies_on_another(board: StatusBoard) -> None:
    slot = board.slot(1)
    slot.set_note("a note " * 30)
    slot.role, slot.control, slot.state = ProcessRole.ASYNC_ACTOR, Control.STOP, ProcessState.DRAINED
    slot.kill_reason, slot.gateway_kill_reason = KillReason.HUNG, KillReason.JOB_TIMEOUT
    slot.exit_status = 9
    for number, name in enumerate(INTEGERS, 1):
        setattr(slot, name, (1 << 64) - number)
    slot.bell(-1).cancel_sleep()
    assert [getattr(slot, name) for name in INTEGERS] == [(1 << 64) - number for number in range(1, 14)]
    assert (slot.role, slot.control, slot.state) == (
        ProcessRole.ASYNC_ACTOR,
        Control.STOP,
        ProcessState.DRAINED,
    )
    assert (slot.kill_reason, slot.gateway_kill_reason) == (KillReason.HUNG, KillReason.JOB_TIMEOUT)
    assert slot.exit_status == 9
    assert slot.note == "a note " * 30


def test_states_read_as_their_enums(board: StatusBoard) -> None:
    slot = board.slot(2)
    assert slot.state is ProcessState.EMPTY
    assert slot.control is Control.RUN
    assert slot.role is ProcessRole.NONE
    slot.state = ProcessState.DRAINING
    assert slot.state is ProcessState.DRAINING


@pytest.mark.parametrize("wait_status", [0, 256, 9])
def test_exit_status_tells_ended_well_from_not_ended(board: StatusBoard, wait_status: int) -> None:
    slot = board.slot(1)
    assert slot.exit_status is None
    slot.exit_status = wait_status
    assert slot.exit_status == wait_status
    slot.exit_status = None
    assert board.slot(1).exit_status is None


def test_begin_forgets_the_dead_process_but_not_what_outlives_it(board: StatusBoard) -> None:
    slot = board.slot(1)
    bell_fd = Doorbell.create_fd()
    bell = slot.bell(bell_fd)
    bell.prepare_sleep()
    for name in INTEGERS:
        setattr(slot, name, 5)
    slot.exit_status, slot.control, slot.kill_reason = 9, Control.STOP, KillReason.HUNG
    slot.gateway_kill_reason = KillReason.JOB_TIMEOUT
    slot.set_note("job 1")
    slot.begin(6, ProcessRole.SYNC_ACTOR, now_ns=77)
    kept = {"generation": 6, "started_ns": 77, "harvested_generation": 5}
    assert {name: getattr(slot, name) for name in INTEGERS} == dict.fromkeys(INTEGERS, 0) | kept
    assert (slot.state, slot.role, slot.control) == (
        ProcessState.STARTING,
        ProcessRole.SYNC_ACTOR,
        Control.RUN,
    )
    assert (slot.kill_reason, slot.gateway_kill_reason) == (KillReason.NONE, KillReason.NONE)
    assert board.slot(1).exit_status is None
    assert slot.note == ""
    assert bell.ring(), "the sleep number goes on, so that nobody confuses two sleeps"
    os.close(bell_fd)


def test_actor_maps_its_own_page_and_may_only_look_at_the_gateway_s(board: StatusBoard) -> None:
    actor = StatusBoard.attach_actor(board.fd, 2)
    actor.slot(2).state = ProcessState.READY
    assert board.slot(2).state is ProcessState.READY
    board.gateway.beat_ns = 12
    assert actor.gateway.beat_ns == 12
    with pytest.raises(TypeError, match="read-only"):
        actor.gateway.beat_ns = 13
    with pytest.raises(ValueError, match="not mapped"):
        actor.slot(1)
    actor.close()


@pytest.mark.parametrize("index", [-1, 0, ACTORS + 1])
def test_actor_cannot_attach_a_page_that_is_no_actor_s(board: StatusBoard, index: int) -> None:
    with pytest.raises(ValueError, match=r"1\.\.3"):
        StatusBoard.attach_actor(board.fd, index)


def test_actor_rings_the_gateway_through_the_read_only_page(board: StatusBoard) -> None:
    fd = Doorbell.create_fd()
    sleeper = board.gateway.bell(fd)
    actor = StatusBoard.attach_actor(board.fd, 1)
    sleeper.prepare_sleep()
    assert actor.gateway.bell(fd).ring()
    assert sleeper.wait(5)
    actor.close()
    os.close(fd)


@pytest.mark.parametrize("text", ["", "42 of thumbnails", "größe", "x" * NOTE_BYTES])
def test_note_comes_back_as_it_was(board: StatusBoard, text: str) -> None:
    slot = board.slot(1)
    slot.set_note("something longer that was there before")
    slot.set_note(text)
    assert slot.note == text


def test_long_note_is_cut(board: StatusBoard) -> None:
    board.slot(1).set_note("ü" * NOTE_BYTES)
    assert board.slot(1).note == "ü" * (NOTE_BYTES // 2)


def test_overwritten_note_is_seen_as_none(board: StatusBoard) -> None:
    slot = board.slot(1)
    slot.set_note("job 42")
    raw = board._segments[0].buffer
    raw[raw.find(b"job 42")] = ord("J")
    assert slot.note == ""


def test_note_that_changes_all_the_time_is_never_seen_mixed(board: StatusBoard) -> None:
    def child() -> None:
        slot = StatusBoard.attach_actor(board.fd, 1).slot(1)
        number = 0
        while slot.control is Control.RUN:
            number += 1
            slot.set_note(chr(ord("a") + number % 26) * (number % NOTE_BYTES))

    slot = board.slot(1)
    with Forked(child) as process:
        seen: set[str] = set()
        while len(seen) < 300:
            note = slot.note
            assert len(set(note)) <= 1, note
            seen.add(note)
        slot.control = Control.STOP
        process.join()


def test_closing_leaves_neither_descriptor_nor_mapping() -> None:
    before = open_descriptors()
    board = StatusBoard.create(2, name="tidy-board")
    actor = StatusBoard.attach_actor(board.fd, 1)
    assert mappings_of("tidy-board") == 3
    for each in (actor, board, board):
        each.close()
    assert mappings_of("tidy-board") == 0
    assert open_descriptors() == before


def test_page_holds_all_words_and_the_note() -> None:
    assert SLOT_BYTES >= 4096
    assert SLOT_BYTES % mmap.PAGESIZE == 0
