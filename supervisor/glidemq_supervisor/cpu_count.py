"""How many cores this process may really use: affinity and control-group quotas, not the machine's size."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_OCTAL_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class CgroupMount:
    """One mounted control-group hierarchy, as /proc/self/mountinfo shows it."""

    root: PurePosixPath  # the group that appears at the mount point: "/" unless bind-mounted from deeper
    mount_point: Path
    controllers: frozenset[str]  # v1: its super options; v2: empty
    version: int


def usable_cores(filesystem_root: Path = Path("/")) -> int:
    """The number of cores that `--procs auto` stands for; at least 1.

    A quota of 1.5 cores counts as 2, as in the JVM and Go: leaving half a core idle costs a CPU-bound queue
    more than being throttled for a part of each period.
    """
    cores = len(os.sched_getaffinity(0))
    quota = cgroup_quota_cores(filesystem_root)
    return max(1, min(cores, math.ceil(quota))) if quota is not None else max(1, cores)


def cgroup_quota_cores(filesystem_root: Path = Path("/")) -> float | None:
    """The tightest CPU quota from this process's control group up to the root, in cores; None: unlimited."""
    proc = filesystem_root / "proc" / "self"
    try:
        mounts = parse_mountinfo((proc / "mountinfo").read_text(), filesystem_root)
        memberships = parse_memberships((proc / "cgroup").read_text())
    except OSError:
        return None
    quotas = [
        quota
        for mount in mounts
        for group in _groups_upwards(mount, memberships)
        if (quota := _group_quota(group, mount.version)) is not None
    ]
    return min(quotas, default=None)


def parse_mountinfo(text: str, filesystem_root: Path = Path("/")) -> list[CgroupMount]:
    """The hierarchies that may carry a CPU quota (proc(5), /proc/pid/mountinfo)."""
    mounts: list[CgroupMount] = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        before, after = left.split(" "), right.split(" ")
        if not separator or len(before) < 6 or len(after) < 3:
            continue
        version = {"cgroup": 1, "cgroup2": 2}.get(after[0])
        controllers = frozenset(after[2].split(",")) if version == 1 else frozenset[str]()
        if version is None or (version == 1 and "cpu" not in controllers):
            continue
        mount_point = filesystem_root / _unescape(before[4]).lstrip("/")
        mounts.append(CgroupMount(PurePosixPath(_unescape(before[3])), mount_point, controllers, version))
    return mounts


def parse_memberships(text: str) -> dict[str, PurePosixPath]:
    """Controller name → group of this process (/proc/pid/cgroup); the v2 hierarchy has the name ""."""
    memberships: dict[str, PurePosixPath] = {}
    for line in text.splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            for controller in parts[1].split(","):
                memberships[controller] = PurePosixPath(parts[2])
    return memberships


def _groups_upwards(mount: CgroupMount, memberships: dict[str, PurePosixPath]) -> Iterator[Path]:
    group = memberships.get("" if mount.version == 2 else "cpu")
    if group is None:
        return
    # In a container with a cgroup namespace the group reads "/"; without one it is the host's path, of
    # which only the part below the mount's root is visible.
    inside = group.relative_to(mount.root) if group.is_relative_to(mount.root) else PurePosixPath(".")
    for ancestor in (inside, *inside.parents):
        if ".." not in ancestor.parts:
            yield mount.mount_point / ancestor


def _group_quota(group: Path, version: int) -> float | None:
    try:
        if version == 2:
            quota_us, period_us = (group / "cpu.max").read_text().split()
        else:
            quota_us = (group / "cpu.cfs_quota_us").read_text().strip()
            period_us = (group / "cpu.cfs_period_us").read_text().strip()
        if quota_us == "max" or int(quota_us) <= 0 or int(period_us) <= 0:
            return None
        return int(quota_us) / int(period_us)
    except (OSError, ValueError):  # the root group has no quota files
        return None


def _unescape(field: str) -> str:
    return _OCTAL_ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)
