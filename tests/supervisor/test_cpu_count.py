"""How many cores `--procs auto` means, on machines built from files."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from glidemq_supervisor import cpu_count
from glidemq_supervisor.cpu_count import cgroup_quota_cores, parse_memberships, parse_mountinfo, usable_cores

V2_MOUNT = "30 24 0:26 {root} /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_MOUNTS = (
    "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:1 - cgroup cgroup rw,cpu,cpuacct\n"
    "36 31 0:33 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
)


class Machine:
    """A root directory with the files that the kernel would show."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def mounts(self, text: str, membership: str) -> Machine:
        self.write("proc/self/mountinfo", "22 1 0:21 / / rw - ext4 /dev/vda rw\n" + text)
        self.write("proc/self/cgroup", membership)
        return self

    def write(self, path: str, text: str) -> Machine:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return self


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_v2_quota_of_the_own_group(machine: Machine) -> None:
    machine.mounts(V2_MOUNT.format(root="/"), "0::/system.slice/worker.service\n")
    machine.write("sys/fs/cgroup/system.slice/worker.service/cpu.max", "150000 100000\n")
    assert cgroup_quota_cores(machine.root) == 1.5


def test_v2_tightest_quota_of_all_ancestors_counts(machine: Machine) -> None:
    machine.mounts(V2_MOUNT.format(root="/"), "0::/a/b/c\n")
    machine.write("sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n")
    machine.write("sys/fs/cgroup/a/b/cpu.max", "400000 100000\n")
    machine.write("sys/fs/cgroup/a/cpu.max", "200000 100000\n")
    assert cgroup_quota_cores(machine.root) == 2.0


def test_v2_in_a_container_the_group_reads_as_the_root(machine: Machine) -> None:
    machine.mounts(V2_MOUNT.format(root="/"), "0::/\n").write("sys/fs/cgroup/cpu.max", "50000 100000\n")
    assert cgroup_quota_cores(machine.root) == 0.5


def test_v2_without_a_cgroup_namespace_only_the_part_below_the_mount_is_looked_for(machine: Machine) -> None:
    machine.mounts(V2_MOUNT.format(root="/kubepods/pod7"), "0::/kubepods/pod7/app\n")
    machine.write("sys/fs/cgroup/app/cpu.max", "300000 100000\n")
    assert cgroup_quota_cores(machine.root) == 3.0


def test_v2_group_outside_of_the_mount_falls_back_to_the_mount_itself(machine: Machine) -> None:
    machine.mounts(V2_MOUNT.format(root="/../other"), "0::/mine\n")
    machine.write("sys/fs/cgroup/cpu.max", "100000 100000\n")
    assert cgroup_quota_cores(machine.root) == 1.0


def test_v1_quota(machine: Machine) -> None:
    machine.mounts(V1_MOUNTS.format(root="/docker/1f"), "5:memory:/x\n4:cpu,cpuacct:/docker/1f\n")
    group = "sys/fs/cgroup/cpu,cpuacct"
    machine.write(f"{group}/cpu.cfs_quota_us", "250000\n").write(f"{group}/cpu.cfs_period_us", "100000\n")
    assert cgroup_quota_cores(machine.root) == 2.5


def test_v1_minus_one_is_no_quota(machine: Machine) -> None:
    machine.mounts(V1_MOUNTS.format(root="/"), "4:cpu,cpuacct:/\n")
    group = "sys/fs/cgroup/cpu,cpuacct"
    machine.write(f"{group}/cpu.cfs_quota_us", "-1\n").write(f"{group}/cpu.cfs_period_us", "100000\n")
    assert cgroup_quota_cores(machine.root) is None


def test_hybrid_machine_obeys_both_hierarchies(machine: Machine) -> None:
    unified = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    machine.mounts(V1_MOUNTS.format(root="/") + unified, "4:cpu,cpuacct:/\n0::/\n")
    machine.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "800000\n")
    machine.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    machine.write("sys/fs/cgroup/unified/cpu.max", "600000 100000\n")
    assert cgroup_quota_cores(machine.root) == 6.0


@pytest.mark.parametrize("content", ["", "max", "garbage here", "0 100000", "100000 0", "-5 100000"])
def test_unreadable_quota_is_no_quota(machine: Machine, content: str) -> None:
    machine.mounts(V2_MOUNT.format(root="/"), "0::/\n").write("sys/fs/cgroup/cpu.max", content)
    assert cgroup_quota_cores(machine.root) is None


def test_machine_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cgroup_quota_cores(tmp_path) is None


def test_mount_points_with_blanks_are_unescaped() -> None:
    (mount,) = parse_mountinfo("1 2 0:3 /a\\040b /sys/fs/c\\011d rw - cgroup2 none rw\n")
    assert (mount.root, mount.mount_point) == (PurePosixPath("/a b"), Path("/sys/fs/c\td"))


def test_broken_lines_are_skipped() -> None:
    assert parse_mountinfo("nonsense\n1 2 3 - cgroup2\n\n") == []
    assert parse_memberships("nonsense\n0::/x:y\n") == {"": PurePosixPath("/x:y")}


@pytest.mark.parametrize(
    ("affinity", "quota", "cores"),
    [({0, 1, 2, 3}, None, 4), ({0, 1, 2, 3}, 1.5, 2), ({0}, 8.0, 1), ({0, 1}, 0.2, 1), ({0, 1, 2}, 2.0, 2)],
)
def test_auto_is_the_lesser_of_affinity_and_quota_rounded_up(
    monkeypatch: pytest.MonkeyPatch, affinity: set[int], quota: float | None, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: affinity)
    monkeypatch.setattr(cpu_count, "cgroup_quota_cores", lambda _root: quota)
    assert usable_cores() == cores


def test_this_machine_s_own_files_can_be_read() -> None:
    assert usable_cores() >= 1
