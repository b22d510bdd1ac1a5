"""The messenger: every letter is heard, whatever lies beside it, and none is cleared that was not."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import valkey

from glidemq.actors import messenger
from glidemq.actors.messenger import Messenger
from glidemq.commands.hear_children import ChildNews
from glidemq.commands.keys import QueueKeys
from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import eventually


class Post:
    """An outbox, a parent elsewhere that waits for two children, and a messenger between them."""

    def __init__(self, raw: Any, queue: QueueKeys, parents: QueueKeys) -> None:
        self.raw = raw
        self.queue = queue
        self.parents = parents
        self.outbox = f"{queue.base}:x-py:outbox"

    def write(self, body: bytes, *, kind: str = "child", to: str = "", entry_id: str = "*") -> bytes:
        fields = {"kind": kind, "to": to or self.parents.base, "body": body}
        entry: bytes = self.raw.xadd(self.outbox, fields, id=entry_id)
        return entry

    def news(self, number: int) -> bytes:
        return ChildNews.pack("p", f"{self.queue.base}:{number}", "completed", None)

    def left(self) -> list[bytes]:
        return [entry for entry, _ in self.raw.xrange(self.outbox)]

    def state(self) -> bytes:
        value: bytes = self.raw.hget(self.parents.job("p"), "state")
        return value


@pytest.fixture
def post(raw: valkey.Valkey, queue_name: str) -> Post:
    made = Post(raw, QueueKeys("glide", f"{queue_name}-c"), QueueKeys("glide", queue_name))
    fields = {"id": "p", "name": "n", "data": "{}", "opts": "{}", "timestamp": 1, "state": "waiting-children"}
    made.raw.hset(made.parents.job("p"), mapping=fields)
    made.raw.sadd(made.parents.deps("p"), *(f"{made.queue.base}:{number}" for number in (1, 2)))
    return made


class Served:
    """As much of a pump as the messenger sees of it."""

    def __init__(self, keys: QueueKeys) -> None:
        self.keys = keys


@pytest.fixture
async def carrier(server: ValkeyServer, post: Post) -> AsyncIterator[Messenger]:
    async with CommandConnection(ConnectionOptions.from_url(server.url)) as connection:
        pumps: Any = [Served(post.queue)]
        made = Messenger(connection=connection, pumps=lambda: pumps, interval_s=0.02)
        yield made
        await made.stop()


async def test_letters_that_others_left_are_carried_after_a_while(
    post: Post, carrier: Messenger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger, "PATIENCE_MS", 0)
    for number in (1, 2):
        post.write(post.news(number))
    carrier.start()
    await eventually(lambda: post.state() == b"waiting", what="the parent's wake-up")
    await eventually(lambda: post.left() == [], what="an empty outbox")


async def test_young_letters_are_left_to_those_who_posted_them_until_somebody_says_so(
    post: Post, carrier: Messenger
) -> None:
    entry = post.write(post.news(1))
    await carrier.tick()
    assert post.left() == [entry]
    carrier.start()
    carrier.posted_in(post.queue.meta)
    await eventually(lambda: post.left() == [], what="an empty outbox")


async def test_a_letter_that_cannot_be_heard_stays_and_keeps_no_other_from_it(
    post: Post, carrier: Messenger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messenger, "PATIENCE_MS", 0)
    monkeypatch.setattr(messenger, "LETTERS_PER_CALL", 2)
    stuck = [
        post.write(b"\x93\xa1p\xa1m\xa1x"),  # a row that is too short
        post.write(post.news(1), kind="from-the-future"),
    ]
    for number in (1, 2):
        post.write(post.news(number))
    await carrier.tick()
    assert post.state() == b"waiting"
    assert post.left() == stuck


async def test_a_letter_that_nobody_could_deliver_for_a_day_is_given_up_loudly(
    post: Post, carrier: Messenger, caplog: pytest.LogCaptureFixture
) -> None:
    post.write(b"\x90", entry_id="1000-0")
    post.write(post.news(1), kind="from-the-past", entry_id="2000-0")
    with caplog.at_level(logging.ERROR, "glidemq.actors"):
        await carrier.tick()
    assert post.left() == []
    assert len([record for record in caplog.records if "given up after a day" in record.message]) == 2


async def test_what_a_delivery_leaves_to_be_told_is_carried_on(
    post: Post, carrier: Messenger, raw: Any
) -> None:
    """A parent that fails tells its own parent, in a queue that nobody serves here."""
    root = QueueKeys("glide", f"{post.parents.queue}-root")
    raw.hset(root.job("r"), mapping={"id": "r", "name": "n", "state": "waiting-children"})
    raw.sadd(root.deps("r"), f"{post.parents.base}:p")
    raw.hset(post.parents.job("p"), mapping={"parentId": "r", "parentQueue": root.queue})
    post.write(ChildNews.pack("p", f"{post.queue.base}:1", "fail_parent", "boom"))
    carrier.start()
    carrier.posted_in(post.queue.meta)
    await eventually(lambda: raw.hget(root.job("r"), "state") == b"failed", what="the root's failure")
    assert raw.hget(root.job("r"), "failedReason").startswith(f"child {post.parents.base}:p failed:".encode())
