"""What an operator reads about runs that have failed: which attempt, of how many, and where."""

from __future__ import annotations

import traceback
from typing import Any

import orjson
import pytest

from glidemq import Queue
from glidemq.errors import UnrecoverableError, ValidationError
from glidemq.pipeline.failure_log import log_failure, log_overrun, summary_of, traceback_of
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
    (record,) = caplog.records
    assert record.getMessage() == "job 7 of 'mail' overran its timeout of 0.5 s, attempt 2 of 2"
    assert record.exc_info is not None
    assert [frame.name for frame in traceback.extract_tb(record.exc_info[2])] == ["interrupted"]


def test_overrun_that_interrupted_nothing_names_no_place() -> None:
    assert traceback_of(None) is None
    assert traceback_of(TimeoutError()) is None


def test_what_is_raised_to_end_a_job_has_no_traceback() -> None:
    try:
        raise UnrecoverableError("gone")
    except UnrecoverableError as error:
        assert traceback_of(error) is None
        assert summary_of(error) == "UnrecoverableError: gone"


def test_refusal_of_our_own_ends_where_the_user_asked() -> None:
    try:
        Queue("a:b")
    except ValidationError as error:
        info = traceback_of(error)
        assert info is not None
        assert [frame.filename for frame in traceback.extract_tb(info[2])] == [__file__]
