"""Memory of the gateway under a long load, and what an idle supervisor costs.

python -m glidemq_bench.memory [--few 20000] [--many 200000] [--idle-seconds 20]

The gateway's RSS is read when `few` and when `many` no-op jobs have been worked off and none is left. Then
the whole tree idles on empty queues, and its CPU time is taken over a window.
"""

from __future__ import annotations

import argparse
import time

from glidemq_bench.measuring import completed_count, glidemq_completed, print_table, wait_until
from glidemq_bench.process_tree import TreeUsage, gateway_of
from glidemq_bench.workbench import Workbench

PROCS = 2
MIB = 1 << 20
KEY = glidemq_completed("noop")


def work_off(bench: Workbench, total: int) -> None:
    """Add jobs until `total` were ever added, and wait until all of them are completed."""
    bench.produce("noop", total - completed_count(bench.client, KEY))
    wait_until(lambda: completed_count(bench.client, KEY) >= total, 300, f"{total} completed jobs")


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--few", type=int, default=20_000)
    parser.add_argument("--many", type=int, default=200_000)
    parser.add_argument("--idle-seconds", type=float, default=20)
    options = parser.parse_args()

    with Workbench() as bench:
        supervisor = bench.supervisor("noop", procs=PROCS).pid
        resident: dict[int, TreeUsage] = {}
        for total in (options.few, options.many):
            work_off(bench, total)
            resident[total] = TreeUsage.of(supervisor)
        gateway = gateway_of(supervisor, bench.port)
        before = TreeUsage.of(supervisor)
        time.sleep(options.idle_seconds)
        after = TreeUsage.of(supervisor)

    few, many = resident[options.few], resident[options.many]
    roles = {supervisor: "supervisor", gateway: "gateway"}
    print_table(
        "Resident memory, MiB",
        ["", f"after {options.few:,}", f"after {options.many:,}", "grown by"],
        [
            [
                roles.get(pid, "actor process"),
                f"{few.rss[pid] / MIB:.1f}",
                f"{many.rss[pid] / MIB:.1f}",
                f"{(many.rss[pid] - few.rss[pid]) / MIB:+.1f}",
            ]
            for pid in many.rss
        ],
    )
    print_table(
        f"CPU of an idle tree over {options.idle_seconds:g} s, share of one core",
        ["", "idle"],
        [
            *(
                [
                    roles.get(pid, "actor process"),
                    f"{after.cpu_since(before, pid) / options.idle_seconds:.2%}",
                ]
                for pid in after.cpu_s
            ),
            ["whole tree", f"{after.cpu_since(before) / options.idle_seconds:.2%}"],
        ],
    )


if __name__ == "__main__":
    main()
