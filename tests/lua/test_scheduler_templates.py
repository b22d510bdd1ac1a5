"""What a scheduler's template says about its jobs, written by us or by others, sense or nonsense."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lua.schedules import Schedules, dump


def test_template_options_apply_to_the_job(schedules: Schedules) -> None:
    opts = {"priority": 7, "attempts": 3, "ttl": 5000, "removeOnComplete": True}
    schedules.upsert("s", every=100, template={"opts": opts})
    schedules.tick_at(schedules.now + 100)
    job = schedules.driven.job("1")
    assert (job["name"], job["data"], job["opts"]) == ("s", "{}", dump(opts))
    assert (job["priority"], job["maxAttempts"], job["state"]) == ("7", "3", "prioritized")
    assert int(job["expireAt"]) == schedules.now + 5000
    assert schedules.driven.members("scheduled") == {"1": 7 * 2**42}
    assert schedules.driven.rings() == 1


def test_lifo_template_adds_to_the_list_and_rings(schedules: Schedules) -> None:
    schedules.upsert("s", every=100, template={"opts": {"lifo": True}})
    schedules.tick_at(schedules.now + 100)
    assert schedules.driven.elements("lifo") == ["1"]
    assert schedules.driven.job("1")["lifo"] == "1"
    assert schedules.driven.rings() == 1


def test_ordering_and_cost_of_a_template_apply(schedules: Schedules) -> None:
    driven = schedules.driven
    bucket = {"capacity": 10, "refillRate": 5}
    opts = {"ordering": {"key": "k", "tokenBucket": bucket}, "cost": 3, "ttl": 9000}
    schedules.upsert("s", every=100, template={"opts": opts})
    for _ in range(2):
        schedules.tick_at(schedules.now + 100)
    jobs = [driven.job("1"), driven.job("2")]
    assert [(job["groupKey"], job["orderingSeq"], job["cost"]) for job in jobs] == [
        ("k", "1", "3000"),
        ("k", "2", "3000"),
    ]
    # One after the other, whatever there is room for.
    first = driven.start_one()
    assert driven.step(5).started == []
    driven.complete(first)
    assert driven.start_one().id == "2"


def test_grouped_run_re_arms_its_scheduler(schedules: Schedules) -> None:
    schedules.upsert("r", repeatAfterComplete=100, template={"opts": {"ordering": {"key": "k"}}})
    schedules.tick()
    job = schedules.driven.job("1")
    assert (job["groupKey"], job["schedulerName"]) == ("k", "r")
    schedules.driven.complete(schedules.driven.start_one())
    assert schedules.next_run("r") == schedules.now + 100


@pytest.mark.parametrize(
    ("opts", "fields"),
    [
        ({"lifo": True, "ordering": {"key": "k"}}, {"groupKey": "k"}),
        ({"lifo": True, "ordering": {"key": ""}}, {"lifo": "1"}),
        ({"ordering": "k", "cost": "x"}, {}),
        ({"ordering": {"key": "k"}, "cost": 1e300}, {}),
        ({"ordering": {"key": "k", "concurrency": 1e300}}, {}),
    ],
)
def test_ordering_of_others_applies_as_far_as_it_makes_sense(
    schedules: Schedules, opts: dict[str, Any], fields: dict[str, str]
) -> None:
    schedules.write("s", {"every": 100, "template": {"opts": opts}, "nextRun": schedules.now})
    assert schedules.tick() == [("s", "1")]
    job = schedules.driven.job("1")
    assert {name: job[name] for name in ("groupKey", "cost", "lifo") if name in job} == fields


@pytest.mark.parametrize(
    "opts",
    [
        '{"priority":-1,"attempts":"x","ttl":-5}',
        '{"priority":null,"attempts":null,"ttl":null}',
        "[]",
        "null",
        '"text"',
    ],
)
def test_options_of_others_that_make_no_sense_count_as_none(schedules: Schedules, opts: str) -> None:
    entry = {"every": 100, "iterationCount": 0, "template": {"opts": 0}, "nextRun": schedules.now}
    schedules.write("s", dump(entry).replace('"opts":0', f'"opts":{opts}'))
    assert schedules.tick() == [("s", "1")]
    job = schedules.driven.job("1")
    assert (job["priority"], job["maxAttempts"], job["state"]) == ("0", "0", "waiting")
    assert "expireAt" not in job
    assert job["opts"] == (opts if opts.startswith("{") else "{}")


def test_priority_of_others_is_brought_into_range(schedules: Schedules) -> None:
    template = {"opts": {"priority": 99999.5, "attempts": 2.9}}
    entry = {"every": 100, "iterationCount": 0, "template": template, "nextRun": schedules.now}
    schedules.write("s", entry)
    schedules.tick()
    assert schedules.driven.members("scheduled") == {"1": 2048 * 2**42}
    assert schedules.driven.job("1")["maxAttempts"] == "2"


def test_data_reaches_the_job_byte_for_byte_and_stays_in_the_entry(schedules: Schedules) -> None:
    data = '{"z":[],"a":{},"n":12345678901234567890,"f":1.50,"s":"\\u00e4\\/\\"}{,","x":null}'
    text = f'{{ "every" : 100 , "template":{{"data": {data}}}, "nextRun":{schedules.now} , "own":[1, 2]}}'
    schedules.write("s", text)
    assert schedules.tick() == [("s", "1")]
    assert schedules.driven.job("1")["data"] == data
    now = schedules.now
    expected = text.replace(f'"nextRun":{now} ', f'"nextRun":{now + 100} ').removesuffix("}")
    assert schedules.text("s") == f'{expected},"iterationCount":1,"lastRun":{now}}}'


def test_data_of_another_serializer_is_taken_as_it_is(schedules: Schedules) -> None:
    schedules.upsert("s", every=100, template={"data": {"a": 1}, "x-py:data": 'gaFhAQ=="\\'})
    schedules.tick_at(schedules.now + 100)
    assert schedules.driven.job("1")["data"] == 'gaFhAQ=="\\'


def test_data_too_long_for_a_job_is_refused_by_name(schedules: Schedules) -> None:
    entry = {"every": 100, "template": {"data": "x" * 1_048_575}, "nextRun": schedules.now}
    schedules.write("big", entry)
    schedules.write("fits", {**entry, "template": {"data": "x" * 1_048_574}})
    tick = schedules.tick_once()
    assert tick.refused == [b"big"]
    assert tick.fired == [(b"fits", b"1")]
    assert schedules.tick_once().refused == []
    schedules.driven.pass_time(60_000)
    assert schedules.tick_once().refused == [b"big"]
