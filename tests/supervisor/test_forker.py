"""Forking: what a child comes to, and what a fork that fails leaves behind."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable

import pytest

from glidemq.errors import ConfigurationError
from glidemq_supervisor.descriptors import DescriptorLedger
from glidemq_supervisor.forker import ChildSetup, Forker
from glidemq_supervisor.reaper import ChildExit, Reaper, reap_group_of

SETUP = ChildSetup("test child", frozenset())


def status_of(body: Callable[[], int]) -> int:
    pid = Forker(DescriptorLedger()).fork_call(body, SETUP)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    dead = reap_group_of(pid)
    assert dead is not None
    return dead.code


def raises(error: BaseException) -> Callable[[], int]:
    def body() -> int:
        raise error

    return body


def dies() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (lambda: 0, 0),
        (lambda: 7, 7),
        (raises(SystemExit(5)), 5),
        (raises(SystemExit()), 0),
        (raises(SystemExit("a text")), 1),
        (raises(ConfigurationError("do this instead")), 1),
        (raises(KeyboardInterrupt()), 1),
        (raises(RuntimeError("x")), 1),
        (dies, -signal.SIGKILL),
    ],
)
def test_what_the_body_does_becomes_the_status(body: Callable[[], int], code: int) -> None:
    assert status_of(body) == code


def test_child_never_returns_into_its_parent_s_code() -> None:
    parent = os.getpid()
    assert status_of(raises(GeneratorExit())) == 1
    assert os.getpid() == parent


def test_fork_that_fails_leaves_no_signal_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])

    def refuse() -> int:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)  # root is exempt from the limits that would refuse it
    with pytest.raises(OSError, match="temporarily unavailable"):
        Forker(DescriptorLedger()).fork_call(lambda: 0, SETUP)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_reaper_reports_the_dead_and_leaves_the_living() -> None:
    release_read, release_write = os.pipe()
    forker = Forker(DescriptorLedger())
    sleeper = forker.fork_call(lambda: len(os.read(release_read, 1)), SETUP)
    dead = forker.fork_call(lambda: 3, SETUP)
    os.waitid(os.P_PID, dead, os.WEXITED | os.WNOWAIT)
    reaper = Reaper()
    assert [(exit_.pid, exit_.code) for exit_ in reaper.reap(lambda: [sleeper, dead])] == [(dead, 3)]
    os.write(release_write, b"x")
    reaper.wait_for(sleeper)
    os.close(release_read)
    os.close(release_write)


def test_pid_that_is_not_ours_yet_counts_as_living() -> None:
    assert reap_group_of(1) is None


@pytest.mark.parametrize(
    ("wait_status", "words"),
    [
        (0, "exited with status 0"),
        (3 << 8, "exited with status 3"),
        (11, "was killed by SIGSEGV"),
        (11 | 0x80, "was killed by SIGSEGV"),
        (40, "was killed by signal 40"),
    ],
)
def test_exits_in_words(wait_status: int, words: str) -> None:
    assert str(ChildExit(1, wait_status)) == words
