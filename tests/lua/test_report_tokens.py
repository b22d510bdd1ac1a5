"""gmq_report_tokens: what a run has used, beside the job's other fields."""

from __future__ import annotations

from glidemq.commands.report_tokens import ReportTokensCommand
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute


def report(driven: DrivenQueue, job_id: str, tokens: int) -> bool:
    return execute(driven, ReportTokensCommand(driven.key("meta"), job_id=job_id, tokens=tokens))


def test_last_report_counts_and_changes_nothing_else(driven: DrivenQueue) -> None:
    job_id = driven.add()
    before = driven.job(job_id)
    assert report(driven, job_id, 150)
    assert report(driven, job_id, 2**53 - 1)
    assert driven.job(job_id) == {**before, "tpmTokens": "9007199254740991"}


def test_job_that_is_gone_is_not_made_again(driven: DrivenQueue) -> None:
    assert not report(driven, "7", 5)
    assert driven.job("7") == {}
