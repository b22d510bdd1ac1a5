"""gmq_lease_tokens: blocks of a window's tokens, large far from the limit and exact near it."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.commands.lease_tokens import LeaseTokensCommand, TokenBlock
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute

WINDOW_MS = 1000
MAX = 8000


class Host:
    """One host's block, as its gateway keeps it."""

    def __init__(self, driven: DrivenQueue) -> None:
        self._driven = driven
        self.held = 0
        self.window = 0

    def lease(
        self, least: int = 0, batch: int = 0, most: int = 0, overrun: int = 0, keep: bool = False
    ) -> TokenBlock:
        command = LeaseTokensCommand(
            self._driven.key("meta"), max=MAX, duration_ms=WINDOW_MS, least=least, batch=batch, most=most,
            held=self.held, window=self.window, overrun=overrun, keep=keep,
        )  # fmt: skip
        block = execute(self._driven, command)
        self.held, self.window = block.granted, block.window
        return block

    def spend(self, tokens: int) -> None:
        assert tokens <= self.held
        self.held -= tokens


def used(driven: DrivenQueue) -> int:
    return int(driven.client.get(driven.key(f"tpm:{driven.now // WINDOW_MS}")) or 0)


def test_block_is_an_eighth_of_what_is_left_for_a_host_that_expects_to_spend_it(driven: DrivenQueue) -> None:
    host = Host(driven)
    block = host.lease(least=1, batch=10, most=10**9)
    number = driven.now // WINDOW_MS
    assert block == TokenBlock(driven.now, number, (number + 1) * WINDOW_MS, 1000, 7000)
    assert 0 < driven.client.pttl(driven.key(f"tpm:{number}")) <= WINDOW_MS
    host.spend(1000)
    assert host.lease(least=1, batch=10, most=10**9).granted == 875


def test_block_is_no_larger_than_what_the_host_expects_to_spend(driven: DrivenQueue) -> None:
    assert Host(driven).lease(least=1, batch=10, most=50).granted == 50


def test_block_fills_the_free_slots_as_far_as_there_are_tokens(driven: DrivenQueue) -> None:
    assert Host(driven).lease(least=1000, batch=6000).granted == 6000
    assert Host(driven).lease(least=1000, batch=6000).granted == 2000


def test_host_that_cannot_start_one_job_gets_nothing_and_returns_its_rest(driven: DrivenQueue) -> None:
    one, other = Host(driven), Host(driven)
    one.lease(least=1, batch=7900)
    other.lease(least=1, batch=60)
    assert other.lease(least=200, batch=200).granted == 0
    assert used(driven) == 7900
    one.spend(7850)
    assert one.lease(least=150, batch=150).granted == 150
    assert used(driven) == MAX


def test_rest_of_a_block_becomes_part_of_the_next(driven: DrivenQueue) -> None:
    host = Host(driven)
    host.lease(least=1, batch=5000)
    host.spend(4000)
    assert host.lease(least=4000, batch=4000).granted == 4000
    assert used(driven) == MAX


def test_job_above_the_limit_gets_a_whole_window_and_nothing_less(driven: DrivenQueue) -> None:
    one, other = Host(driven), Host(driven)
    other.lease(least=1, batch=1)
    assert one.lease(least=3 * MAX, batch=3 * MAX).granted == 0
    driven.pass_time(WINDOW_MS)
    assert one.lease(least=3 * MAX, batch=3 * MAX).granted == MAX


def test_block_of_a_window_that_has_ended_is_void(driven: DrivenQueue) -> None:
    host = Host(driven)
    host.lease(least=1, batch=500)
    driven.pass_time(WINDOW_MS)
    assert host.lease(least=1, batch=100).granted == 100
    assert used(driven) == 100


def test_block_goes_back_when_nothing_is_asked_for(driven: DrivenQueue) -> None:
    host = Host(driven)
    host.lease(least=1, batch=500)
    host.spend(100)
    block = host.lease()
    assert (block.granted, block.free, used(driven)) == (0, MAX - 100, 100)


@pytest.mark.parametrize(("spent_by_others", "kept"), [(4000, 500), (4001, 0)])
def test_idle_host_keeps_its_block_while_half_is_free(
    driven: DrivenQueue, spent_by_others: int, kept: int
) -> None:
    host, other = Host(driven), Host(driven)
    host.lease(least=1, batch=500)
    other.lease(least=1, batch=spent_by_others - 500)
    assert host.lease(keep=True).granted == kept


def test_overrun_counts_at_once_and_may_exhaust_the_window(driven: DrivenQueue) -> None:
    host = Host(driven)
    assert host.lease(least=1, batch=100, overrun=MAX + 5).granted == 0
    assert used(driven) == MAX + 5
    assert Host(driven).lease(least=1, batch=1).free == 0


def test_grants_never_exceed_the_window_and_leave_nothing_that_fits(driven: DrivenQueue) -> None:
    hosts = [Host(driven) for _ in range(3)]
    spent = calls = 0
    waiting = set(hosts)
    while waiting:
        for host in list(waiting):
            calls += 1
            if host.lease(least=7, batch=28, most=10**9).granted == 0:
                waiting.discard(host)
            while host.held >= 7:
                host.spend(7)
                spent += 7
    assert MAX - 7 < spent <= MAX
    assert calls < 100  # for 1142 jobs


@pytest.mark.parametrize("fault", [{"max": 0}, {"duration_ms": 0}])
def test_limit_without_a_size_is_refused(driven: DrivenQueue, fault: dict[str, Any]) -> None:
    members: dict[str, Any] = dict.fromkeys(("least", "batch", "most", "held", "window", "overrun"), 0)
    reply = driven.call("lease_tokens", **{"max": 1, "duration_ms": 1, **members, **fault})
    assert reply[0] == b"bad_argument"
