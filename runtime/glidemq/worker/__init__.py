"""The runtime inside one process: for web apps, notebooks and tests."""

from glidemq.worker.worker import Worker

__all__ = ["Worker"]
