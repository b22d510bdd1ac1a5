"""Finding out what the app serves, in a child, so that the supervisor never imports it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from glidemq.config import RuntimeConfig
from glidemq.process_spec import ProbeSpec
from glidemq_supervisor.descriptors import DescriptorLedger
from glidemq_supervisor.entry_points import EntryPoints
from glidemq_supervisor.forker import ChildSetup, Forker, kill_processes
from glidemq_supervisor.zygote import Zygote
from glidemq_supervisor.zygote_client import ZygoteClient


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe found: a manifest, or one line that says what is wrong."""

    manifest: Mapping[str, Any] | None = None
    error: str | None = None


class AppProbe:
    """One child that imports the app and reports; with `--preload` it stays on as the zygote.

    Owns: the reading end of the result pipe, and the zygote's socket until it is taken.
    Stops when: `result` is there, or the deadline has passed.
    """

    def __init__(
        self,
        config: RuntimeConfig,
        entry_points: EntryPoints,
        forker: Forker,
        descriptors: DescriptorLedger,
        *,
        deadline: float,
    ) -> None:
        assert config.app is not None, "checked by the command line"
        self._app = app = config.app
        self._descriptors = descriptors
        self._deadline = deadline
        self._received = b""
        self.reaped = False
        self.result: ProbeResult | None = None
        self.zygote: ZygoteClient | None = None
        self._read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_fd, False)
        descriptors.record(self._read_fd, write_fd)
        try:
            if config.preload:
                self.pid = self._fork_zygote(config, entry_points, forker, write_fd)
            else:
                setup = ChildSetup(
                    "app probe",
                    frozenset({write_fd}),
                    shrugs_off_signals=False,
                    import_path=config.import_path,
                )
                self.pid = forker.fork(entry_points.probe, ProbeSpec(app=app, result_fd=write_fd), setup)
        except OSError:
            self._close(self._read_fd)
            raise
        finally:
            self._close(write_fd)

    def _fork_zygote(
        self, config: RuntimeConfig, entry_points: EntryPoints, forker: Forker, write_fd: int
    ) -> int:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        self._descriptors.record(ours.fileno(), theirs.fileno())
        zygote = Zygote(config, theirs, os.getpid(), entry_points.actor)
        setup = ChildSetup(
            "app zygote", frozenset({write_fd, theirs.fileno()}), import_path=config.import_path
        )
        try:
            pid = forker.fork_call(lambda: zygote.run(entry_points.preload, self._app, write_fd), setup)
        except OSError:
            self._close(ours.detach())
            raise
        finally:
            self._close(theirs.detach())
        self.zygote = ZygoteClient(ours, pid)
        return pid

    def _close(self, fd: int) -> None:
        self._descriptors.forget(fd)
        os.close(fd)

    def fileno(self) -> int:
        """Readable when the child has reported or died."""
        return self._read_fd

    def look(self, now: float) -> None:
        """Read what has come; sets `result` when it is complete, the child is dead, or time is up."""
        if self.result is not None:
            return
        try:
            while piece := os.read(self._read_fd, 65536):
                self._received += piece
        except BlockingIOError:
            if now < self._deadline:
                return
            self._finish(
                ProbeResult(
                    error=f"importing {self._app} takes too long; --start-timeout allows it more time"
                )
            )
            return
        self._finish(self._parse())

    def _parse(self) -> ProbeResult:
        if not self._received:
            return ProbeResult(
                error=f"importing {self._app} ended the process that tried it; its output may say why"
            )
        try:
            report = json.loads(self._received)
        except ValueError:
            return ProbeResult(
                error=f"importing {self._app} ended the process that tried it before it could report"
            )
        if "error" in report:
            return ProbeResult(error=report["error"])
        return ProbeResult(manifest=report)

    def _finish(self, result: ProbeResult) -> None:
        self.result = result
        self._close(self._read_fd)
        if result.error is not None:
            self.abandon()

    def take_zygote(self) -> ZygoteClient | None:
        """The zygote, if there is one; the caller closes it."""
        zygote, self.zygote = self.zygote, None
        return zygote

    def abandon(self) -> None:
        """End the child, whatever it is doing; the reaper collects it."""
        if self.result is None:
            self._finish(ProbeResult(error="the probe was abandoned"))
        if not self.reaped:
            kill_processes([self.pid])
        zygote = self.take_zygote()
        if zygote is not None:
            self._descriptors.forget(zygote.fileno())
            zygote.close()
