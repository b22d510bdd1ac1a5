"""What an operator reads about runs that have failed: which attempt, of how many, and where."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from glidemq.errors import UnrecoverableError
from glidemq.pipeline.failure_log import log_failure, log_overrun, place_of, summary_of
from glidemq.pipeline.outcome import NO_OPTIONS, read_options


def options(**given: Any) -> Any:
    return read_options(orjson.dumps(given))


@pytest.mark.parametrize(
    ("attempts_made", "given", "said"),
    [
        (0, NO_OPTIONS, "attempt 1 of 1:"),
        (0, options(attempts=3), "attempt 1 of 3:"),
        (2, options(attempts=3), "attempt 3 of 3:"),
        (3, options(attempts=3), "attempt 4:"),
    ],
)
def test_failure_tells_its_attempt_and_how_many_there_are(
    attempts_made: int, given: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    log_failure("mail", b"7", attempts_made, given, ValueError("no address"))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith(f"job 7 of 'mail' failed, {said}")
    assert record.getMessage().endswith("ValueError: no address")


def interrupted() -> KeyboardInterrupt:
    """An interruption of code of this file, with its traceback."""
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as interruption:
        return interruption


def test_overrun_tells_the_timeout_and_where_the_code_was(caplog: pytest.LogCaptureFixture) -> None:
    log_overrun("mail", b"7", 1, options(attempts=2), 500, interrupted())
    message = caplog.records[0].getMessage()
    assert message.startswith(
        "job 7 of 'mail' overran its timeout of 0.5 s, attempt 2 of 2, while it was here:\n"
    )
    assert f'{__file__}", line ' in message
    assert message.endswith("raise KeyboardInterrupt")


def test_overrun_that_interrupted_nothing_names_no_place() -> None:
    assert place_of(None) == ""
    assert place_of(TimeoutError()) == ""


def test_refusals_of_our_own_are_one_line_without_a_traceback() -> None:
    assert summary_of(UnrecoverableError("gone")) == "UnrecoverableError: gone"
