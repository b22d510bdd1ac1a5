"""What follows from a processor's end, by the job's options."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidemq.commands.command import unpack
from glidemq.errors import PayloadValidationError, UnrecoverableError
from glidemq.pipeline.outcome import (
    NO_OPTIONS,
    backoff_ms,
    completed,
    delay_ms_of,
    failed,
    read_options,
    reason_of,
    retention,
)

FENCE = (b"7", b"run.1", 1_795_313_086_551, b"1-0")


def options(**given_options: Any) -> Any:
    return read_options(orjson.dumps(given_options))


def test_a_return_value_becomes_a_completion_row() -> None:
    outcome = completed(FENCE, b'{"ok":true}', NO_OPTIONS, urgent=False)
    assert outcome.succeeded
    assert unpack(outcome.row)[:5] == [*FENCE, b'{"ok":true}']


def test_a_failure_with_attempts_left_carries_its_delay() -> None:
    retry = options(attempts=3, backoff={"type": "exponential", "delay": 100})
    row = unpack(failed(FENCE, "boom", retry, attempts_made=1).row)
    assert row[4:7] == [b"boom", 3, 200]


def test_the_last_attempt_computes_no_delay() -> None:
    retry = options(attempts=2, backoff={"type": "fixed", "delay": 100})
    assert unpack(failed(FENCE, "boom", retry, attempts_made=1).row)[5:7] == [2, 0]


@pytest.mark.parametrize("error", [UnrecoverableError("no"), PayloadValidationError("bad field")])
def test_errors_that_cannot_heal_are_not_retried(error: Exception) -> None:
    retry = options(attempts=5)
    assert unpack(failed(FENCE, "no", retry, attempts_made=0, error=error).row)[5] == 0


def test_a_custom_strategy_gets_the_failure_and_answers_in_seconds() -> None:
    seen: list[tuple[int, BaseException]] = []

    def strategy(failures: int, error: BaseException) -> float:
        seen.append((failures, error))
        return 1.5

    error = RuntimeError("x")
    assert backoff_ms({"type": "mine", "delay": 7}, 2, error, {"mine": strategy}) == 1500
    assert seen == [(2, error)]
    assert backoff_ms({"type": "mine"}, 1, error, {"mine": lambda *_: timedelta(minutes=1)}) == 60_000
    assert backoff_ms({"type": "mine"}, 1, error, {"mine": lambda *_: 1e9}) == 315_360_000_000


@pytest.mark.parametrize("returned", [-1, float("nan"), None, "soon", RuntimeError("broken")])
def test_a_custom_strategy_that_fails_is_logged_and_replaced_by_the_fixed_delay(
    returned: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def strategy(failures: int, error: BaseException) -> Any:
        if isinstance(returned, Exception):
            raise returned
        return returned

    strategies: dict[str, Any] = {"mine": strategy}
    assert backoff_ms({"type": "mine", "delay": 70}, 3, ValueError("x"), strategies) == 70
    assert "back-off strategy 'mine' failed: the job waits for its fixed delay" in caplog.text


def test_a_strategy_that_the_processor_does_not_have_is_missed_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    strategies: dict[str, Any] = {"mine": lambda failures, error: 1}
    assert backoff_ms({"type": "yours", "delay": 70}, 3, ValueError("x"), strategies) == 70
    assert (
        "back-off strategy 'yours', which its processor does not have (backoff_strategies: mine)"
        in caplog.text
    )
    caplog.clear()
    for built_in in ("fixed", "exponential"):
        backoff_ms({"type": built_in, "delay": 70}, 1, ValueError("x"))
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("backoff", "failures", "expected"),
    [
        (None, 1, 0),
        ({"type": "fixed", "delay": 100}, 3, 100),
        ({"type": "unknown", "delay": 100}, 3, 100),
        ({"type": "exponential", "delay": 100}, 1, 100),
        ({"type": "exponential", "delay": 100}, 4, 800),
        ({"type": "exponential", "delay": -1}, 4, 0),
        ({"type": "fixed", "delay": "soon"}, 1, 0),
        ("nonsense", 1, 0),
    ],
)
def test_backoff_follows_the_wire_format(backoff: Any, failures: int, expected: int) -> None:
    assert backoff_ms(backoff, failures) == expected


@given(st.floats(0.01, 1), st.integers(1, 10_000))
def test_jitter_adds_up_to_its_share(jitter: float, delay: int) -> None:
    assert (
        delay
        <= backoff_ms({"type": "fixed", "delay": delay, "jitter": jitter}, 1)
        <= delay * (1 + jitter) + 1
    )


def test_exponential_backoff_never_leaves_the_range_of_due_times() -> None:
    assert backoff_ms({"type": "exponential", "delay": 1000}, 500) == 315_360_000_000


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (None, False),
        (False, False),
        (True, True),
        (0, False),
        (25, 25),
        ({"age": 60}, (60, False)),
        ({"age": 60, "count": 5}, (60, 5)),
        ("yes", False),
    ],
)
def test_retention_options_reach_the_server_as_it_takes_them(option: Any, expected: Any) -> None:
    assert retention(option) == expected


@pytest.mark.parametrize("raw", [b"not json", b"[]", b"null", b'{"attempts":"many","timeout":-1}'])
def test_malformed_options_count_as_none(raw: bytes) -> None:
    read = read_options(raw)
    assert (read.attempts, read.timeout_ms, read.remove_on_fail) == (0, 0, False)


def test_the_reason_is_the_message_or_the_type_where_there_is_none() -> None:
    assert reason_of(ValueError("bad 0")) == "bad 0"
    assert reason_of(ValueError()) == "ValueError"


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class WordlessError(Exception):
    def __str__(self) -> str:
        return 7  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("plain"), "plain"),
        (ValueError(), "ValueError"),
        (UnspeakableError(), "UnspeakableError"),
        (WordlessError(), "WordlessError"),
        (OSError("no such file: \udcff"), "no such file: ?"),
        (ValueError("x" * 3_000_000), "x" * 1_048_576),
        (ValueError("é" * 3_000_000), "é" * 524_288),
    ],
)
def test_any_error_gives_a_reason_that_can_be_stored(error: Exception, reason: str) -> None:
    row = unpack(failed(FENCE, reason_of(error), NO_OPTIONS, attempts_made=0, error=error).row)
    assert row[4].decode() == reason


@pytest.mark.parametrize("number", [2**53, 1e300, 1e308])
def test_numbers_without_limit_fit_into_a_row(number: float) -> None:
    retry = options(
        attempts=number,
        backoff={"type": "exponential", "delay": number, "jitter": number},
        removeOnComplete=number,
        removeOnFail={"age": number, "count": number},
    )
    row = unpack(failed(FENCE, "boom", retry, attempts_made=5000).row)
    assert row[5] == 2**53
    assert row[6] == 315_360_000_000
    assert row[7] == [2**53, 2**53]
    assert unpack(completed(FENCE, b"null", retry, urgent=False).row)[5] == 2**53


def test_retries_without_a_delay_never_overflow() -> None:
    retry = options(attempts=5000, backoff={"type": "exponential", "delay": 0})
    assert unpack(failed(FENCE, "boom", retry, attempts_made=4000).row)[6] == 0


@pytest.mark.parametrize(
    ("duration", "expected_ms"),
    [
        (1.5, 1500),
        (timedelta(minutes=1), 60_000),
        (0.0001, 1),
        (1e308, 315_360_000_000),
        (10**400, 315_360_000_000),
    ],
)
def test_any_positive_duration_is_a_delay_that_can_be_stored(
    duration: float | timedelta, expected_ms: int
) -> None:
    assert delay_ms_of(duration) == expected_ms
