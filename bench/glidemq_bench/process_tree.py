"""CPU time and memory of a process and all its descendants."""

from __future__ import annotations

from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class TreeUsage:
    """CPU seconds (user and system, all threads) and resident bytes, by pid; CPU seconds of the whole machine."""

    cpu_s: dict[int, float]
    rss: dict[int, int]
    machine_s: float

    @classmethod
    def of(cls, *roots: int) -> TreeUsage:
        """Look at these processes and everything below them now."""
        processes = [psutil.Process(root) for root in roots]
        processes += [child for process in tuple(processes) for child in process.children(recursive=True)]
        cpu_s: dict[int, float] = {}
        rss: dict[int, int] = {}
        for process in processes:
            times = process.cpu_times()
            cpu_s[process.pid] = times.user + times.system
            rss[process.pid] = process.memory_info().rss
        machine = psutil.cpu_times()
        return cls(cpu_s, rss, sum(machine) - machine.idle - machine.iowait)

    def cpu_since(self, earlier: TreeUsage, *pids: int) -> float:
        """CPU seconds spent since an earlier look: by the whole tree, or by these processes of it only.

        A process that came or went in between makes the figure worthless, so that is an error.
        """
        if self.cpu_s.keys() != earlier.cpu_s.keys():
            raise RuntimeError("processes came or went while their CPU time was measured")
        return sum(self.cpu_s[pid] - earlier.cpu_s[pid] for pid in pids or self.cpu_s)

    def others_since(self, earlier: TreeUsage) -> float:
        """CPU seconds that everything else on the machine has spent: what a figure must be distrusted for."""
        return max(0.0, self.machine_s - earlier.machine_s - self.cpu_since(earlier))


def gateway_of(supervisor: int, server_port: int) -> int:
    """The pid of the one process below the supervisor that holds connections to the server."""
    holders = {
        child.pid
        for child in psutil.Process(supervisor).children(recursive=True)
        for connection in child.net_connections("tcp")
        if connection.raddr and connection.raddr.port == server_port
    }
    if len(holders) != 1:
        raise RuntimeError(f"expected one process with connections to the server, found {len(holders)}")
    return holders.pop()
