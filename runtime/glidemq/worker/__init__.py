"""The runtime inside one process: for web apps, notebooks and tests."""

from glidemq.worker.broadcast_worker import BroadcastWorker
from glidemq.worker.worker import Worker

__all__ = ["BroadcastWorker", "Worker"]
