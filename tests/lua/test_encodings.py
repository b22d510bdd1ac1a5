"""Whatever text a producer sends arrives at the processor and in the stored job, byte for byte."""

from __future__ import annotations

import itertools
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lua.driven_queue import START_MS, DrivenQueue

texts = st.text(max_size=200)
objects = st.dictionaries(texts, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts, max_size=5)
ids = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="{}:\x7f"), min_size=1, max_size=60
)
extra_fields = st.dictionaries(
    st.sampled_from(["progress", "failedReason", "parentQueues", "schedulerName", "signals", "groupKey"]),
    texts.filter(bool),
)
numbers = st.integers(0, 2**40)

_serial = itertools.count()
ONE_QUEUE = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@ONE_QUEUE
@given(name=texts, data=texts, opts=objects, job_id=ids, value=texts, extras=extra_fields)
def test_texts_survive_the_way_through_the_server(
    driven: DrivenQueue,
    name: str,
    data: str,
    opts: dict[str, Any],
    job_id: str,
    value: str,
    extras: dict[str, str],
) -> None:
    unique = f"{next(_serial)}-{job_id}"
    stored_opts = json.dumps(opts)
    assert driven.add(name, data, stored_opts, job_id=unique) == unique
    if extras:
        driven.client.hset(driven.key(f"job:{unique}"), mapping=extras)
    job = driven.start_one()
    assert (job.id, job.name, job.opts) == (unique, name, stored_opts)
    assert [text.decode() for text in job.blob[:4]] == [unique, name, data, stored_opts]
    assert job.extras == extras
    assert driven.complete(job, value=value) == [1]
    stored = driven.job(unique)
    assert (stored["name"], stored["data"], stored["returnvalue"]) == (name, data, value)
    assert driven.events()[-1]["returnvalue"] == value


@ONE_QUEUE
@given(delay=numbers, priority=st.integers(0, 2048), ttl=numbers, attempts=st.integers(0, 10**6))
def test_numbers_are_stored_as_plain_decimals(
    driven: DrivenQueue, delay: int, priority: int, ttl: int, attempts: int
) -> None:
    job_id = driven.add(delay=delay, priority=priority, ttl=ttl, attempts=attempts)
    job = driven.job(job_id)
    assert (job["delay"], job["priority"], job["maxAttempts"]) == (str(delay), str(priority), str(attempts))
    assert job.get("expireAt") == (str(START_MS + ttl) if ttl else None)
    if delay or priority:
        due = START_MS + delay if delay else 0
        # Beyond 2^53 a double keeps every second value only.
        assert abs(driven.members("scheduled")[job_id] - (priority * 2**42 + due)) <= 1


@ONE_QUEUE
@given(raw=st.binary(max_size=60))
def test_no_argument_bytes_make_the_server_fail(driven: DrivenQueue, raw: bytes) -> None:
    for function in ("enqueue", "step", "fail", "release", "extend_leases", "recover_orphans", "promote_due"):
        driven.client.fcall(f"gmq_{function}", 1, driven.key("meta"), raw)
