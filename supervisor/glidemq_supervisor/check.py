"""`glidemq-supervisor check`: what would run, without running it."""

from __future__ import annotations

import select
import time

from glidemq.config import RuntimeConfig
from glidemq.errors import ConfigurationError
from glidemq.process_spec import EXIT_OK, EXIT_USAGE
from glidemq_supervisor import manifest as manifests
from glidemq_supervisor.app_probe_client import AppProbe, ProbeResult
from glidemq_supervisor.cell_factory import plan_for
from glidemq_supervisor.descriptors import DescriptorLedger
from glidemq_supervisor.entry_points import EntryPoints
from glidemq_supervisor.forker import Forker
from glidemq_supervisor.manifest import Manifest
from glidemq_supervisor.reaper import Reaper

_POLL_MS = 200


def run_check(config: RuntimeConfig, entry_points: EntryPoints | None = None) -> tuple[int, str]:
    """Import the app in a child as the supervisor would; returns the exit status and a text for people.

    The server is not asked: a check must be safe to run anywhere, at any time.
    """
    result = _probe(config, entry_points or EntryPoints())
    manifest, error = result.manifest, result.error
    if manifest is not None:
        try:
            manifest = manifests.served_here(config, manifest)
        except ConfigurationError as problem:
            return EXIT_USAGE, f"cells: {problem}"
        error = manifests.why_unservable(manifest)
    if manifest is None or error is not None:
        return EXIT_USAGE, f"app: {error}"
    try:
        return EXIT_OK, "\n".join(_describe(config, manifest))
    except ConfigurationError as problem:
        return EXIT_USAGE, f"cells: {problem}"


def _probe(config: RuntimeConfig, entry_points: EntryPoints) -> ProbeResult:
    descriptors = DescriptorLedger()
    deadline = time.monotonic() + config.start_timeout
    probe = AppProbe(config, entry_points, Forker(descriptors), descriptors, deadline=deadline)
    poll = select.poll()
    poll.register(probe.fileno(), select.POLLIN)
    while probe.result is None:
        poll.poll(_POLL_MS)
        probe.look(time.monotonic())
    probe.abandon()
    Reaper.wait_for(probe.pid)
    return probe.result


def _describe(config: RuntimeConfig, manifest: Manifest) -> list[str]:
    plans = plan_for(config, manifest)
    lines = [f"server: {manifests.with_server_of(config, manifest).connection}"]
    lines += [f"app: {manifest['app']} serves {manifests.describe(manifest)}"]
    for plan in plans:
        actors = ", ".join(f"{count} {crew.label}" for crew, count in plan.at_start.items())
        bound = config.pin or plan.cores.is_part
        cores = f"cores {','.join(map(str, sorted(plan.cores.cpus)))}" if bound else "any core"
        room = f"room for {len(plan.slots)} in all"
        lines.append(f"cell {plan.index}: 1 gateway, {actors} actors at the start ({room}), {cores}")
    return lines
