"""Bringing the app in: at the start, at each reload, and when the zygote has to be replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from enum import Enum

from glidemq.config import RuntimeConfig
from glidemq.errors import ConfigurationError
from glidemq_supervisor import manifest as manifests
from glidemq_supervisor.app_probe_client import AppProbe
from glidemq_supervisor.manifest import Manifest
from glidemq_supervisor.preloaded_forks import PreloadedForks
from glidemq_supervisor.staffing import Staffing
from glidemq_supervisor.systemd import ServiceNotifier

log = logging.getLogger("glidemq.supervisor")

_NEW_ZYGOTE_RETRY_S = 5.0


class LoadPurpose(Enum):
    """Why the app is being looked at."""

    START = "start"
    RELOAD = "reload"
    NEW_ZYGOTE = "new zygote"


class AppChangeover:
    """Has the app probed and, when it is sound, lets the processes to come run it.

    Old processes are not touched here: they have a lower epoch than `Staffing.app_epoch`, and the roller
    replaces them. A broken app changes nothing. Owns: the probe under way. Stops when: `abandon`ed.
    """

    def __init__(
        self,
        config: RuntimeConfig,
        staffing: Staffing,
        preloaded: PreloadedForks,
        fork_probe: Callable[[float], AppProbe],
        notifier: ServiceNotifier,
    ) -> None:
        self._config = config
        self._staffing = staffing
        self._preloaded = preloaded
        self._fork_probe = fork_probe
        self._notifier = notifier
        self._probe: AppProbe | None = None
        self._purpose = LoadPurpose.START
        self._reload_wanted = False
        self._zygote_wanted_at: float | None = None
        self._zygote_pid: int | None = None  # of the one in use
        self.pids: set[int] = set()  # probes and zygotes not yet reaped
        self.manifest: Manifest | None = None  # of the first load
        self.error: str | None = None  # of the first load

    def begin(self, now: float) -> None:
        """Load the app for the first time."""
        self._load(LoadPurpose.START, now)

    def want_reload(self) -> None:
        """Load the app again as soon as nothing else is being loaded."""
        self._reload_wanted = True

    def child_reaped(self, pid: int, how: str, now: float) -> bool:
        """Whether the dead child was one of these; a zygote that dies unasked is replaced."""
        if pid not in self.pids:
            return False
        self.pids.remove(pid)
        if self._probe is not None and self._probe.pid == pid:
            self._probe.reaped = True
        if pid == self._zygote_pid:
            log.error("the app zygote (pid %d) %s; a new one is started, running processes go on", pid, how)
            self._zygote_wanted_at = now
        return True

    def filenos(self) -> Iterator[int]:
        if self._probe is not None:
            yield self._probe.fileno()

    def next_due(self) -> float | None:
        """When `step` has something to begin."""
        return self._zygote_wanted_at if self._probe is None else None

    def step(self, now: float) -> None:
        """Take the result of the load under way, or begin the next."""
        if self._probe is not None:
            self._probe.look(now)
            if self._probe.result is not None:
                probe, self._probe = self._probe, None
                self._take(probe, now)
        elif self._zygote_wanted_at is not None and self._zygote_wanted_at <= now:
            self._zygote_wanted_at = None
            self._load(LoadPurpose.NEW_ZYGOTE, now)
        elif self._reload_wanted and self.manifest is not None:
            self._reload_wanted = False
            log.info("looking at %s again", self._config.app)
            self._notifier.reloading()
            self._load(LoadPurpose.RELOAD, now)

    def abandon(self) -> None:
        """Give up the load under way, if there is one."""
        probe, self._probe = self._probe, None
        self._reload_wanted = False
        self._zygote_wanted_at = None
        self._zygote_pid = None
        if probe is not None:
            probe.abandon()

    def _load(self, purpose: LoadPurpose, now: float) -> None:
        self._purpose = purpose
        try:
            self._probe = self._fork_probe(now + self._config.start_timeout)
        except OSError as error:  # short of processes, memory or descriptors
            self._refuse(f"no process can be forked to import it: {error.strerror}", now)
            return
        self.pids.add(self._probe.pid)

    def _take(self, probe: AppProbe, now: float) -> None:
        assert probe.result is not None
        found, error = probe.result.manifest, probe.result.error
        if found is not None:
            try:
                found = manifests.served_here(self._config, found)
                error = manifests.why_unservable(found)
            except ConfigurationError as problem:
                error = str(problem)
            if error is None and self._purpose is not LoadPurpose.START:
                error = manifests.why_not_reloadable(self._staffing.crews, found)
        if found is None or error is not None:
            probe.abandon()
            self._refuse(error or "", now)
            return
        zygote = probe.take_zygote()
        if zygote is not None:
            self._zygote_pid = zygote.pid
            self._preloaded.use(zygote)
        if self._purpose is LoadPurpose.START:
            self.manifest = self._staffing.manifest = found
            return
        if self._purpose is LoadPurpose.RELOAD:
            self._staffing.app_epoch += 1
        self._change_manifest(found)

    def _refuse(self, error: str, now: float) -> None:
        if self._purpose is LoadPurpose.START:
            self.error = error
        elif self._purpose is LoadPurpose.RELOAD:
            log.error("the app is not reloaded, its old processes go on: %s", error)
            self._notifier.ready()
        else:
            log.error("no new app zygote: %s; trying again in %g s", error, _NEW_ZYGOTE_RETRY_S)
            self._zygote_wanted_at = now + _NEW_ZYGOTE_RETRY_S

    def _change_manifest(self, found: Manifest) -> None:
        known = manifests.merged(self._staffing.manifest, found)
        if known == self._staffing.manifest:
            return
        log.info("the app's queues have changed: %s", manifests.describe(found))
        # For gateways to come; the present ones learn of new queues from the manifests of the new actors.
        self._staffing.manifest = known
