"""The supervisor's loop: sleep, handle signals, reap, judge, fork; each of these is a file of its own."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
from collections.abc import Iterator

from glidemq.config import RuntimeConfig
from glidemq.errors import ConfigurationError, GlideMQError
from glidemq.process_spec import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from glidemq.shared_memory import Doorbell, KillReason
from glidemq_supervisor import kernel, manifest, status_table
from glidemq_supervisor.app_changeover import AppChangeover
from glidemq_supervisor.app_probe_client import AppProbe
from glidemq_supervisor.cell import Cell
from glidemq_supervisor.cell_factory import build_cells
from glidemq_supervisor.descriptors import DescriptorLedger
from glidemq_supervisor.embedded_holder import EmbeddedHolder
from glidemq_supervisor.entry_points import EntryPoints
from glidemq_supervisor.exit_judge import ExitJudge, Fatal
from glidemq_supervisor.forker import Forker
from glidemq_supervisor.liveness import Liveness
from glidemq_supervisor.preloaded_forks import PreloadedForks
from glidemq_supervisor.process_slot import Phase, ProcessSlot
from glidemq_supervisor.reaper import ChildExit, Reaper
from glidemq_supervisor.recycling import Recycling
from glidemq_supervisor.rolling import Roller
from glidemq_supervisor.scaling import Scaling
from glidemq_supervisor.settings import SupervisorSettings
from glidemq_supervisor.shutdown import Shutdown
from glidemq_supervisor.signals import DRAIN, SignalInbox
from glidemq_supervisor.staffing import Staffing
from glidemq_supervisor.systemd import ServiceNotifier

log = logging.getLogger("glidemq.supervisor")

_EMBEDDED_POLL_S = 0.01


class Supervisor:
    """Keeps one gateway per cell and the wanted number of actors alive, and does nothing else.

    Has one thread, no event loop and no connection, so that it can fork at any time and outlives whatever
    its children run into. Owns: the process's signals, the children, the shared memory, the hold on the
    embedded server. Stops when: told to by a signal, or when restarting cannot help; `run` returns the exit
    status.
    """

    def __init__(self, config: RuntimeConfig, *, entry_points: EntryPoints | None = None) -> None:
        self._config = config
        self._entry_points = entry_points or EntryPoints()
        self._settings = settings = SupervisorSettings.from_config(config)
        self._notifier = ServiceNotifier()
        self._descriptors = DescriptorLedger()
        self._forker = Forker(self._descriptors)
        self._preloaded = PreloadedForks(self._descriptors)
        self._staffing = Staffing(config, self._entry_points, self._forker, self._preloaded)
        self._app = AppChangeover(config, self._staffing, self._preloaded, self._fork_probe, self._notifier)
        self._judge = ExitJudge(settings.restarts)
        self._liveness = Liveness(settings.liveness)
        self._roller = Roller()
        self._recycling = Recycling(settings.recycling)
        self._rates = status_table.DoneRates()
        self._embedded = EmbeddedHolder(self._descriptors)
        self._reaper = Reaper()
        self._cells: list[Cell] = []
        self._scaling: Scaling | None = None
        self._announced_epoch = 0
        self._shutdown: Shutdown | None = None
        self._exit_status: int | None = None

    # -- the loop --------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve until told to stop; returns the exit status."""
        self._bell = Doorbell.create_fd()
        self._signals = SignalInbox()
        self._descriptors.record(self._bell, *self._signals.descriptors)
        if self._config.preload:
            kernel.become_subreaper()
        try:
            self._app.begin(time.monotonic())
            if self._config.url is not None:  # else the app may still name a server of its own
                self._embedded.acquire(self._config.connection)
            while self._exit_status is None:
                self._sleep()
                self._turn(time.monotonic())
        except GlideMQError as error:  # no memory for the arena, no directory for the embedded server, …
            log.critical("%s", error)
            self._exit_status = EXIT_USAGE if isinstance(error, ConfigurationError) else EXIT_FAILED
        finally:
            self._leave_nothing_behind()
        return self._exit_status

    def _turn(self, now: float) -> None:
        """One round: everything that may have happened, in the order in which it can have happened."""
        for number in self._signals.take():
            self._handle(number, now)
        for exit_ in self._reaper.reap(lambda: self._pids(now)):
            self._buried(exit_, now)
        self._app.step(now)
        self._judge_liveness(now)
        self._embedded.poll()
        if self._shutdown is None:
            self._start_if_possible(now)
            self._roll(now)
        elif self._shutdown.step(now):
            self._exit_status = self._shutdown.exit_status
            return
        if not self._embedded.asking:
            self._staffing.fill(now)
        self._announce()
        self._rates.sample(self._slots(), now)
        self._notifier.keep_watchdog_quiet(now)

    def _sleep(self) -> None:
        """Wait for a signal, a bell or a report, at most until the next thing is due."""
        poll = select.poll()
        for fd in self._sources():
            poll.register(fd, select.POLLIN)
        now = time.monotonic()
        due = now + self._settings.tick_s
        for candidate in (
            self._staffing.next_due(now),
            self._app.next_due(),
            self._shutdown.next_due(now) if self._shutdown is not None else None,
            now + _EMBEDDED_POLL_S if self._embedded.asking else None,
        ):
            if candidate is not None:
                due = min(due, candidate)
        poll.poll(max(0.0, due - now) * 1000 + 0.999)  # rounded up: waking too early would make the loop spin
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)

    def _sources(self) -> Iterator[int]:
        yield self._signals.fd
        yield self._bell
        yield from self._app.filenos()
        yield from self._preloaded.filenos()

    def _leave_nothing_behind(self) -> None:
        """However the loop ended: no child, no descriptor, no hold."""
        self._app.abandon()
        pids = self._pids(time.monotonic())
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            self._reaper.wait_for(pid)
        self._preloaded.close()
        for cell in self._cells:
            cell.arena.close()
        self._embedded.release()
        self._signals.close()
        os.close(self._bell)

    # -- signals ---------------------------------------------------------------------------------------------

    def _handle(self, number: signal.Signals, now: float) -> None:
        if number is signal.SIGUSR1:
            status_table.log_table(status_table.statuses(self._slots(), self._rates, now))
        elif number in DRAIN:
            self._stop(now, f"{number.name} received")
        elif number is signal.SIGQUIT:
            self._stop(now, "SIGQUIT received", hurry=True)
        elif self._shutdown is not None:
            return
        elif number is signal.SIGHUP:
            self._app.want_reload()
        elif self._scaling is not None and number is signal.SIGTTIN:
            self._scaling.more(now)
        elif self._scaling is not None and number is signal.SIGTTOU:
            self._scaling.fewer()

    def _stop(self, now: float, why: str, *, hurry: bool = False, exit_status: int = EXIT_OK) -> None:
        if self._shutdown is not None:
            log.warning("%s: stopping now; what still runs goes back to its queue", why)
            self._shutdown.hurry(now)
            return
        bounds = self._settings.shutdown
        self._notifier.stopping()
        self._app.abandon()
        self._shutdown = Shutdown(self._cells, bounds, now, exit_status)
        if hurry:
            log.warning("%s: stopping now; what still runs goes back to its queue", why)
            self._shutdown.hurry(now)
        else:
            log.info("%s: finishing what runs, for at most %g s", why, bounds.drain_s)

    # -- children --------------------------------------------------------------------------------------------

    def _slots(self) -> Iterator[ProcessSlot]:
        for cell in self._cells:
            yield from cell.slots

    def _actors(self) -> Iterator[ProcessSlot]:
        for cell in self._cells:
            yield from cell.actors

    def _pids(self, now: float) -> list[int]:
        """All children that we know of, those included that the zygote has forked by now."""
        self._preloaded.receive(now)
        return [*self._app.pids, *(slot.pid for slot in self._slots() if slot.pid is not None)]

    def _buried(self, exit_: ChildExit, now: float) -> None:
        if self._app.child_reaped(exit_.pid, str(exit_), now):
            return
        slot = next(slot for slot in self._slots() if slot.pid == exit_.pid)
        self._liveness.forget(slot)
        fatal = self._judge.judge(slot, exit_, now, others_serve=self._older_ones_serve(slot))
        if self._shutdown is None:
            if fatal is not None:
                self._give_up(fatal, now)
            return
        if slot.address.is_gateway:
            self._shutdown.gateway_ended(slot, exit_.code)
        if fatal is not None:
            self._say_why(fatal)
            slot.retire()
            self._shutdown.hurry(now)

    def _older_ones_serve(self, slot: ProcessSlot) -> bool:
        """Whether actors with the app's previous version are at work while this one is to run the new one."""
        if slot.address.is_gateway:
            return False
        return any(other.ready and other.app_epoch < slot.app_epoch for other in self._actors())

    def _give_up(self, fatal: Fatal, now: float) -> None:
        self._say_why(fatal)
        fatal.slot.retire()
        self._stop(now, f"{fatal.slot.label} cannot be kept alive", exit_status=fatal.exit_status)

    @staticmethod
    def _say_why(fatal: Fatal) -> None:
        if fatal.reason is not None:
            log.critical("%s", fatal.reason)

    def _judge_liveness(self, now: float) -> None:
        running = [slot for slot in self._slots() if slot.phase in (Phase.RUNNING, Phase.LEAVING)]
        for slot, reason in self._liveness.find_hung(running, now):
            log.error("%s (pid %s) %s and is killed", slot.label, slot.pid, reason)
            slot.kill(KillReason.HUNG)

    # -- the app ---------------------------------------------------------------------------------------------

    def _fork_probe(self, deadline: float) -> AppProbe:
        return AppProbe(self._config, self._entry_points, self._forker, self._descriptors, deadline=deadline)

    def _start_if_possible(self, now: float) -> None:
        """Want the first processes, once the app is known and the embedded server, if any, answers."""
        if self._app.error is not None:
            log.critical("%s", self._app.error)
            self._exit_status = EXIT_USAGE
        if self._cells or self._app.manifest is None:
            return
        self._staffing.config = config = manifest.with_server_of(self._config, self._app.manifest)
        self._embedded.acquire(config.connection)
        if self._embedded.asking:
            return
        cells = build_cells(config, self._app.manifest, self._bell, self._descriptors)
        self._cells = self._staffing.cells = self._preloaded.cells = cells
        self._scaling = Scaling(cells, manifest.crews_of(self._app.manifest))
        self._scaling.start(now)
        log.info("serving %s", manifest.describe(self._app.manifest))

    def _roll(self, now: float) -> None:
        """Replace what runs old code or has run for long enough, one process at a time."""
        epoch = self._staffing.app_epoch

        def why(slot: ProcessSlot) -> str | None:
            if slot.app_epoch < epoch:
                return "the app was reloaded"
            return self._recycling.why_due(slot, now)

        self._roller.step(self._actors(), why, now)

    def _announce(self) -> None:
        """Say once, at the start and after each reload, that everything wanted is up."""
        epoch = self._staffing.app_epoch
        if epoch == self._announced_epoch or not self._cells or self._shutdown is not None:
            return
        wanted = [slot for slot in self._slots() if slot.wanted]
        if all(slot.ready and (slot.address.is_gateway or slot.app_epoch == epoch) for slot in wanted):
            log.info("%s: %d processes are up", "ready" if epoch == 1 else "reloaded", len(wanted))
            self._announced_epoch = epoch
            self._notifier.ready()
