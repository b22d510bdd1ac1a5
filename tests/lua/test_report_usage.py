"""report_usage: within a run a report replaces the one before, runs add up, and the buckets hold the same sums."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from glidemq.commands.command import unpack
from glidemq.commands.report_usage import ReportUsageCommand, UsageRefusal, UsageReported
from glidemq.options.usage import UsageReport
from tests.lua.driven_queue import START_MS, DrivenQueue, Started

MINUTE = START_MS - START_MS % 60_000
HOUR_MS = 3_600_000


def report(
    driven: DrivenQueue,
    job_id: str = "1",
    *,
    token: str | bool = False,
    tokens: dict[str, float] | None = None,
    costs: dict[str, float] | None = None,
    **usage: Any,
) -> list[Any]:
    if tokens:
        usage.setdefault("totalTokens", sum(tokens.values()))
    if costs:
        usage.setdefault("totalCost", sum(costs.values()))
    return driven.call(
        "report_usage",
        id=job_id,
        token=token,
        usage=usage,
        tokens=tokens or {},
        costs=costs or {},
        events=True,
    )


def resolved(reply: list[Any]) -> dict[str, Any]:
    assert reply[0] == b"ok", reply
    usage: dict[str, Any] = orjson.loads(reply[1])
    return usage


def bucket(driven: DrivenQueue, minute: int = MINUTE) -> dict[str, str]:
    """The bucket, without what replaced reports have left at zero."""
    stored = driven.client.hgetall(driven.key(f"usage:{minute}"))
    return {name.decode(): value.decode() for name, value in stored.items() if value != b"0"}


def run_again(driven: DrivenQueue, job: Started) -> Started:
    """Fail the run, and start the next one."""
    driven.fail(job, max_attempts=5)
    return driven.start_one()


def test_report_leaves_the_fields_bucket_and_event_that_node_leaves(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    report(
        driven,
        token=job.token,
        tokens={"input": 100, "output": 50},
        costs={"total": 0.003},
        model="m-1",
        provider="prov",
        costUnit="usd",
        latencyMs=12,
        cached=False,
    )
    stored = {name: value for name, value in driven.job("1").items() if name.startswith("usage:")}
    assert stored == {
        "usage:model": "m-1",
        "usage:provider": "prov",
        "usage:tokens": '{"input":100,"output":50}',
        "usage:totalTokens": "150",
        "usage:costs": '{"total":0.003}',
        "usage:totalCost": "0.003",
        "usage:costUnit": "usd",
        "usage:latencyMs": "12",
        "usage:cached": "0",
        "usage:bucketTs": str(MINUTE),
    }
    assert bucket(driven) == {
        "jobCount": "1",
        "totalTokens": "150",
        "totalCost": "0.003",
        "costUnit": "usd",
        "models:m-1": "1",
        "tokens:input": "100",
        "tokens:output": "50",
        "costs:total": "0.003",
    }
    assert 0 < driven.client.ttl(driven.key(f"usage:{MINUTE}")) <= 2_592_000
    assert driven.events()[-1] == {
        "event": "usage",
        "jobId": "1",
        "data": '{"model":"m-1","provider":"prov","tokens":{"input":100,"output":50},"costs":{"total":0.003},'
        '"costUnit":"usd","latencyMs":12,"cached":false,"totalTokens":150,"totalCost":0.003}',
    }


def test_second_report_of_a_run_replaces_the_first(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    report(driven, token=job.token, tokens={"input": 10, "reasoning": 7}, model="a", provider="p")
    usage = resolved(report(driven, token=job.token, tokens={"input": 4}, model="b"))
    assert usage == {"model": "b", "tokens": {"input": 4}, "totalTokens": 4}
    assert driven.field("1", "usage:provider") is None
    assert bucket(driven) == {"jobCount": "1", "totalTokens": "4", "tokens:input": "4", "models:b": "1"}


def test_runs_add_up_on_the_job_and_in_the_bucket(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    report(driven, token=job.token, tokens={"input": 10}, costs={"total": 0.1}, model="a", latencyMs=5)
    job = run_again(driven, job)
    report(driven, token=job.token, tokens={"input": 999})
    usage = resolved(
        report(
            driven,
            token=job.token,
            tokens={"input": 3, "output": 2},
            costs={"total": 0.2},
            model="b",
            latencyMs=7,
        )
    )
    assert usage == {
        "model": "b",
        "tokens": {"input": 13, "output": 2},
        "totalTokens": 15,
        "costs": {"total": pytest.approx(0.3)},
        "totalCost": pytest.approx(0.3),
        "latencyMs": 12,
    }
    counted = bucket(driven)
    assert counted["jobCount"] == "1"
    assert (counted["models:a"], counted["models:b"]) == ("1", "1")
    assert (counted["totalTokens"], counted["tokens:input"], counted["tokens:output"]) == ("15", "13", "2")
    assert float(counted["totalCost"]) == pytest.approx(0.3)


def test_every_run_is_counted_in_the_minute_of_its_own_reports(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    report(driven, token=job.token, tokens={"input": 10}, model="a")
    driven.pass_time(HOUR_MS)
    job = run_again(driven, job)
    report(driven, token=job.token, tokens={"input": 5}, model="a")
    driven.pass_time(HOUR_MS)
    report(driven, token=job.token, tokens={"input": 6}, model="a")
    assert bucket(driven) == {"jobCount": "1", "totalTokens": "10", "tokens:input": "10", "models:a": "1"}
    assert bucket(driven, MINUTE + HOUR_MS) == {}
    assert bucket(driven, MINUTE + 2 * HOUR_MS) == {"totalTokens": "6", "tokens:input": "6"}
    assert driven.field("1", "usage:totalTokens") == "16"


def test_repeated_call_counts_nothing_twice(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    for _ in range(3):
        report(driven, token=job.token, tokens={"input": 10}, costs={"total": 0.1}, model="a")
    assert bucket(driven)["totalTokens"] == "10"
    assert float(bucket(driven)["totalCost"]) == pytest.approx(0.1)
    assert bucket(driven)["models:a"] == "1"


def test_report_that_replaces_one_of_an_expired_bucket_does_not_bring_it_back(driven: DrivenQueue) -> None:
    driven.add()
    report(driven, tokens={"input": 10})
    driven.client.delete(driven.key(f"usage:{MINUTE}"))
    driven.pass_time(HOUR_MS)
    report(driven, tokens={"input": 4})
    assert bucket(driven) == {}
    assert bucket(driven, MINUTE + HOUR_MS)["totalTokens"] == "4"


def test_run_that_somebody_else_took_over_is_refused(driven: DrivenQueue) -> None:
    driven.add()
    first = driven.start_one()
    second = run_again(driven, first)
    before = driven.snapshot()
    reply = report(driven, token=first.token, tokens={"input": 10})
    assert command().parse_reply(reply) is UsageRefusal.LEASE_LOST
    assert driven.snapshot() == before
    assert report(driven, token=second.token, tokens={"input": 1})[0] == b"ok"


def test_run_reports_after_its_end_and_without_a_token_the_last_one_is_meant(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    report(driven, token=job.token, tokens={"input": 10})
    driven.complete(job)
    assert resolved(report(driven, token=job.token, tokens={"input": 11}))["totalTokens"] == 11
    assert resolved(report(driven, tokens={"input": 12}))["totalTokens"] == 12


def test_what_node_has_reported_counts_as_an_earlier_run(driven: DrivenQueue) -> None:
    driven.add()
    job = driven.start_one()
    node = {
        "usage:model": "n",
        "usage:tokens": '{"input":7}',
        "usage:totalTokens": "7",
        "usage:bucketTs": str(MINUTE),
    }
    driven.client.hset(driven.key("job:1"), mapping=node)
    driven.client.hset(
        driven.key(f"usage:{MINUTE}"), mapping={"jobCount": "1", "totalTokens": "7", "models:n": "1"}
    )
    usage = resolved(report(driven, token=job.token, tokens={"input": 3}, model="p"))
    assert usage == {"model": "p", "tokens": {"input": 10}, "totalTokens": 10}
    counted = bucket(driven)
    assert (counted["jobCount"], counted["totalTokens"]) == ("1", "10")


def test_fields_that_make_no_sense_are_replaced(driven: DrivenQueue) -> None:
    driven.add()
    nonsense = {
        "usage:tokens": "[1,",
        "usage:totalTokens": "many",
        "usage:bucketTs": "x",
        "x-py:usage": '{"run":7}',
    }
    driven.client.hset(driven.key("job:1"), mapping=nonsense)
    assert resolved(report(driven, tokens={"input": 3}))["totalTokens"] == 3


def test_large_and_small_amounts_keep_their_value(driven: DrivenQueue) -> None:
    driven.add()
    report(driven, tokens={"input": 2**53}, costs={"total": 1e-7}, totalCost=0.1 + 0.2)
    assert driven.field("1", "usage:totalTokens") == "9007199254740992"
    assert orjson.loads(driven.field("1", "usage:costs") or "") == {"total": 1e-7}
    assert driven.field("1", "usage:totalCost") == "0.30000000000000004"


def test_category_names_are_any_text(driven: DrivenQueue) -> None:
    driven.add()
    report(driven, tokens={'a"b\\': 1, "ünï/x": 2})
    assert orjson.loads(driven.field("1", "usage:tokens") or "") == {'a"b\\': 1, "ünï/x": 2}


def test_holder_of_the_lock_of_node_is_waited_for(driven: DrivenQueue) -> None:
    driven.add()
    driven.client.set(driven.key("job:1:usage-lock"), "t", px=5000)
    assert command().parse_reply(report(driven, tokens={"input": 1})) is UsageRefusal.BUSY
    assert driven.field("1", "usage:totalTokens") is None
    driven.client.delete(driven.key("job:1:usage-lock"))
    assert isinstance(command().parse_reply(report(driven, tokens={"input": 1})), UsageReported)


def test_job_that_is_gone_gets_no_stub(driven: DrivenQueue) -> None:
    driven.client.hset(driven.key("job:stub"), "lastActive", "1")
    for job_id in ("none", "stub"):
        assert command().parse_reply(report(driven, job_id, tokens={"input": 1})) is UsageRefusal.MISSING
    assert driven.suffixes() == ["job:stub"]


def test_first_report_of_a_minute_says_so(driven: DrivenQueue) -> None:
    driven.add()
    driven.add()
    opens = [report(driven, job_id, tokens={"input": 1})[2] for job_id in ("1", "2")]
    driven.pass_time(60_000)
    assert [*opens, report(driven, "1", tokens={"input": 1})[2]] == [1, 0, 1]


@pytest.mark.parametrize("tokens", [{"input": -1}, {"input": "1"}, [1]])
def test_malformed_amounts_are_refused(driven: DrivenQueue, tokens: Any) -> None:
    driven.add()
    before = driven.snapshot()
    reply = driven.call("report_usage", id="1", token=False, usage={}, tokens=tokens, costs={}, events=True)
    assert reply[0] == b"bad_argument"
    assert driven.snapshot() == before


def command() -> ReportUsageCommand:
    return ReportUsageCommand("k", job_id="1", token=b"t", report=UsageReport({}, {}, {}))


def test_command_sends_what_the_function_reads() -> None:
    built = ReportUsageCommand(
        "k", job_id="1", token=b"", report=UsageReport({"model": "m"}, {"input": 1}, {})
    )
    assert unpack(built.arguments()) == {
        b"v": 1,
        b"id": b"1",
        b"token": False,
        b"usage": {b"model": b"m"},
        b"tokens": {b"input": 1},
        b"costs": {},
        b"events": True,
    }
