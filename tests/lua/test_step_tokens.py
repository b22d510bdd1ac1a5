"""gmq_step: which jobs the tokens of a window suffice for."""

from __future__ import annotations

import itertools
import json
from typing import Any, NamedTuple

import pytest

from glidemq.commands.step import StepCommand
from glidemq.commands.token_allowance import TokenAllowance, TokensDealt
from tests.lua.conftest import Call
from tests.lua.driven_queue import DrivenQueue, read_activation
from tests.lua.executed import execute
from tests.lua.grouped_queue import GroupedQueue

WINDOW_MS = 60_000
MAX = 1000
BLOCKED = 2


class Stepped(NamedTuple):
    """What a step with an allowance replied."""

    ids: list[str]
    more: int
    dealt: TokensDealt


_runs = itertools.count(1)


def allowance(**members: Any) -> dict[str, Any]:
    return {"max": MAX, "duration_ms": WINDOW_MS, "default": 100, **members}


def step(driven: DrivenQueue, slots: int, *, ahead: int = 0, consumer: str = "c1", **members: Any) -> Stepped:
    reply = driven.call(
        "step", consumer=consumer, cell=consumer, run=f"t{next(_runs)}", complete=[], slots=slots, ahead=ahead,
        claimed=[], max_bytes=1 << 20, tokens=allowance(**members),
    )  # fmt: skip
    status, _, _, activations, hints, tokens = reply
    assert status == b"ok"
    return Stepped([read_activation(row).id for row in activations], hints[2], TokensDealt(*tokens))


def add(driven: DrivenQueue, *estimates: int | None, **options: Any) -> None:
    rows = [
        driven.row(opts="{}" if tokens is None else json.dumps({"estimatedTokens": tokens}), **options)
        for tokens in estimates
    ]
    driven.enqueue(*rows)


def counter(driven: DrivenQueue, number: int) -> int | None:
    used = driven.client.get(driven.key(f"tpm:{number}"))
    return None if used is None else int(used)


def test_counted_jobs_start_until_the_window_is_used_up(driven: DrivenQueue) -> None:
    add(driven, 400, 400, 300, 100)
    number = driven.now // WINDOW_MS
    stepped = step(driven, 10)
    assert stepped.ids == ["1", "2"]
    assert stepped.dealt == TokensDealt(
        [400, 400], 300, 200, number, (number + 1) * WINDOW_MS - driven.now, False
    )
    assert counter(driven, number) == 800
    assert 0 < driven.client.pttl(driven.key(f"tpm:{number}")) <= WINDOW_MS


def test_job_that_does_not_fit_waits_with_all_behind_it_and_holds_no_slot(driven: DrivenQueue) -> None:
    add(driven, 900, 200, 50)
    step(driven, 3)
    refused = step(driven, 3)
    assert (refused.ids, refused.more) == ([], BLOCKED)
    assert [driven.state(job_id) for job_id in ("2", "3")] == ["waiting", "waiting"]
    driven.pass_time(WINDOW_MS)
    assert step(driven, 3).ids == ["2", "3"]


@pytest.mark.parametrize("kind", [{}, {"lifo": 1}, {"priority": 3}])
def test_refused_jobs_keep_their_order(driven: DrivenQueue, kind: dict[str, int]) -> None:
    add(driven, 600, 600, 600, **kind)
    order = [step(driven, 2).ids for _ in range(2)]
    for _ in range(2):
        driven.pass_time(WINDOW_MS)
        order += [step(driven, 2).ids for _ in range(2)]
    expected = ["3", "2", "1"] if "lifo" in kind else ["1", "2", "3"]
    assert [ids for ids in order if ids] == [[job_id] for job_id in expected]


def test_jobs_that_fit_are_let_past_only_on_request(driven: DrivenQueue) -> None:
    add(driven, 900, 200, 50, 40)
    stepped = step(driven, 4, overtake=True)
    assert stepped.ids == ["1", "3", "4"]
    assert stepped.dealt.short == 200
    driven.pass_time(WINDOW_MS)
    assert step(driven, 4, overtake=True).ids == ["2"]


def test_estimate_is_the_job_s_then_its_name_s_then_the_default(driven: DrivenQueue) -> None:
    driven.add("known", opts='{"estimatedTokens":7}')
    driven.add("known")
    driven.add("unknown", opts='{"metadata":{"estimatedTokens":1}}')
    driven.add("unknown", opts='{"estimatedTokens":"many"}')
    stepped = step(driven, 4, names={"known": 20})
    assert stepped.dealt.estimates == [7, 20, 100, 100]


def test_job_above_the_limit_runs_alone_at_a_window_s_start(driven: DrivenQueue) -> None:
    add(driven, 1, 5 * MAX, 1)
    assert step(driven, 3).ids == ["1"]
    assert step(driven, 3).ids == []
    driven.pass_time(WINDOW_MS)
    alone = step(driven, 3)
    assert (alone.ids, alone.dealt.estimates, alone.dealt.left) == (["2"], [5 * MAX], 0)
    driven.pass_time(WINDOW_MS)
    assert step(driven, 3).ids == ["3"]


def test_hosts_share_the_counted_window_also_with_node(driven: DrivenQueue) -> None:
    add(driven, *[100] * 12)
    number = driven.now // WINDOW_MS
    driven.client.set(driven.key(f"tpm:{number}"), 350)  # as its workers leave it: without a time to live
    assert len(step(driven, 4, consumer="c1").ids) == 4
    assert len(step(driven, 9, consumer="c2").ids) == 2
    assert counter(driven, number) == 950
    assert driven.client.pttl(driven.key(f"tpm:{number}")) > 0


def test_overrun_counts_in_the_window_of_the_call(driven: DrivenQueue) -> None:
    add(driven, 100)
    stepped = step(driven, 1, overrun=950)
    assert stepped.ids == []
    assert stepped.dealt.left == 50


@pytest.mark.parametrize(("window", "left"), [(0, 600), (-1, 300)])
def test_refund_counts_only_in_its_own_window(driven: DrivenQueue, window: int, left: int) -> None:
    number = driven.now // WINDOW_MS
    driven.client.set(driven.key(f"tpm:{number}"), 700)
    stepped = step(driven, 1, refund=300, refund_window=number + window)
    assert stepped.dealt.left == left


def test_counter_never_falls_below_zero(driven: DrivenQueue) -> None:
    number = driven.now // WINDOW_MS
    driven.client.set(driven.key(f"tpm:{number}"), 10)
    step(driven, 1, refund=300, refund_window=number)
    assert counter(driven, number) == 0


def test_lent_tokens_are_spent_without_a_counter(driven: DrivenQueue) -> None:
    add(driven, 100, 100, 100)
    number = driven.now // WINDOW_MS
    stepped = step(driven, 3, left=250, window=number)
    assert stepped.ids == ["1", "2"]
    assert stepped.dealt == TokensDealt([100, 100], 100, 50, 0, 0, False)
    assert counter(driven, number) is None


def test_tokens_lent_in_a_window_that_has_ended_start_nothing(driven: DrivenQueue) -> None:
    add(driven, 100)
    number = driven.now // WINDOW_MS
    driven.pass_time(WINDOW_MS)
    stepped = step(driven, 1, left=250, window=number)
    assert (stepped.ids, stepped.dealt.stale) == ([], True)


def test_jobs_that_are_taken_ahead_need_tokens_too(driven: DrivenQueue) -> None:
    add(driven, 500, 500, 500)
    assert step(driven, 1, ahead=2).dealt.estimates == [500, 500]


def test_job_held_by_its_group_spends_nothing(grouped: GroupedQueue) -> None:
    grouped.join(2, concurrency=1)
    stepped = step(grouped, 2)
    assert (stepped.ids, stepped.dealt.left) == (["1"], 900)


def test_jobs_that_cannot_run_spend_nothing(driven: DrivenQueue) -> None:
    driven.add(ttl=10)
    driven.add(job_id="removed")
    driven.client.delete(driven.key("job:removed"))
    driven.pass_time(11)
    assert step(driven, 2).dealt.left == MAX


def test_paused_queue_settles_and_starts_nothing(driven: DrivenQueue) -> None:
    add(driven, 1)
    driven.call("pause")
    stepped = step(driven, 1, overrun=30)
    assert (stepped.ids, stepped.dealt.left) == ([], 970)


@pytest.mark.parametrize("fault", [{"max": 0}, {"duration_ms": 0}, {"default": None}, {"left": "x"}])
def test_malformed_allowance_is_refused(driven: DrivenQueue, call: Call, fault: dict[str, Any]) -> None:
    members = {
        "consumer": "c",
        "cell": "c",
        "run": "r",
        "complete": [],
        "slots": 1,
        "ahead": 0,
        "claimed": [],
    }
    reply = call("step", driven.name, **members, max_bytes=1, tokens=allowance(**fault))
    assert reply[0] == b"bad_argument"
    assert reply[1].startswith(b"tokens: ")


def test_python_command_passes_the_allowance_and_reads_what_became_of_it(driven: DrivenQueue) -> None:
    add(driven, 300, None)
    driven.add("known")
    result = execute(
        driven,
        StepCommand(
            driven.key("meta"),
            consumer="c",
            cell="c",
            run="r",
            complete=[],
            slots=5,
            ahead=0,
            max_bytes=1 << 20,
            tokens=TokenAllowance(
                MAX, WINDOW_MS, 250, {b"known": 20}, left=600, window=driven.now // WINDOW_MS
            ),
        ),
    )
    assert result.tokens == TokensDealt([300, 250, 20], 0, 30, 0, 0, False)
