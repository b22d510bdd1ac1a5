"""An app of plain functions: one job at a time in each actor process."""

from __future__ import annotations

from typing import Any

from glidemq.app import App
from glidemq.job import SyncJob
from tests.faults.deeds import do_all, result_of
from tests.testkit.effects import EffectsWriter

app = App()
effects = EffectsWriter()


def process(job: SyncJob[dict[str, Any], Any]) -> Any:
    effects.started(job)
    told = do_all(job)
    effects.finished(job)
    return result_of(job, told)


app.processor("sync")(process)
app.processor("brisk", timeout=0.3)(process)
app.processor("short-lock", lock_duration=1)(process)
