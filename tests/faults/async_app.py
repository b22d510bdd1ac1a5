"""An app of coroutines: many jobs at once in each actor process."""

from __future__ import annotations

from typing import Any

from glidemq.app import App
from glidemq.job import Job
from tests.faults.deeds import do_all_async, result_of
from tests.testkit.effects import EffectsWriter

app = App()
effects = EffectsWriter()


async def process(job: Job[dict[str, Any], Any]) -> Any:
    effects.started(job)
    told = await do_all_async(job)
    effects.finished(job)
    return result_of(job, told)


app.processor("async", concurrency=8)(process)
app.processor("brisk", concurrency=8, timeout=0.3)(process)
