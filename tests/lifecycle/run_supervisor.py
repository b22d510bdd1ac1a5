"""Runs a real supervisor over stand-ins: `python -m tests.lifecycle.run_supervisor '{"procs": 2, …}'`."""

from __future__ import annotations

import json
import sys
from typing import Any

from glidemq.config import RuntimeConfig
from glidemq_supervisor import logging_setup
from glidemq_supervisor.entry_points import EntryPoints
from glidemq_supervisor.supervisor import Supervisor

STAND_INS = "tests.lifecycle.stand_ins"
ENTRY_POINTS = EntryPoints(
    gateway=f"{STAND_INS}:gateway",
    actor=f"{STAND_INS}:actor",
    probe=f"{STAND_INS}:probe",
    preload=f"{STAND_INS}:preload",
)


def main() -> int:
    settings: dict[str, Any] = json.loads(sys.argv[1])
    config = RuntimeConfig(**settings, environ={})
    logging_setup.set_up_logging(config.log_format, config.log_level)
    return Supervisor(config, entry_points=ENTRY_POINTS).run()


if __name__ == "__main__":
    sys.exit(main())
