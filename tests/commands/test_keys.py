"""The key names of the wire format."""

from __future__ import annotations

import pytest

from glidemq.commands.keys import QueueKeys


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("meta", "app:{mail}:meta"),
        ("id", "app:{mail}:id"),
        ("stream", "app:{mail}:stream"),
        ("bell", "app:{mail}:x-py:bell"),
        ("events", "app:{mail}:events"),
        ("scheduled", "app:{mail}:scheduled"),
        ("priority", "app:{mail}:priority"),
        ("lifo", "app:{mail}:lifo"),
        ("list_active", "app:{mail}:list-active"),
        ("completed", "app:{mail}:completed"),
        ("failed", "app:{mail}:failed"),
    ],
)
def test_queue_keys_share_the_queues_hash_tag(name: str, key: str) -> None:
    assert getattr(QueueKeys("app", "mail"), name) == key


def test_keys_of_a_job_and_a_worker() -> None:
    keys = QueueKeys("glide", "q")
    assert keys.job("7") == "glide:{q}:job:7"
    assert keys.log("7") == "glide:{q}:log:7"
    assert keys.jstream("7") == "glide:{q}:jstream:7"
    assert keys.deps("7") == "glide:{q}:deps:7"
    assert keys.parents("7") == "glide:{q}:parents:7"
    assert keys.worker("py-1") == "glide:{q}:w:py-1"
    assert keys.metrics("failed") == "glide:{q}:metrics:failed"
    assert keys.list_active_of("py-1") == "glide:{q}:x-py:active:py-1"


def test_equal_queues_have_equal_keys() -> None:
    assert QueueKeys("a", "q") == QueueKeys("a", "q")
    assert len({QueueKeys("a", "q"), QueueKeys("a", "q"), QueueKeys("b", "q")}) == 2
    assert QueueKeys("a", "q") != "a:{q}"
