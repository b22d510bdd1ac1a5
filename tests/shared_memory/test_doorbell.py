"""Doorbells: silent while the sleeper is awake, and no wake-up is lost."""

from __future__ import annotations

import os
import random
import resource
import select
import time
from collections.abc import Callable, Iterator

import pytest

from glidemq.errors import SharedMemoryError
from glidemq.shared_memory import doorbell
from glidemq.shared_memory.doorbell import Doorbell, ring_fd
from glidemq.shared_memory.segment import Segment
from tests.shared_memory.forked import Forked

PING_PONGS = 100_000
SAFETY_S = 10.0
SLEEP_A, SLEEP_B, COUNT_A, COUNT_B = 0, 16, 32, 48


class Bells:
    """Two doorbells and two counters in one segment."""

    def __init__(self) -> None:
        self.segment = Segment.create(4096, name="bells")
        self.fds = (Doorbell.create_fd(), Doorbell.create_fd())

    def attach(self) -> tuple[Doorbell, Doorbell, memoryview]:
        words = Segment.attach(self.segment.fd, 4096).words(0, 64)
        return (
            Doorbell(self.fds[0], words[SLEEP_A : SLEEP_A + 1]),
            Doorbell(self.fds[1], words[SLEEP_B:]),
            words,
        )


@pytest.fixture
def bells() -> Iterator[Bells]:
    bells = Bells()
    yield bells
    for fd in bells.fds:
        os.close(fd)
    bells.segment.close()


def rung(bell: Doorbell) -> bool:
    return bool(select.select([bell], [], [], 0)[0])


def test_awake_sleeper_costs_the_ringer_nothing(bells: Bells) -> None:
    bell = bells.attach()[0]
    assert bell.ring() is False
    assert not rung(bell)


def test_sleeper_is_rung_once_for_each_sleep(bells: Bells) -> None:
    sleeper, ringer = bells.attach()[0], bells.attach()[0]
    for _ in range(3):
        sleeper.prepare_sleep()
        assert [ringer.ring() for _ in range(5)] == [True, False, False, False, False]
        assert sleeper.wait(SAFETY_S) is True
        assert not rung(sleeper)
        assert ringer.ring() is False


def test_ring_between_the_last_look_and_the_wait_is_not_lost(bells: Bells) -> None:
    sleeper, ringer = bells.attach()[0], bells.attach()[0]
    sleeper.prepare_sleep()
    ringer.ring()
    began = time.monotonic()
    assert sleeper.wait(SAFETY_S) is True
    assert time.monotonic() - began < SAFETY_S / 2


def test_preparing_twice_makes_every_ringer_ring_again(bells: Bells) -> None:
    sleeper, ringer = bells.attach()[0], bells.attach()[0]
    sleeper.prepare_sleep()
    assert ringer.ring()
    os.eventfd_read(sleeper.fileno())  # somebody else took the ring
    sleeper.prepare_sleep()
    assert ringer.ring()
    assert sleeper.wait(SAFETY_S) is True


def test_cancelled_sleep_needs_no_ring(bells: Bells) -> None:
    sleeper, ringer = bells.attach()[0], bells.attach()[0]
    sleeper.prepare_sleep()
    sleeper.cancel_sleep()
    assert ringer.ring() is False
    sleeper.cancel_sleep()
    assert ringer.ring() is False


def test_wait_without_a_ring_ends_at_its_deadline_and_not_before(bells: Bells) -> None:
    sleeper, ringer = bells.attach()[0], bells.attach()[0]
    sleeper.prepare_sleep()
    began = time.monotonic()
    assert sleeper.wait(0.02) is False
    assert time.monotonic() - began >= 0.02
    assert ringer.ring() is False, "it is awake again"


def test_unconditional_ring_wakes_a_sleeper_that_said_nothing(bells: Bells) -> None:
    sleeper = bells.attach()[0]
    for ring in (sleeper.ring_always, lambda: ring_fd(bells.fds[0])):
        ring()
        ring()
        assert sleeper.wait(SAFETY_S) is True
        assert not rung(sleeper)


def test_full_eventfd_does_not_block_the_ringer(bells: Bells) -> None:
    sleeper = bells.attach()[0]
    os.eventfd_write(bells.fds[0], (1 << 64) - 2)
    sleeper.ring_always()
    assert sleeper.wait(SAFETY_S) is True


def test_sleeper_killed_in_its_sleep_is_succeeded_by_one_that_is_rung(bells: Bells) -> None:
    def child() -> None:
        bells.attach()[0].prepare_sleep()

    with Forked(child) as process:
        process.join()
    ringer, successor = bells.attach()[0], bells.attach()[0]
    assert ringer.ring()
    assert successor.wait(SAFETY_S) is True
    successor.prepare_sleep()
    assert ringer.ring()
    assert successor.wait(SAFETY_S) is True


def test_sleeper_fences_after_it_has_said_that_it_sleeps(
    bells: Bells, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper, ringer = bells.attach()[0], bells.attach()[0]
    rung_at_the_fence: list[bool] = []
    monkeypatch.setattr(doorbell, "full_fence", lambda: rung_at_the_fence.append(ringer.ring()))
    sleeper.prepare_sleep()
    assert rung_at_the_fence == [True]


def test_ringer_may_map_the_sleep_number_read_only(bells: Bells) -> None:
    sleeper = bells.attach()[0]
    words = Segment.attach(bells.segment.fd, 4096, writable=False).words(0, 1)
    ringer = Doorbell(bells.fds[0], words)
    sleeper.prepare_sleep()
    assert ringer.ring()
    assert sleeper.wait(SAFETY_S)


def play(mine: Doorbell, theirs: Doorbell, words: memoryview, own: int, other: int, first: bool) -> None:
    """Answer each count of the other side with the same count; never may a wait reach its safety deadline."""
    chance = random.Random(own)
    for turn in range(1, PING_PONGS + 1):
        if first:
            words[own] = turn
            theirs.ring()
        while words[other] != turn:
            mine.prepare_sleep()
            for _ in range(chance.randrange(3)):  # let the ring fall before, into and after the last look
                pass
            if words[other] == turn:
                mine.cancel_sleep()
            else:
                assert mine.wait(SAFETY_S), f"turn {turn}: the wake-up was lost"
        if not first:
            words[own] = turn
            theirs.ring()


def test_ping_pong_between_processes_never_waits_for_the_safety_poll(bells: Bells) -> None:
    def child(mine: int) -> Callable[[], None]:
        def run() -> None:
            first, second, words = bells.attach()
            if mine == 0:
                play(first, second, words, COUNT_A, COUNT_B, True)
            else:
                play(second, first, words, COUNT_B, COUNT_A, False)

        return run

    with Forked(child(0)) as ping, Forked(child(1)) as pong:
        ping.join()
        pong.join()
    assert bells.segment.words(8 * COUNT_B, 1)[0] == PING_PONGS


def test_several_ringers_share_one_bell(bells: Bells) -> None:
    ringers, rings = 3, 5_000

    def child(index: int) -> Callable[[], None]:
        def run() -> None:
            bell, _, words = bells.attach()
            for count in range(1, rings + 1):
                words[64 - 1 - index] = count
                bell.ring()

        return run

    sleeper, _, words = bells.attach()
    processes = [Forked(child(index)) for index in range(ringers)]
    try:
        while any(words[64 - 1 - index] < rings for index in range(ringers)):
            sleeper.prepare_sleep()
            if all(words[64 - 1 - index] == rings for index in range(ringers)):
                break
            assert sleeper.wait(SAFETY_S), "a wake-up was lost"
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.__exit__(None, None, None)


def test_too_few_descriptors_says_which_limit_to_raise() -> None:
    def child() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
        with pytest.raises(SharedMemoryError, match=r"eventfd.*ulimit -n"):
            for _ in range(10):
                Doorbell.create_fd()

    with Forked(child) as process:
        process.join()
