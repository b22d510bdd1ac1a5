"""get_usage_buckets: the sum of a span of minutes, page by page."""

from __future__ import annotations

from glidemq.commands.get_usage_buckets import MINUTE_MS, GetUsageBucketsCommand, UsageBuckets
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue

FIRST = 1_800_000_000_000 // MINUTE_MS * MINUTE_MS


def read(call: Call, queue: RawQueue, first: int, last: int) -> tuple[dict[str, bytes], int]:
    """The first page, and how many pages there are."""
    command: GetUsageBucketsCommand | None = GetUsageBucketsCommand("k", first_ms=first, last_ms=last)
    pages: list[UsageBuckets] = []
    while command is not None:
        reply = call("get_usage_buckets", queue.name, first=command.first_ms, last=command.last_ms)
        page = command.parse_reply(reply)
        pages.append(page)
        command = page.following
    merged: dict[str, bytes] = {}
    for page in pages:
        merged |= page.fields
    return merged, len(pages)


def test_minutes_of_the_span_are_summed_up_and_no_others(call: Call, queue: RawQueue) -> None:
    for minute, tokens, unit in ((-1, 1000, "x"), (0, 1, "usd"), (2, 20, "eur"), (3, 300, "y")):
        fields = {"jobCount": 1, "totalTokens": tokens, "tokens:input": tokens, "costUnit": unit}
        queue.client.hset(queue.key(f"usage:{FIRST + minute * MINUTE_MS}"), mapping=fields)
    fields, pages = read(call, queue, FIRST, FIRST + 2 * MINUTE_MS)
    assert fields == {"jobCount": b"2", "totalTokens": b"21", "tokens:input": b"21", "costUnit": b"eur"}
    assert pages == 1


def test_long_span_comes_in_pages_that_leave_nothing_out(call: Call, queue: RawQueue) -> None:
    minutes = 2500
    for minute in (0, 999, 1000, 1999, 2000, minutes - 1):
        queue.client.hset(queue.key(f"usage:{FIRST + minute * MINUTE_MS}"), f"tokens:{minute}", "1")
    fields, pages = read(call, queue, FIRST, FIRST + (minutes - 1) * MINUTE_MS)
    assert sorted(fields) == sorted(f"tokens:{minute}" for minute in (0, 999, 1000, 1999, 2000, minutes - 1))
    assert pages == 3


def test_keys_and_values_that_make_no_sense_are_passed_over(call: Call, queue: RawQueue) -> None:
    queue.client.set(queue.key(f"usage:{FIRST}"), "text")
    queue.client.hset(
        queue.key(f"usage:{FIRST + MINUTE_MS}"), mapping={"totalTokens": "many", "jobCount": "2"}
    )
    assert read(call, queue, FIRST, FIRST + MINUTE_MS) == ({"jobCount": b"2"}, 1)


def test_queue_that_never_reported_comes_to_nothing(call: Call, queue: RawQueue) -> None:
    assert read(call, queue, FIRST, FIRST) == ({}, 1)
