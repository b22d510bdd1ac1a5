"""What a service manager is told, over a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from glidemq_supervisor.systemd import ServiceNotifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(5)
        yield receiver


def test_states_are_sent(manager: socket.socket) -> None:
    notifier = ServiceNotifier({"NOTIFY_SOCKET": manager.getsockname()})
    notifier.ready()
    notifier.stopping()
    notifier.reloading()
    assert manager.recv(100) == b"READY=1"
    assert manager.recv(100) == b"STOPPING=1"
    assert manager.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")


def test_abstract_addresses_work() -> None:
    name = f"glidemq-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + name)
        receiver.settimeout(5)
        ServiceNotifier({"NOTIFY_SOCKET": "@" + name}).ready()
        assert receiver.recv(100) == b"READY=1"


def test_watchdog_is_kept_quiet_twice_as_often_as_needed(manager: socket.socket) -> None:
    notifier = ServiceNotifier({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "2000000"})
    for now in (100.0, 100.5, 100.9, 101.0, 101.9, 102.0):
        notifier.keep_watchdog_quiet(now)
    manager.setblocking(False)
    received = 0
    with pytest.raises(BlockingIOError):
        while manager.recv(100) == b"WATCHDOG=1":
            received += 1
    assert received == 3


@pytest.mark.parametrize(
    "environment", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}]
)
def test_nothing_is_sent_to_nobody(environment: dict[str, str]) -> None:
    notifier = ServiceNotifier(environment)
    notifier.ready()
    notifier.keep_watchdog_quiet(1.0)


def test_manager_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    ServiceNotifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready()
