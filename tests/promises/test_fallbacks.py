"""A job whose attempt failed turns to the next entry of its chain that follows the error; only failures move it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pytest

from glidemq import Fallback, Job, Queue, RateLimitError, ValidationError, Worker
from tests.promises.model_calls_app import OverloadedError, RateLimitedError, fall_back, fall_back_async
from tests.testkit.runtime import Runtime
from tests.testkit.server import ValkeyServer

AnyQueue: TypeAlias = Queue[Any, Any]
PROCESSORS: list[Callable[[Any], Any]] = [fall_back, fall_back_async]

CHAIN = [Fallback("a", provider="p"), Fallback("b", metadata={"region": "eu"}), {"model": "c"}]
PICKY = [
    Fallback("small", on=(RateLimitedError,)),
    Fallback("other", on=["OverloadedError"]),
    Fallback("last"),
]


@pytest.fixture
async def queue(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyQueue]:
    async with AnyQueue(queue_name, connection=server.url) as queue:
        yield queue


async def added(queue: AnyQueue, data: Any = None, **options: Any) -> Job[Any, Any]:
    job = await queue.add("call", data, **options)
    assert job is not None
    return job


async def models(queue: AnyQueue, job: Job[Any, Any]) -> list[str]:
    """Which models the job's attempts have called."""
    assert await job.wait_until_finished(poll=0.01) in ("completed", "failed")
    return (await queue.get_job_logs(job.id)).logs


@pytest.mark.parametrize("processor", PROCESSORS)
async def test_each_retry_turns_to_the_next_entry_and_the_last_one_stays(
    server: ValkeyServer, queue: AnyQueue, processor: Callable[[Any], Any]
) -> None:
    two = await added(queue, ["OverloadedError"] * 2, attempts=4, fallbacks=CHAIN)
    many = await added(queue, ["OverloadedError"] * 5, attempts=6, fallbacks=CHAIN)
    plain = await added(queue, ["OverloadedError"], attempts=2)
    async with Worker[Any, Any](queue.name, processor, connection=server.url):
        assert await models(queue, two) == ["primary", "a", "b"]
        assert await models(queue, many) == ["primary", "a", "b", "c", "c", "c"]
        assert await models(queue, plain) == ["primary", "primary"]
    assert (two.fallback_index, many.fallback_index, plain.fallback_index) == (2, 5, 0)
    assert two.current_fallback == Fallback("b", metadata={"region": "eu"})
    assert many.current_fallback == Fallback("c")
    assert plain.current_fallback is None


async def test_without_attempts_every_entry_gets_one_and_given_attempts_stand(
    server: ValkeyServer, queue: AnyQueue
) -> None:
    chained = await added(queue, ["OverloadedError"] * 9, fallbacks=CHAIN)
    single = await added(queue, ["OverloadedError"] * 9, fallbacks=CHAIN, attempts=1)
    async with Worker[Any, Any](queue.name, fall_back_async, connection=server.url):
        assert await models(queue, chained) == ["primary", "a", "b", "c"]
        assert await models(queue, single) == ["primary"]
    assert (chained.opts["attempts"], chained.max_attempts, chained.attempts_made) == (4, 4, 4)
    unchained = await added(queue, fallbacks=[])
    assert unchained.max_attempts == 0


@pytest.mark.parametrize("processor", PROCESSORS)
async def test_entries_that_follow_other_errors_are_passed_over(
    server: ValkeyServer, queue: AnyQueue, processor: Callable[[Any], Any]
) -> None:
    limited = await added(queue, ["RateLimitedError", "OverloadedError"], attempts=3, fallbacks=PICKY)
    broken = await added(queue, ["OverloadedError", "RateLimitedError"], attempts=3, fallbacks=PICKY)
    subclass = await added(queue, ["TooManyTokensError"], attempts=2, fallbacks=PICKY)
    nothing = await added(
        queue, ["OverloadedError"] * 2, attempts=3, fallbacks=[Fallback("x", on=("RateLimitedError",))]
    )
    async with Worker[Any, Any](queue.name, processor, connection=server.url):
        assert await models(queue, limited) == ["primary", "small", "other"]
        assert await models(queue, broken) == ["primary", "other", "last"]
        assert await models(queue, subclass) == ["primary", "small"]
        assert await models(queue, nothing) == ["primary", "primary", "primary"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_entry_may_follow_the_timeout(server: ValkeyServer, queue: AnyQueue, kind: str) -> None:
    seen: list[Any] = []

    async def wait(job: Job[Any, Any]) -> None:
        seen.append(job.current_fallback and job.current_fallback.model)
        if job.attempts_made == 0:
            await job.abort_signal.wait()

    def block(job: Any) -> None:
        seen.append(job.current_fallback and job.current_fallback.model)
        while job.attempts_made == 0 and not job.abort_signal.aborted:
            pass

    chain = [Fallback("no", on=(OverloadedError,)), Fallback("faster", on=(TimeoutError,))]
    job = await added(queue, attempts=2, timeout=0.05, fallbacks=chain)
    async with Worker[Any, Any](queue.name, wait if kind == "async" else block, connection=server.url):
        assert await job.wait_until_finished(poll=0.01) == "completed"
    assert seen == [None, "faster"]


async def test_rate_limit_that_charges_nothing_moves_nothing(server: ValkeyServer, queue: AnyQueue) -> None:
    calls = 0

    async def call(job: Job[Any, Any]) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RateLimitError(duration=0.01)
        return job.fallback_index

    job = await added(queue, attempts=3, fallbacks=CHAIN)
    async with Worker[Any, Any](queue.name, call, connection=server.url):
        assert await job.wait_until_finished(poll=0.01) == "completed"
    assert (calls, job.return_value) == (2, 0)


async def test_chain_is_stored_as_node_reads_it_with_our_condition_beside(queue: AnyQueue, raw: Any) -> None:
    job = await added(
        queue,
        attempts=2,
        fallbacks=[Fallback("a", "p", {"k": [1]}, on=(RateLimitedError, "Other")), Fallback("b")],
    )
    assert orjson.loads(raw.hget(queue.keys.job(job.id), "opts")) == {
        "attempts": 2,
        "fallbacks": [
            {"model": "a", "provider": "p", "metadata": {"k": [1]}, "x-py:on": ["RateLimitedError", "Other"]},
            {"model": "b"},
        ],
    }
    stored = await queue.get_job(job.id)
    assert stored is not None
    assert stored.opts.get("fallbacks") == (
        Fallback("a", "p", {"k": [1]}, on=("RateLimitedError", "Other")),
        Fallback("b"),
    )


async def test_chain_of_a_stranger_that_makes_no_sense_keeps_its_places(queue: AnyQueue, raw: Any) -> None:
    job = await added(queue)
    key = queue.keys.job(job.id)
    for chain, index, expected in (
        ([{"model": 7}, {"model": "b", "x": 1}], 2, Fallback("b")),
        ([{"model": 7}], 1, Fallback("")),
        ("text", 1, None),
        ([], 3, None),
        ([{"model": "a"}], -1, None),
    ):
        raw.hset(key, mapping={"opts": orjson.dumps({"fallbacks": chain}).decode(), "fallbackIndex": index})
        await job.refresh()
        assert job.current_fallback == expected


@pytest.mark.parametrize(
    ("fallbacks", "sentence"),
    [
        ("a", "fallbacks must be a sequence of Fallback, not str"),
        ({"model": "a"}, "fallbacks must be a sequence of Fallback, not dict"),
        (["a"], "a fallback must be a Fallback or a mapping with its fields"),
        ([{"provider": "p"}], "a fallback needs a model"),
        ([{"model": "a", "modle": "b"}], "Unknown field of a fallback 'modle': did you mean 'model'"),
        ([Fallback("")], "the model of a fallback must be a non-empty text"),
        ([Fallback("a", provider="")], "the provider of a fallback must be a non-empty text"),
        ([{"model": "a", "metadata": 5}], "the metadata of a fallback must be a mapping"),
        ([Fallback("a", metadata={"k": {1}})], "the metadata of a fallback must be JSON values"),
        ([{"model": "a", "on": "RateLimitedError"}], "must be a sequence of error classes or their names"),
        ([{"model": "a", "on": [5]}], "must hold error classes or their names, not 5"),
        ([Fallback("a", on=(int,))], "must hold error classes or their names"),  # type: ignore[arg-type]
        ([Fallback("a")] * 101, "fallbacks must be at most 100, not 101"),
    ],
)
async def test_chain_that_makes_no_sense_is_refused_before_anything_is_sent(
    fallbacks: Any, sentence: str
) -> None:
    async with AnyQueue("q", connection="valkey://127.0.0.1:1") as unreachable:
        with pytest.raises(ValidationError, match=sentence):
            await unreachable.add("call", None, fallbacks=fallbacks)


@pytest.fixture
def runtime(own_server: ValkeyServer, tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(
        tmp_path / "runtime",
        "tests.promises.model_calls_app:app",
        url=own_server.url,
        effects=tmp_path / "effects",
        arguments=["--procs", "1"],
    )
    yield made.start()
    made.clean_up()


async def test_actor_processes_turn_to_their_fallbacks(runtime: Runtime, own_server: ValkeyServer) -> None:
    await runtime.ready()
    for name in ("sync-fallbacks", "async-fallbacks"):
        async with AnyQueue(name, connection=own_server.url) as queue:
            plain = await added(queue, ["OverloadedError"] * 2, attempts=4, fallbacks=CHAIN)
            picky = await added(queue, ["TooManyTokensError", "OverloadedError"], attempts=3, fallbacks=PICKY)
            assert await models(queue, plain) == ["primary", "a", "b"]
            assert await models(queue, picky) == ["primary", "small", "other"]
