"""gmq_look_at_limit: hosts share what a provider has left, and none of it is handed out twice."""

from __future__ import annotations

import pytest

from glidemq.commands.look_at_limit import LimitSeen, LookAtLimitCommand, Share, ShareWanted
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute
from tests.lua.test_observe_limit import left, observe

NOTHING = ShareWanted(0, 0, 0)
UNSAID = Share(-1, 0, 0)


def look(driven: DrivenQueue, requests: ShareWanted = NOTHING, tokens: ShareWanted = NOTHING) -> LimitSeen:
    return execute(driven, LookAtLimitCommand(driven.key("meta"), requests=requests, tokens=tokens))


def test_unknown_limit_lets_everything_start_and_leaves_no_key(driven: DrivenQueue) -> None:
    assert look(driven, ShareWanted(5, 3, 17)) == LimitSeen(0, UNSAID, UNSAID)
    assert not driven.client.exists(driven.key("x-py:observed"))


def test_share_is_an_eighth_or_what_the_free_slots_need(driven: DrivenQueue) -> None:
    observe(driven, requests=800, tokens=80)
    seen = look(driven, ShareWanted(4, 0, 0), ShareWanted(60, 0, 0))
    ends = driven.now + 1000
    assert seen == LimitSeen(0, Share(100, 1000, ends), Share(60, 1000, ends))
    assert (left(driven), left(driven, "tokens")) == (700, 20)


def test_rest_of_a_share_goes_back_with_the_next_look(driven: DrivenQueue) -> None:
    observe(driven, requests=10)
    share = look(driven, ShareWanted(10, 0, 0)).requests
    assert (share.amount, left(driven)) == (10, 0)
    assert look(driven, ShareWanted(5, 0, 0)).requests.amount == 0
    look(driven, ShareWanted(0, 6, share.until_ms))
    assert left(driven) == 6
    assert look(driven, ShareWanted(5, 0, 0)).requests.amount == 5


def test_share_of_a_period_that_is_over_is_void(driven: DrivenQueue) -> None:
    observe(driven, requests=10)
    share = look(driven, ShareWanted(10, 0, 0)).requests
    driven.pass_time(1000)
    observe(driven, requests=3)
    assert look(driven, ShareWanted(9, 10, share.until_ms)).requests.amount == 3


def test_limit_whose_time_is_over_is_unknown(driven: DrivenQueue) -> None:
    observe(driven, requests=0)
    driven.pass_time(999)
    assert look(driven, ShareWanted(1, 0, 0)).requests == Share(0, 1, driven.now + 1)
    driven.pass_time(1)
    assert look(driven, ShareWanted(1, 0, 0)).requests == UNSAID


@pytest.mark.parametrize("batch", [1, 3])
def test_shares_of_many_hosts_add_up_to_what_is_left(driven: DrivenQueue, batch: int) -> None:
    observe(driven, requests=100)
    shares = [look(driven, ShareWanted(batch, 0, 0)).requests.amount for _ in range(100)]
    assert sum(shares) == 100


def test_malformed_wish_is_refused(driven: DrivenQueue) -> None:
    assert driven.call("look_at_limit", requests=[1, 2], tokens=[1, 2, 3])[0] == b"bad_argument"
