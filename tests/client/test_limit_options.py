"""Token limiters, estimates, limit keys and what providers' headers say are checked before anything is sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from glidemq import App, Queue, SharedClient, TokenLimiter, ValidationError, Worker, limits
from glidemq.options import from_wire, to_wire
from glidemq.options.limit_key import check_limit_key
from glidemq.options.provider_headers import remaining, wait_ms
from glidemq.options.token_limiter import QueueLimits, queue_limits
from tests.testkit.server import ValkeyServer

LIMITER = TokenLimiter(1000, 60)


async def process(job: Any) -> None: ...


def limits_of(**options: Any) -> QueueLimits | None:
    app = App()
    app.processor("q", **options)(process)
    return app.processors["q"].limits


@pytest.mark.parametrize(
    "limiter",
    [
        TokenLimiter(1000, 0.5, "queue", allow_overtaking=True),
        TokenLimiter(1000, timedelta(milliseconds=500), "queue", allow_overtaking=True),
        {"max_tokens": 1000, "duration": 0.5, "scope": "queue", "allow_overtaking": True},
    ],
)
def test_limiter_is_taken_as_an_object_or_a_mapping(limiter: Any) -> None:
    assert limits_of(token_limiter=limiter) == QueueLimits(1000, 500, "queue", True)


def test_processor_without_limits_has_none() -> None:
    assert limits_of() is None
    assert limits_of(estimated_tokens=5, estimated_cost=1) is None


def test_limits_travel_as_plain_data_and_unknown_members_do_not_matter() -> None:
    made = queue_limits(LIMITER, 30, ("acme", "small"))
    assert made == QueueLimits(1000, 60_000, "both", False, 30, "acme/small")
    assert QueueLimits.of_manifest({**made.manifest(), "from_a_later_version": 1}) == made
    assert QueueLimits.of_manifest(None) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token_limiter": TokenLimiter(0, 60)}, "max_tokens must be a positive integer"),
        ({"token_limiter": TokenLimiter(True, 60)}, "max_tokens must be a positive integer"),
        ({"token_limiter": TokenLimiter(1.5, 60)}, "max_tokens must be a positive integer"),  # type: ignore[arg-type]
        ({"token_limiter": TokenLimiter(5, 0)}, "duration must be a positive"),
        ({"token_limiter": TokenLimiter(5, 60, "host")}, "scope must be"),  # type: ignore[arg-type]
        ({"token_limiter": {"max_tokens": 5}}, "needs max_tokens and a duration"),
        ({"token_limiter": {"maxTokens": 5, "duration": 1}}, "did you mean 'max_tokens'"),
        ({"token_limiter": 5}, "must be a TokenLimiter"),
        ({"token_limiter": LIMITER, "estimated_tokens": -1}, "estimated_tokens must be a non-negative"),
        ({"limit_key": ""}, "limit_key must be a non-empty text"),
        ({"limit_key": ("acme", "")}, "limit_key must be a non-empty text"),
        ({"limit_key": "a{b}"}, "without curly braces"),
        ({"limit_key": "x" * 257}, "at most 256 characters"),
    ],
)
def test_impossible_limits_are_refused_by_app_and_worker(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        limits_of(**options)
    with pytest.raises(ValidationError, match=message):
        Worker("q", process, connection="valkey://127.0.0.1:1", **options)


def test_parts_of_a_limit_key_are_joined() -> None:
    assert check_limit_key(("acme", "small")) == check_limit_key("acme/small") == "acme/small"


def test_estimate_of_a_job_comes_over_the_wire_and_back() -> None:
    wire = to_wire({"estimated_tokens": 1200})
    assert wire.json == b'{"estimatedTokens":1200}'
    assert from_wire({"estimatedTokens": 1200}) == {"estimated_tokens": 1200}
    with pytest.raises(ValidationError, match="estimated_tokens must be a non-negative integer"):
        to_wire({"estimated_tokens": 1.5})


@pytest.mark.parametrize(
    ("value", "milliseconds"),
    [
        (2, 2000),
        (0.25, 250),
        (timedelta(minutes=1), 60_000),
        ("20", 20_000),
        (" 1.5 ", 1500),
        ("-1", 0),
        ("6m0s", 360_000),
        ("1h2m3s4ms", 3_723_004),
        ("90ms", 90),
        (10**6, 86_400_000),
        ("1d12h", 86_400_000),
        (datetime(2020, 1, 1, tzinfo=UTC), 0),
        ("2020-01-01T00:00:00Z", 0),
        ("Wed, 01 Jan 2020 00:00:00 GMT", 0),
    ],
)
def test_wait_is_read_from_numbers_times_and_headers(value: Any, milliseconds: int) -> None:
    assert wait_ms(value, "retry_after") == milliseconds


def test_date_to_come_is_a_wait_until_then() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=100)
    for value in (soon, soon.isoformat(), format_datetime(soon, usegmt=True)):
        assert 95_000 < wait_ms(value, "reset") <= 100_001


@pytest.mark.parametrize(
    "value", ["soon", "", "5 apples", "10ms5", datetime(2030, 1, 1), -1, None, True, "nan"]
)
def test_wait_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="retry_after"):
        wait_ms(value, "retry_after")


def test_remaining_amount_is_a_number_or_a_header() -> None:
    assert [remaining(value, "n") for value in (0, 7, "59", " 3 ")] == [0, 7, 59, 3]
    for value in (-1, 1.5, "many", "-1", True, None):
        with pytest.raises(ValidationError, match="remaining_tokens must be a non-negative integer"):
            remaining(value, "remaining_tokens")


def test_observing_outside_of_a_processor_is_refused() -> None:
    with pytest.raises(ValidationError, match="outside of a processor"):
        limits.observe("acme", retry_after=1)


async def test_observing_outside_of_a_processor_holds_back_the_queues_of_the_key(
    server: ValkeyServer, queue_name: str
) -> None:
    async with (
        await SharedClient.connect(server.url) as client,
        Queue[Any, Any](queue_name, client=client) as queue,
    ):
        ways: list[dict[str, Any]] = [{"client": client}, {"connection": server.url}]
        for way in ways:
            observed = datetime.now(UTC)
            await limits.observe(queue_name, retry_after=0.6, **way)
            job = await queue.add("n", {})
            assert job is not None
            async with Worker[Any, Any](queue_name, process, connection=server.url, limit_key=queue_name):
                assert await job.wait_until_finished(poll=0.01) == "completed"
            assert job.processed_on is not None and (job.processed_on - observed).total_seconds() >= 0.59
        with pytest.raises(ValidationError, match="not both"):
            limits.observe(queue_name, retry_after=1, client=client, connection=server.url)


@pytest.mark.parametrize("tokens", [-1, 1.5, True, "5", 2**53])
async def test_impossible_token_count_is_refused(server: ValkeyServer, queue_name: str, tokens: Any) -> None:
    async with Queue[Any, Any](queue_name, connection=server.url) as queue:
        job = await queue.add("n", {})
        assert job is not None
        with pytest.raises(ValidationError, match="Token count"):
            await job.report_tokens(tokens)
