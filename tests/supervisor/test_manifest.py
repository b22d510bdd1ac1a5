"""Reading what the app serves, and comparing two versions of it."""

from __future__ import annotations

from typing import Any

import pytest

from glidemq.config import RuntimeConfig
from glidemq.errors import ConfigurationError
from glidemq.process_spec import Crew
from glidemq_supervisor.manifest import (
    crews_of,
    describe,
    merged,
    served_here,
    sizes_of,
    why_not_reloadable,
    why_unservable,
)

SYNC = {"name": "thumbs", "role": "sync", "concurrency": 1}
FAST = {"name": "live", "role": "sync", "pool": "fast", "concurrency": 1}
ASYNC = {"name": "infer", "role": "async", "concurrency": 50}


def manifest(*queues: dict[str, Any]) -> dict[str, Any]:
    return {"app": "shop:app", "queues": list(queues)}


def test_crews_come_in_a_fixed_order_and_once() -> None:
    crews = crews_of(manifest(FAST, ASYNC, SYNC, {**SYNC, "name": "b"}))
    assert crews == [Crew("default", "sync"), Crew("default", "async"), Crew("fast", "sync")]
    assert crews_of(manifest(ASYNC)) == [Crew("default", "async")]


def sizes(pool: Any, **declared: Any) -> list[int]:
    config = RuntimeConfig(url="valkey://127.0.0.1:9", environ={}, procs=3, pool=pool)
    return list(sizes_of(config, {**manifest(SYNC, FAST), "pools": declared}, cores=8).values())


def test_size_of_a_pool_is_what_the_operator_says_else_the_app_else_procs() -> None:
    assert sizes({}) == [3, 3]
    assert sizes({}, fast=2) == [3, 2]
    assert sizes({"fast": 5}, fast=2) == [3, 5]
    assert sizes({"fast": "auto", "default": 1}, fast=2) == [1, 8]


def test_size_for_a_pool_that_runs_nothing_is_refused_with_what_was_meant() -> None:
    with pytest.raises(
        ConfigurationError, match=r"--pool fats: .*did you mean 'fast'.*its pools are default, fast"
    ):
        sizes({"fats": 2})


def here(pool: Any) -> list[str]:
    config = RuntimeConfig(url="valkey://127.0.0.1:9", environ={}, pool=pool)
    return [queue["name"] for queue in served_here(config, manifest(SYNC, FAST, ASYNC))["queues"]]


def test_pool_of_size_0_is_left_to_other_hosts() -> None:
    assert here({}) == here({"fast": 3}) == ["thumbs", "live", "infer"]
    assert here({"fast": 0}) == ["thumbs", "infer"]
    assert here({"default": 0, "fast": 2}) == ["live"]
    sizes: Any = {"default": 0, "fast": 2}
    config = RuntimeConfig(url="valkey://127.0.0.1:9", environ={}, procs=3, pool=sizes)
    assert list(sizes_of(config, served_here(config, manifest(SYNC, FAST)), cores=8).values()) == [2]


def test_host_without_any_pool_and_pools_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="--pool leaves nothing of shop:app to be served here"):
        here({"fast": 0, "default": 0})
    with pytest.raises(ConfigurationError, match=r"--pool fats: .*did you mean 'fast'"):
        here({"fats": 0})


def test_reload_may_not_add_a_pool() -> None:
    laid_out = crews_of(manifest(SYNC))
    assert "fast sync processors" in (why_not_reloadable(laid_out, manifest(SYNC, FAST)) or "")


def test_queues_are_named_with_their_kind() -> None:
    assert describe(manifest(SYNC, ASYNC)) == "thumbs (sync), infer (async)"


def test_app_without_processors_is_refused_with_what_to_do() -> None:
    assert "@app.processor" in (why_unservable(manifest()) or "")
    assert why_unservable(manifest(SYNC)) is None


def test_concurrency_of_a_plain_function_is_refused_with_what_says_how_many_run_at_once() -> None:
    refusal = (
        why_unservable(manifest(ASYNC, {**SYNC, "concurrency": 5, "function": "shrink (shop.py:7)"})) or ""
    )
    assert refusal.startswith("processor of queue 'thumbs', shrink (shop.py:7): concurrency=5 on a plain def")
    assert "--procs" in refusal
    assert why_unservable(manifest(ASYNC, SYNC)) is None


def test_reload_may_change_queues_but_not_add_a_kind() -> None:
    laid_out = crews_of(manifest(SYNC))
    assert why_not_reloadable(laid_out, manifest({**SYNC, "name": "other"})) is None
    assert why_not_reloadable(crews_of(manifest(SYNC, ASYNC)), manifest(SYNC)) is None
    assert "restart the supervisor" in (why_not_reloadable(laid_out, manifest(SYNC, ASYNC)) or "")


def test_merge_takes_the_new_and_keeps_what_is_gone() -> None:
    changed = {**SYNC, "concurrency": 3}
    assert merged(manifest(SYNC, ASYNC), manifest(changed))["queues"] == [changed, ASYNC]
    assert merged(manifest(SYNC), manifest(SYNC)) == manifest(SYNC)
