"""Telling a service manager how the supervisor is doing: the sd_notify protocol, without its library."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping


class ServiceNotifier:
    """Sends datagrams to the socket that `NOTIFY_SOCKET` names; does nothing where there is none.

    Owns: nothing between two messages; each opens and closes its own socket, so that no child inherits one.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ is how an abstract address is written down.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_s = _watchdog_interval_s(environment)
        self._last_watchdog = 0.0

    def ready(self) -> None:
        self._send("READY=1")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def keep_watchdog_quiet(self, now: float) -> None:
        """Called by the supervisor's loop at each turn: only a loop that turns is alive."""
        if self._watchdog_s is not None and now - self._last_watchdog >= self._watchdog_s / 2:
            self._last_watchdog = now
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as notifier:
                notifier.setblocking(False)
                notifier.sendto(message.encode(), self._address)
        except OSError:
            pass  # the manager is gone or busy: work goes on, and its own time-outs tell it


def _watchdog_interval_s(environment: Mapping[str, str]) -> float | None:
    try:
        interval_us = int(environment.get("WATCHDOG_USEC", "0"))
        meant_for = int(environment.get("WATCHDOG_PID", str(os.getpid())))
    except ValueError:
        return None
    return interval_us / 1e6 if interval_us > 0 and meant_for == os.getpid() else None
