"""Memory that several processes share, and the means to order and signal what is written there.

Pure mechanism: nothing here knows about jobs, queues or rings. Linux only; on other systems the import
works and creating a segment raises `SharedMemoryError`.
"""

from glidemq.shared_memory.doorbell import Doorbell, ring_fd
from glidemq.shared_memory.fence import full_fence, light_fence, register
from glidemq.shared_memory.segment import Segment
from glidemq.shared_memory.status_board import StatusBoard
from glidemq.shared_memory.status_slot import Control, KillReason, ProcessRole, ProcessState, StatusSlot

__all__ = [
    "Control",
    "Doorbell",
    "KillReason",
    "ProcessRole",
    "ProcessState",
    "Segment",
    "StatusBoard",
    "StatusSlot",
    "full_fence",
    "light_fence",
    "register",
    "ring_fd",
]
