"""get_logs: ranges of a log, read in bounded pages."""

from __future__ import annotations

import pytest

from glidemq.commands.command import unpack
from glidemq.commands.get_logs import GetLogsCommand
from glidemq.errors import ValidationError
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue


def read(call: Call, queue: RawQueue, start: int = 0, end: int = -1) -> tuple[list[str], int, int]:
    """The lines of the whole range, the length of the log, and the number of calls."""
    lines: list[str] = []
    count = calls = 0
    command: GetLogsCommand | None = GetLogsCommand(queue.key("meta"), job_id="1", start=start, end=end)
    while command is not None:
        arguments = {name.decode(): value for name, value in unpack(command.arguments()).items()}
        page = command.parse_reply(call("get_logs", queue.name, **arguments))
        lines += page.lines
        count, calls, command = page.count, calls + 1, page.following
    return lines, count, calls


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, -1, ["a", "b", "c", "d", "e"]),
        (1, 2, ["b", "c"]),
        (-2, -1, ["d", "e"]),
        (-99, 0, ["a"]),
        (3, 99, ["d", "e"]),
        (5, 9, []),
        (3, -4, []),
        (0, -6, []),
    ],
)
def test_ranges_are_those_of_a_list(
    call: Call, queue: RawQueue, start: int, end: int, expected: list[str]
) -> None:
    queue.client.rpush(queue.key("log:1"), "a", "b", "c", "d", "e")
    assert read(call, queue, start, end) == (expected, 5, 1)


def test_a_long_log_comes_in_pages_of_a_thousand(call: Call, queue: RawQueue) -> None:
    written = [f"line {number}" for number in range(2500)]
    queue.client.rpush(queue.key("log:1"), *written)
    assert read(call, queue) == (written, 2500, 3)
    assert read(call, queue, -1200, -101) == (written[-1200:-100], 2500, 2)


def test_a_page_of_long_lines_ends_past_a_mebibyte(call: Call, queue: RawQueue) -> None:
    line = "x" * 60_000
    queue.client.rpush(queue.key("log:1"), *[line] * 60)
    lines, count, calls = read(call, queue)
    assert (len(lines), count, calls) == (60, 60, 3)


def test_no_job_and_a_job_without_log_give_no_lines(call: Call, queue: RawQueue) -> None:
    assert read(call, queue) == ([], 0, 1)
    assert read(call, queue, -3, -1) == ([], 0, 1)


def test_bad_ranges_are_refused() -> None:
    with pytest.raises(ValidationError, match="end must be an integer"):
        GetLogsCommand("k", job_id="1", end=1.5)  # type: ignore[arg-type]
