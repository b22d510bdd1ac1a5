"""Broadcasts: every subscription gets every message it asks for, once, whatever happens to the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from glidemq import (
    Broadcast,
    BroadcastWorker,
    Job,
    Queue,
    QueueEvents,
    RateLimit,
    ValidationError,
    Worker,
    compile_subject_matcher,
    match_subject,
)
from glidemq.client.broadcast import REFUSED_OPTIONS
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually

AnyBroadcast = Broadcast[Any]
AnyWorker = BroadcastWorker[Any, Any]
Subscribe = Callable[..., AnyWorker]


@pytest.fixture
async def news(server: ValkeyServer, queue_name: str) -> AsyncIterator[AnyBroadcast]:
    async with AnyBroadcast(queue_name, connection=server.url) as broadcast:
        yield broadcast


@pytest.fixture
def subscribe(server: ValkeyServer, queue_name: str) -> Subscribe:
    """`subscribe("mail", got)`: a worker that appends what it gets to a list, or calls a processor."""

    def make(subscription: str, to: Any, **options: Any) -> AnyWorker:
        async def note(job: Job[Any, Any]) -> None:
            to.append((job.name, job.data))

        processor = note if isinstance(to, list) else to
        return AnyWorker(
            queue_name, processor, connection=server.url, subscription=subscription, block=0.2, **options
        )

    return make


async def test_each_subscription_gets_each_message_once_however_many_workers_it_has(
    news: AnyBroadcast, subscribe: Subscribe, raw: Any
) -> None:
    mail: list[Any] = []
    log: list[Any] = []
    async with subscribe("mail", mail), subscribe("mail", mail), subscribe("log", log, concurrency=5):
        for number in range(30):
            await news.publish("orders.created", number)
        await eventually(lambda: len(mail) >= 30 and len(log) >= 30, "both have got them")
    assert sorted(data for _, data in mail) == sorted(data for _, data in log) == list(range(30))
    assert set(mail) == {("orders.created", number) for number in range(30)}
    # Acknowledged entries stay, for subscriptions to come.
    assert raw.xlen(news.keys.stream) == 30
    groups: Any = raw.xinfo_groups(news.keys.stream)
    assert {(group["name"], group["pending"]) for group in groups} == {(b"mail", 0), (b"log", 0)}


async def test_what_is_written_is_what_node_writes(
    news: AnyBroadcast, subscribe: Subscribe, raw: Any, server: ValkeyServer
) -> None:
    async def fail_once(job: Job[Any, Any]) -> str:
        if not job.attempts_made:
            raise ValueError("not yet")
        return "done"

    names: list[str] = []
    async with QueueEvents(news.name, connection=server.url) as events, subscribe("s1", fail_once):
        message = await news.publish("topic.a", {"m": 1}, attempts=3)
        async for event in events:
            names.append(event.name)
            if event.name == "completed":
                break
        hash_of: Any = raw.hgetall(news.keys.job(message or ""))
        stored = {name.decode(): value.decode() for name, value in hash_of.items()}
    assert names == ["added", "retrying", "promoted", "completed"]
    assert (stored["state"], stored["returnvalue"], stored["attemptsMade"]) == ("completed", '"done"', "0")
    assert not [name for name in stored if name.startswith("x-py:")]
    entries: Any = raw.xrange(news.keys.stream)
    assert [fields for _, fields in entries] == [
        {b"jobId": b"1", b"name": b"topic.a"},
        {b"jobId": b"1", b"name": b"topic.a", b"retryGroup": b"s1"},
    ]
    own = f"{news.keys.job('1')}:sub:s1"
    assert raw.hgetall(own) == {b"a": b"1"}
    assert 86_000 < int(raw.ttl(own)) <= 86_400


async def test_a_failure_is_retried_for_its_own_subscription_alone(
    news: AnyBroadcast, subscribe: Subscribe
) -> None:
    attempts: list[int] = []
    fine: list[Any] = []
    ends: list[str] = []

    async def fail(job: Job[Any, Any]) -> None:
        attempts.append(job.attempts_made)
        raise ValueError("no")

    worker = subscribe("bad", fail)

    @worker.on("failed")
    def _(job: Job[Any, Any], error: BaseException) -> None:
        ends.append(str(error))

    async with worker, subscribe("good", fine):
        await news.publish("a", 1, attempts=3, backoff={"type": "fixed", "delay": 0.01})
        await eventually(lambda: len(ends) == 3, "three attempts have failed")
        await news.publish("a", 2, attempts=1)
        await eventually(lambda: len(fine) == 2 and len(ends) == 4, "the next message")
    assert attempts == [0, 1, 2, 0]
    assert fine == [("a", 1), ("a", 2)]


async def test_a_new_subscription_starts_where_it_asks_to(news: AnyBroadcast, subscribe: Subscribe) -> None:
    for number in range(5):
        await news.publish("n", number)
    replayed: list[Any] = []
    fresh: list[Any] = []
    late: list[Any] = []
    async with subscribe("all", replayed, start_from="0-0"), subscribe("new", fresh):
        await news.publish("n", 5)
        await eventually(lambda: len(replayed) == 6 and len(fresh) == 1, "all is delivered")
    assert [data for _, data in replayed] == [0, 1, 2, 3, 4, 5]
    assert fresh == [("n", 5)]
    # What is published while nobody is there waits for the subscription, wherever it once started.
    await news.publish("n", 6)
    async with subscribe("new", late, start_from="0-0"):
        await eventually(lambda: bool(late), "the subscription goes on")
    assert late == [("n", 6)]


async def test_subscriptions_get_only_the_subjects_that_they_ask_for(
    news: AnyBroadcast, subscribe: Subscribe, raw: Any
) -> None:
    created: list[Any] = []
    orders: list[Any] = []
    async with (
        subscribe("created", created, subjects=["*.created"]),
        subscribe("orders", orders, subjects="orders.>"),
    ):
        for subject in ("orders.created", "orders.eu.created", "users.created", "users", "orders.paid"):
            await news.publish(subject, None)
        await eventually(lambda: len(created) == 2 and len(orders) == 3, "those that fit are delivered")
        await eventually(lambda: _pending(raw, news) == 0, "the others are acknowledged")
    assert {name for name, _ in created} == {"orders.created", "users.created"}
    assert {name for name, _ in orders} == {"orders.created", "orders.eu.created", "orders.paid"}


def _pending(raw: Any, news: AnyBroadcast) -> int:
    groups: Any = raw.xinfo_groups(news.keys.stream)
    return sum(group["pending"] + (group["lag"] or 0) for group in groups)


@pytest.mark.parametrize(
    ("pattern", "fits", "others"),
    [
        ("a.b", ["a.b"], ["a", "a.b.c", "a.c", ""]),
        ("a.*", ["a.b", "a."], ["a", "a.b.c", "b.b"]),
        ("*.b.*", ["a.b.c"], ["a.b", "a.c.b", "b.b"]),
        ("a.>", ["a.b", "a.b.c"], ["a", "b.a"]),
        (">", ["a", "a.b"], []),
        ("*.>", ["a.b", "a.b.c"], ["a"]),
    ],
)
def test_patterns(pattern: str, fits: list[str], others: list[str]) -> None:
    assert all(match_subject(pattern, subject) for subject in fits)
    assert not any(match_subject(pattern, subject) for subject in others)


def test_any_of_several_patterns_suffices() -> None:
    matches = compile_subject_matcher(["a.*", "b.>"])
    assert [subject for subject in ("a.x", "b.x.y", "c.x") if matches(subject)] == ["a.x", "b.x.y"]
    assert not compile_subject_matcher([])("a")


async def test_old_messages_are_trimmed_with_all_that_belongs_to_them(
    server: ValkeyServer, queue_name: str, subscribe: Subscribe, raw: Any
) -> None:
    got: list[Any] = []

    async def log(job: Job[Any, Any]) -> None:
        await job.log("line")
        if job.data == 1 and not job.attempts_made:
            raise ValueError("once")
        got.append(job.data)

    async with AnyBroadcast(queue_name, connection=server.url, max_messages=3) as news:
        async with subscribe("all", log):
            for number in range(8):
                await news.publish("n", number, attempts=2)
                await eventually(lambda number=number: number in got, f"message {number}")  # type: ignore[misc]
        assert raw.xlen(news.keys.stream) == 3
        kept = {b"6", b"7", b"8"}
        keys: list[bytes] = list(raw.scan_iter(match=f"{news.keys.base}:*", count=1000))
        jobs = {key for key in keys if b":job:" in key and b":sub:" not in key}
        assert {key.rsplit(b":", 1)[1] for key in jobs} == kept
        assert {key.rsplit(b":", 1)[1] for key in keys if b":log:" in key} == kept
        assert [key for key in keys if b":sub:" in key] == []
        assert set(raw.zrange(news.keys.completed, 0, -1)) == kept


async def test_the_messages_of_a_worker_that_vanished_are_delivered_to_another(
    news: AnyBroadcast, subscribe: Subscribe, server: ValkeyServer, raw: Any
) -> None:
    got: list[Any] = []
    stalled: list[str] = []
    async with subscribe("s", got, lock_duration=1, stalled_interval=0.5) as worker:
        worker.on("stalled", stalled.append)
        await worker.pause()
        await news.publish("n", "left behind")
        # Somebody reads it, starts it, and is never heard of again.
        entry = raw.xreadgroup("s", "dead", {news.keys.stream: ">"})[0][1][0][0]
        raw.hset(f"{news.keys.job('1')}:sub:s", "x-py:run", "of-the-dead")
        assert entry
        await worker.resume()
        await eventually(lambda: got == [("n", "left behind")], "it is taken over")
    assert stalled == ["1"]


async def test_a_message_that_stalls_too_often_fails(
    news: AnyBroadcast, subscribe: Subscribe, raw: Any
) -> None:
    got: list[Any] = []
    async with subscribe("s", got, lock_duration=1, stalled_interval=0.5, max_stalled_count=0) as worker:
        await worker.pause()
        await news.publish("n", 1)
        raw.xreadgroup("s", "dead", {news.keys.stream: ">"})
        raw.hset(f"{news.keys.job('1')}:sub:s", "x-py:run", "of-the-dead")
        await worker.resume()
        await eventually(lambda: raw.hget(news.keys.job("1"), "state") == b"failed", "it fails")
    assert raw.hget(news.keys.job("1"), "failedReason") == b"job stalled more than maxStalledCount"
    assert got == []


async def test_a_long_message_is_kept_alive_and_runs_once(news: AnyBroadcast, subscribe: Subscribe) -> None:
    runs: list[str] = []
    let_go = asyncio.Event()

    async def wait(job: Job[Any, Any]) -> None:
        runs.append(job.id)
        await let_go.wait()

    options: Any = {"lock_duration": 1, "stalled_interval": 0.5}
    async with subscribe("s", wait, **options), subscribe("s", wait, **options):
        await news.publish("n", 1)
        await eventually(lambda: bool(runs), "it runs")
        with pytest.raises(AssertionError):  # two locks go by
            await eventually(lambda: len(runs) > 1, "it runs again", within_s=2.5)
        let_go.set()


async def test_a_forced_close_leaves_the_message_to_another_worker_at_once(
    news: AnyBroadcast, subscribe: Subscribe, raw: Any
) -> None:
    started = asyncio.Event()

    async def hang(job: Job[Any, Any]) -> None:
        started.set()
        await asyncio.sleep(60)

    worker = subscribe("s", hang)
    await worker.start()
    await news.publish("n", 1)
    await started.wait()
    await worker.close(force=True)
    got: list[Any] = []
    async with subscribe("s", got):
        await eventually(lambda: got == [("n", 1)], "it is delivered again", within_s=5)
    assert raw.hget(f"{news.keys.job('1')}:sub:s", "x-py:stalls") is None


async def test_a_pause_holds_deliveries_back_and_a_rate_limit_spreads_them(
    news: AnyBroadcast, subscribe: Subscribe
) -> None:
    got: list[Any] = []
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def note(job: Job[Any, Any]) -> None:
        times.append(loop.time())
        got.append(job.data)

    async with subscribe("s", note, concurrency=10, promotion_interval=0.05):
        await news.pause()
        await news.publish("n", 1)
        with pytest.raises(AssertionError):
            await eventually(lambda: bool(got), "a paused broadcast delivers", within_s=0.5)
        await news.resume()
        await eventually(lambda: got == [1], "it is delivered")
        await news.set_global_rate_limit(RateLimit(max=2, duration=0.3))
        for number in range(6):
            await news.publish("n", number)
        await eventually(lambda: len(got) == 7, "all are delivered")
        assert times[-1] - times[1] >= 0.55  # three windows
        await news.set_global_rate_limit(None)
        await news.publish("n", 7)
        await eventually(lambda: len(got) == 8, "the limit is lifted")


async def test_plain_functions_delays_and_revoked_messages(
    news: AnyBroadcast, subscribe: Subscribe, server: ValkeyServer
) -> None:
    got: list[Any] = []

    def note(job: Any) -> None:
        job.log("seen")
        got.append(job.data)

    async with subscribe("s", note), Queue[Any, Any](news.name, connection=server.url) as queue:
        await news.publish("n", "late", delay=0.2)
        revoked = await news.publish("n", "never", delay=0.1)
        assert revoked is not None and await queue.revoke(revoked) == "revoked"
        await eventually(lambda: got == ["late"], "the delayed one is delivered")
        assert (await queue.get_job_logs("1")).logs == ["seen"]
        assert await news.publish("n", "x", job_id="mine") == "mine"
        assert await news.publish("n", "x", job_id="mine") is None


async def test_an_obliterated_broadcast_is_subscribed_to_again(
    news: AnyBroadcast, subscribe: Subscribe, server: ValkeyServer
) -> None:
    got: list[Any] = []
    async with (
        subscribe("s", got, start_from="0-0"),
        Queue[Any, Any](news.name, connection=server.url) as queue,
    ):
        await news.publish("n", 1)
        await eventually(lambda: len(got) == 1, "the first")
        await queue.obliterate(force=True)
        await news.publish("n", 2)
        await eventually(lambda: len(got) == 2, "the next")


@pytest.mark.parametrize("option", REFUSED_OPTIONS)
async def test_options_without_a_meaning_are_refused(option: str) -> None:
    async with AnyBroadcast("b", connection="valkey://127.0.0.1:1") as broadcast:
        options: Any = {option: 1}
        with pytest.raises(ValidationError, match=f"{option} has no meaning"):
            await broadcast.publish("s", None, **options)
        with pytest.raises(ValidationError, match="must not contain"):
            await broadcast.publish("s", None, job_id="a||b")


async def test_bad_arguments_are_refused(server: ValkeyServer, queue_name: str) -> None:
    def nothing(job: Any) -> None: ...

    url = "valkey://localhost"
    for most in (0, -1, True, 1.5):
        with pytest.raises(ValidationError, match="max_messages must be a positive integer"):
            AnyBroadcast("b", max_messages=most, connection=url)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="BroadcastWorker requires a `subscription` name"):
        AnyWorker("b", nothing, subscription="", connection=url)
    with pytest.raises(ValidationError, match="`>` wildcard must be the last token in a subject pattern"):
        AnyWorker("b", nothing, subscription="s", subjects=["a.>.b"], connection=url)
    with pytest.raises(ValidationError, match="block must be at most 10 seconds"):
        AnyWorker("b", nothing, subscription="s", block=11, connection=url)
    with pytest.raises(ValidationError, match="start_from 'yesterday' is refused"):
        await AnyWorker(
            queue_name, nothing, subscription="s", start_from="yesterday", connection=server.url
        ).start()


async def test_a_job_whose_own_id_looks_like_a_retry_is_promoted_as_itself(
    server: ValkeyServer, queue_name: str, raw: Any
) -> None:
    async with Queue[Any, Any](queue_name, connection=server.url) as queue:
        got: list[str] = []

        async def note(job: Job[Any, Any]) -> None:
            got.append(job.id)

        await queue.add("n", 1, job_id="a||b", delay=0.05)
        async with Worker[Any, Any](queue_name, note, connection=server.url):
            await eventually(lambda: got == ["a||b"], "it runs")
