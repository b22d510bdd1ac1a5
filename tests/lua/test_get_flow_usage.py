"""get_flow_usage: usage and children of some jobs, in bounded replies."""

from __future__ import annotations

import orjson

from glidemq.commands.get_flow_usage import FlowAnswer, FlowRow, GetFlowUsageCommand
from tests.lua.conftest import Call
from tests.lua.raw_queue import RawQueue


def ask(call: Call, queue: RawQueue, *rows: FlowRow) -> list[FlowAnswer]:
    command = GetFlowUsageCommand("k", rows=rows)
    reply = call("get_flow_usage", queue.name, rows=[[row.job_id, row.cursor] for row in rows])
    return list(command.parse_reply(reply))


def test_usage_comes_with_all_models_and_children(call: Call, queue: RawQueue) -> None:
    share = '{"run":"t","base":{"model":"a"},"part":{"model":"b"},"models":["a"]}'
    queue.hash("1", **{"usage:model": "b", "usage:totalTokens": "5", "x-py:usage": share})
    queue.client.sadd(queue.key("deps:1"), "glide:{q}:2", "glide:{other}:7")
    (answer,) = ask(call, queue, FlowRow("1"))
    assert orjson.loads(answer.usage or b"") == {"model": "b", "totalTokens": 5}
    assert answer.models == ["a", "b"]
    assert sorted(answer.children) == ["glide:{other}:7", "glide:{q}:2"]
    assert answer.following is None


def test_job_without_usage_without_children_or_without_a_hash_answers_nothing(
    call: Call, queue: RawQueue
) -> None:
    queue.hash("1")
    queue.client.set(queue.key("job:3"), "text")
    queue.client.set(queue.key("deps:3"), "text")
    assert (
        ask(call, queue, *(FlowRow(job_id) for job_id in ("1", "2", "3")))
        == [FlowAnswer(None, [], [], None)] * 3
    )


def test_many_children_come_in_pages_and_usage_only_once(call: Call, queue: RawQueue) -> None:
    queue.hash("1", **{"usage:totalTokens": "5"})
    queue.hash("2", **{"usage:totalTokens": "6"})
    children = {f"glide:{{q}}:child-{number}" for number in range(5000)}
    queue.client.sadd(queue.key("deps:1"), *children)
    found: set[str] = set()
    usages: list[bytes] = []
    waiting = [FlowRow("1"), FlowRow("2")]
    calls = 0
    while waiting:
        answers = ask(call, queue, *waiting)
        assert sum(len(answer.children) for answer in answers) < 3000
        del waiting[: len(answers)]
        for answer in answers:
            found.update(answer.children)
            usages += [answer.usage] if answer.usage else []
            waiting += [answer.following] if answer.following else []
        calls += 1
    assert found == children
    assert len(usages) == 2
    assert calls > 2


def test_reply_stops_when_it_has_enough_and_the_rest_is_asked_for_again(call: Call, queue: RawQueue) -> None:
    for job_id in "12345678":
        queue.client.sadd(queue.key(f"deps:{job_id}"), *(f"glide:{{q}}:{job_id}-{n}" for n in range(1000)))
    answers = ask(call, queue, *(FlowRow(job_id) for job_id in "12345678"))
    assert 1 <= len(answers) < 8
