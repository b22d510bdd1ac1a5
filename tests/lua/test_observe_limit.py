"""gmq_observe_limit: what a provider has said stays known for as long as it holds, and no longer."""

from __future__ import annotations

from glidemq.commands.look_at_limit import LimitSeen, LookAtLimitCommand, ShareWanted
from glidemq.commands.observe_limit import ObserveLimitCommand
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute

NOTHING = ShareWanted(0, 0, 0)


def observe(
    driven: DrivenQueue,
    retry_ms: int | None = None,
    requests: int | None = None,
    tokens: int | None = None,
    reset_ms: int = 1000,
) -> None:
    execute(
        driven,
        ObserveLimitCommand(
            driven.key("meta"), retry_ms=retry_ms, requests=requests, tokens=tokens, reset_ms=reset_ms
        ),
    )


def look(driven: DrivenQueue) -> LimitSeen:
    return execute(driven, LookAtLimitCommand(driven.key("meta"), requests=NOTHING, tokens=NOTHING))


def left(driven: DrivenQueue, name: str = "requests") -> int:
    return int(driven.client.hget(driven.key("x-py:observed"), name))


def ttl_ms(driven: DrivenQueue) -> int:
    return int(driven.client.pttl(driven.key("x-py:observed")))


def test_everybody_is_held_back_until_the_time_is_over(driven: DrivenQueue) -> None:
    observe(driven, retry_ms=5000)
    assert 4000 < ttl_ms(driven) <= 5000
    driven.pass_time(4999)
    assert look(driven).hold_ms == 1
    driven.pass_time(1)
    assert look(driven).hold_ms == 0


def test_shorter_time_does_not_end_a_longer_one(driven: DrivenQueue) -> None:
    observe(driven, retry_ms=5000)
    observe(driven, retry_ms=100)
    assert look(driven).hold_ms == 5000
    assert ttl_ms(driven) > 4000


def test_of_two_answers_about_one_period_the_smaller_counts(driven: DrivenQueue) -> None:
    observe(driven, requests=10)
    observe(driven, requests=12, reset_ms=900)
    assert left(driven) == 10
    observe(driven, requests=9, reset_ms=900)
    assert left(driven) == 9
    assert look(driven).requests.until_ms == driven.now + 1000


def test_answer_about_a_later_period_replaces_the_earlier_one(driven: DrivenQueue) -> None:
    observe(driven, tokens=0)
    observe(driven, tokens=500, reset_ms=2001)
    assert left(driven, "tokens") == 500
    observe(driven, tokens=0, reset_ms=2001)
    driven.pass_time(2001)
    observe(driven, tokens=700)
    assert left(driven, "tokens") == 700


def test_what_is_said_of_one_thing_leaves_the_others_as_they_are(driven: DrivenQueue) -> None:
    observe(driven, retry_ms=50, requests=3, reset_ms=9000)
    observe(driven, tokens=70, reset_ms=100)
    driven.pass_time(50)
    seen = look(driven)
    assert (seen.hold_ms, seen.requests.lasts_ms, seen.tokens.lasts_ms) == (0, 8950, 50)
    assert ttl_ms(driven) > 8000


def test_nothing_said_leaves_no_key(driven: DrivenQueue) -> None:
    observe(driven)
    assert not driven.client.exists(driven.key("x-py:observed"))
