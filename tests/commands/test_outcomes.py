"""FailCommand, ReleaseCommand, ExtendLeasesCommand and the recovering commands against the real library."""

from __future__ import annotations

import pytest
import valkey

from glidemq.commands.enqueue import EnqueueCommand, JobRow
from glidemq.commands.extend_leases import ExtendLeasesCommand
from glidemq.commands.fail import FailCommand, FailureRow
from glidemq.commands.keys import QueueKeys
from glidemq.commands.promote_due import PromoteDueCommand
from glidemq.commands.recover_orphans import RecoverOrphansCommand
from glidemq.commands.recover_stalled import RecoverStalledCommand
from glidemq.commands.release import ReleaseCommand
from glidemq.commands.step import Activation, StepCommand
from tests.commands.conftest import Execute


@pytest.fixture
def job(execute: Execute, keys: QueueKeys) -> Activation:
    """One started job of `py-c`."""
    execute(EnqueueCommand(keys.meta, rows=[JobRow.pack("n", "{}")]))
    command = StepCommand(
        keys.meta, consumer="py-c", cell="py-c", run="r", complete=[], slots=1, ahead=0, max_bytes=1 << 20
    )
    (started,) = execute(command).activations
    assert isinstance(started, Activation)
    return started


def test_failure_tells_code_attempts_and_next_due(execute: Execute, keys: QueueKeys, job: Activation) -> None:
    row = FailureRow.pack(job.id, job.token, job.processed_on, job.entry_id, "bööm", 3, 5000, False)
    result = execute(FailCommand(keys.meta, rows=[row]))
    assert result.outcomes == [(5, 1)]
    assert result.next_due_ms == result.now_ms + 5000


def test_final_failure_stores_its_reason(
    execute: Execute, raw: valkey.Valkey, keys: QueueKeys, job: Activation
) -> None:
    row = FailureRow.pack(job.id, job.token, job.processed_on, job.entry_id, "bööm", 0, 0, False)
    result = execute(FailCommand(keys.meta, rows=[row]))
    assert (result.outcomes, result.next_due_ms) == ([(6, 1)], -1)
    assert raw.hget(keys.job("1"), "failedReason") == "bööm".encode()


@pytest.mark.parametrize(
    ("crash", "codes", "crashes"), [(None, [1], None), ("SIGSEGV", [1], b"1"), (True, [1], b"0")]
)
def test_release_passes_on_what_is_known_of_a_crash(
    execute: Execute,
    raw: valkey.Valkey,
    keys: QueueKeys,
    job: Activation,
    crash: str | bool | None,
    codes: list[int],
    crashes: bytes | None,
) -> None:
    row = (job.id, job.token, job.processed_on, job.entry_id, crash)
    assert execute(ReleaseCommand(keys.meta, consumer="py-c", rows=[row], max_crashes=3)) == codes
    assert raw.hget(keys.job("1"), "x-py:crashes") == crashes


def test_heartbeat_answers_per_row(execute: Execute, keys: QueueKeys, job: Activation) -> None:
    rows = [(job.id, job.token, job.processed_on), (b"none", b"t", 1)]
    assert execute(ExtendLeasesCommand(keys.meta, rows=rows)) == ([1, 3], {})


def test_orphans_are_released_page_by_page(execute: Execute, keys: QueueKeys, job: Activation) -> None:
    released: list[bytes] = []
    cursor = ""
    pages = 0
    while pages == 0 or cursor:
        command = RecoverOrphansCommand(
            keys.meta, consumer="py-c", cell="py-c", known=[], limit=1, cursor=cursor
        )
        page = execute(command)
        released += page.released
        cursor = page.next_cursor
        pages += 1
        assert pages < 10
    assert released == [job.id]


def test_known_job_is_no_orphan(execute: Execute, keys: QueueKeys, job: Activation) -> None:
    command = RecoverOrphansCommand(
        keys.meta, consumer="py-c", cell="py-c", known=[(job.id, job.token)], limit=10
    )
    assert execute(command).released == []


def test_stalled_job_is_named_with_what_happened(
    execute: Execute, raw: valkey.Valkey, keys: QueueKeys, job: Activation
) -> None:
    command = RecoverStalledCommand(
        keys.meta, consumer="py-d", cell="py-d", stalled_ms=0, lock_ms=30_000, max_stalled=1, limit=10
    )
    alive = execute(command)
    assert (alive.recovered, alive.shortest_live_lock_ms) == ([], 30_000)
    raw.hset(keys.job("1"), "lastActive", alive.now_ms - 30_001)
    assert execute(command).recovered == [(b"1", "stalled")]


def test_promotion_counts(execute: Execute, keys: QueueKeys) -> None:
    rows = [JobRow.pack("n", "{}", priority=2), JobRow.pack("n", "{}", delay_ms=60_000)]
    due_ms = execute(EnqueueCommand(keys.meta, rows=rows)).due_ms
    result = execute(PromoteDueCommand(keys.meta, limit=10, prioritized_limit=10))
    assert (result.promoted, result.expired) == (1, 0)
    assert result.next_due_ms > due_ms


def test_every_command_here_but_an_activating_step_may_be_repeated(keys: QueueKeys) -> None:
    assert FailCommand(keys.meta, rows=[]).replayable
    assert ReleaseCommand(keys.meta, consumer="c", rows=[], max_crashes=3).replayable
    assert ExtendLeasesCommand(keys.meta, rows=[]).replayable
    assert PromoteDueCommand(keys.meta, limit=1, prioritized_limit=1).replayable
