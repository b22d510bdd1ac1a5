"""A process that is killed before a chosen bytecode of the ring code: one process for each bytecode."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import glidemq.rings
import glidemq.shared_memory
from tests.shared_memory.forked import Forked

TRACED = tuple(str(Path(str(package.__file__)).parent) for package in (glidemq.rings, glidemq.shared_memory))


def _kill_before(instruction: int, work: Callable[[], object]) -> None:
    executed = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal executed
        if event == "call":
            if not frame.f_code.co_filename.startswith(TRACED):
                return None
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        elif event == "opcode":
            executed += 1
            if executed == instruction:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)


def killed_before_each_instruction(
    work: Callable[[], Callable[[], object]], *, stride: int = 1
) -> Iterator[int]:
    """Fork, let the child prepare by calling `work`, kill it in what that returns; yields after each death.

    Ends with the child that lived to the end, for which it yields 0.
    """
    instruction = 1
    while True:
        with Forked(lambda at=instruction: _kill_before(at, work())) as process:  # type: ignore[misc]
            process.wait()
            if process.wait_status == signal.SIGKILL:
                yield instruction
            else:
                process.join()
                yield 0
                return
        instruction += stride
