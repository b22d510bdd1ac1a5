"""Signals: nothing lost, nothing done in the handler."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator

import pytest

from glidemq_supervisor.signals import SignalInbox


@pytest.fixture
def inbox() -> Iterator[SignalInbox]:
    inbox = SignalInbox()
    yield inbox
    inbox.close()


def readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_signals_are_taken_in_the_order_of_their_arrival(inbox: SignalInbox) -> None:
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP):
        signal.raise_signal(number)
    assert readable(inbox.fd)
    assert inbox.take() == [signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP]
    assert not readable(inbox.fd)
    assert inbox.take() == []


def test_sleeping_loop_is_woken(inbox: SignalInbox) -> None:
    poll = select.poll()
    poll.register(inbox.fd, select.POLLIN)
    os.kill(os.getpid(), signal.SIGTTIN)
    assert poll.poll(5000)
    assert inbox.take() == [signal.SIGTTIN]


def test_full_pipe_loses_no_signal(inbox: SignalInbox) -> None:
    _, write_fd = inbox.descriptors
    with pytest.raises(BlockingIOError):
        while True:
            os.write(write_fd, b"\0" * 4096)
    signal.raise_signal(signal.SIGTERM)
    assert inbox.take() == [signal.SIGTERM]


def test_close_gives_the_handlers_back() -> None:
    before = signal.getsignal(signal.SIGHUP)
    inbox = SignalInbox()
    assert signal.getsignal(signal.SIGHUP) != before
    inbox.close()
    assert signal.getsignal(signal.SIGHUP) == before
