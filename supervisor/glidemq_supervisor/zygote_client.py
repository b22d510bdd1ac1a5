"""The supervisor's end of one zygote's request socket."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glidemq_supervisor.zygote import MAX_MESSAGE_BYTES


@dataclass(frozen=True, slots=True)
class ForkAnswer:
    """The zygote's answer to one request."""

    key: str
    pid: int | None  # None: it could not be forked


class ZygoteClient:
    """Asks a zygote for actor processes, without ever waiting for it.

    Owns: its end of the socket. Stops when: closed, or `lost` because the zygote has hung up.
    """

    def __init__(self, requests: socket.socket, pid: int) -> None:
        requests.setblocking(False)
        self._requests = requests
        self.pid = pid
        self.pending: set[str] = set()  # keys of requests without an answer
        self.lost = False

    def fileno(self) -> int:
        return self._requests.fileno()

    def request(self, key: str, members: dict[str, Any], descriptors: Sequence[int]) -> bool:
        """Ask for a process; False if the zygote cannot take the request now."""
        message = json.dumps({"key": key, **members}).encode()
        try:
            socket.send_fds(self._requests, [message], descriptors)
        except OSError:  # its queue is full, or it is gone, which `receive` will notice
            return False
        self.pending.add(key)
        return True

    def receive(self) -> list[ForkAnswer]:
        """The answers that have come in. A zygote that hangs up leaves its last requests `pending`."""
        answers: list[ForkAnswer] = []
        with contextlib.suppress(BlockingIOError):
            while not self.lost:
                try:
                    message = self._requests.recv(MAX_MESSAGE_BYTES)
                except ConnectionResetError:
                    message = b""
                if not message:
                    self.lost = True
                    break
                answer = json.loads(message)
                self.pending.discard(answer["key"])
                answers.append(ForkAnswer(answer["key"], answer["pid"]))
        return answers

    def retire(self) -> None:
        """Ask for nothing more: the zygote answers what it was asked, and ends."""
        with contextlib.suppress(OSError):
            self._requests.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._requests.close()
