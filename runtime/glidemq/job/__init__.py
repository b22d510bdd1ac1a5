"""A job as user code sees it: its fields, and what can be done with it."""

from glidemq.job.abort_signal import AbortFlag, AbortSignal
from glidemq.job.job import Job
from glidemq.job.record import JobRecord
from glidemq.job.signals import Signal, SuspendInfo
from glidemq.job.sync_job import SyncJob

__all__ = ["AbortFlag", "AbortSignal", "Job", "JobRecord", "Signal", "SuspendInfo", "SyncJob"]
