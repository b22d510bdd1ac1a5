"""Asks a server on a Unix socket whether it is ready, in steps that never wait."""

from __future__ import annotations

import socket


class ReadinessProbe:
    """One PING in progress. `step` moves it on; None means "no answer yet".

    Owns: one plain socket, until there is an answer or `close`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._connection: socket.socket | None = None

    def step(self) -> bool | None:
        """True: it answered PONG. False: nobody is there, or it is still loading. None: ask again later."""
        try:
            if self._connection is None:
                self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                self._connection.setblocking(False)
                self._connection.connect(self.path)
                self._connection.send(b"PING\r\n")
            answer = self._connection.recv(64)
        except BlockingIOError:
            return None
        except (OSError, ValueError):  # ValueError: the path that was recorded is none
            self.close()
            return False
        self.close()
        return answer.startswith(b"+PONG")

    def close(self) -> None:
        """Forget the PING in progress, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
