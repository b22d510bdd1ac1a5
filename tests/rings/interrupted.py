"""A process that is killed or paused before a chosen bytecode of the ring code, one process for each."""

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

Prepare = Callable[[], Callable[[], object]]
"""Called in the child; what it returns is the work in which the child is interrupted."""


def _interrupt_before(instruction: int, number: signal.Signals, work: Callable[[], object]) -> None:
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
                os.kill(os.getpid(), number)
        return trace

    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)


def _fork(prepare: Prepare, instruction: int, number: signal.Signals) -> Forked:
    return Forked(lambda: _interrupt_before(instruction, number, prepare()))


def killed_before_each_instruction(prepare: Prepare, *, stride: int = 1) -> Iterator[int]:
    """Yield after each child's death, last for the child that lived to the end: then 0."""
    instruction = 1
    while True:
        with _fork(prepare, instruction, signal.SIGKILL) as process:
            process.wait()
            if process.wait_status != signal.SIGKILL:
                process.join()
                yield 0
                return
        yield instruction
        instruction += stride


def paused_before_each_instruction(prepare: Prepare, *, stride: int = 1) -> Iterator[Callable[[], None]]:
    """Yield while each child is stopped, with what lets it go on to its end."""
    instruction = 1
    while True:
        with _fork(prepare, instruction, signal.SIGSTOP) as process:
            _, status = os.waitpid(process.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                process.wait_status = status
                process.join()
                return

            def go_on(process: Forked = process) -> None:
                os.kill(process.pid, signal.SIGCONT)
                process.join()

            yield go_on
        instruction += stride
