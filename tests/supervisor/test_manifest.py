"""Reading what the app serves, and comparing two versions of it."""

from __future__ import annotations

from typing import Any

from glidemq_supervisor.manifest import describe, merged, roles_of, why_not_reloadable, why_unservable

SYNC = {"name": "thumbs", "role": "sync", "concurrency": 1}
ASYNC = {"name": "infer", "role": "async", "concurrency": 50}


def manifest(*queues: dict[str, Any]) -> dict[str, Any]:
    return {"app": "shop:app", "queues": list(queues)}


def test_roles_come_in_a_fixed_order_and_once() -> None:
    assert roles_of(manifest(ASYNC, SYNC, {**SYNC, "name": "b"})) == ["sync", "async"]
    assert roles_of(manifest(ASYNC)) == ["async"]


def test_queues_are_named_with_their_kind() -> None:
    assert describe(manifest(SYNC, ASYNC)) == "thumbs (sync), infer (async)"


def test_app_without_processors_is_refused_with_what_to_do() -> None:
    assert "@app.processor" in (why_unservable(manifest()) or "")
    assert why_unservable(manifest(SYNC)) is None


def test_reload_may_change_queues_but_not_add_a_kind() -> None:
    assert why_not_reloadable(manifest(SYNC), manifest({**SYNC, "name": "other"})) is None
    assert why_not_reloadable(manifest(SYNC, ASYNC), manifest(SYNC)) is None
    assert "restart the supervisor" in (why_not_reloadable(manifest(SYNC), manifest(SYNC, ASYNC)) or "")


def test_merge_takes_the_new_and_keeps_what_is_gone() -> None:
    changed = {**SYNC, "concurrency": 3}
    assert merged(manifest(SYNC, ASYNC), manifest(changed))["queues"] == [changed, ASYNC]
    assert merged(manifest(SYNC), manifest(SYNC)) == manifest(SYNC)
