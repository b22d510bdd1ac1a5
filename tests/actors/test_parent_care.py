"""Parents that nobody told of a child do not wait for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import valkey

from glidemq import FlowProducer, Queue
from glidemq.actors.parent_care import ParentCare
from glidemq.commands.keys import QueueKeys
from glidemq.config import ConnectionOptions
from glidemq.connection import CommandConnection
from tests.testkit.server import ValkeyServer


class Household:
    """One parent of two children in another queue, somebody to look after it, and who was said to have letters."""

    def __init__(
        self, raw: Any, care: ParentCare, posted: list[str], parents: QueueKeys, children: QueueKeys
    ):
        self.raw = raw
        self.care = care
        self.posted = posted
        self.parents = parents
        self.children = children
        self.parent_id = ""

    async def look(self) -> None:
        """As if the parent had waited for long enough."""
        self.raw.zadd(f"{self.parents.base}:x-py:parents", {self.parent_id: 0})
        await self.care.look_after(self.parents)

    def state(self) -> str:
        value: bytes = self.raw.hget(self.parents.job(self.parent_id), "state")
        return value.decode()


@pytest.fixture
async def household(server: ValkeyServer, raw: valkey.Valkey, queue_name: str) -> AsyncIterator[Household]:
    parents, children = QueueKeys("glide", queue_name), QueueKeys("glide", f"{queue_name}-c")
    posted: list[str] = []
    async with (
        CommandConnection(ConnectionOptions.from_url(server.url)) as connection,
        FlowProducer(client=connection) as flows,
    ):
        care = ParentCare(connection=connection, pumps=lambda: (), posted=posted.append)
        house = Household(raw, care, posted, parents, children)
        root = await flows.add(
            {
                "name": "p",
                "queue_name": parents.queue,
                "children": [{"name": "c", "queue_name": children.queue} for _ in range(2)],
            }
        )
        house.parent_id = root.job.id
        yield house


async def test_children_that_live_are_left_alone(household: Household) -> None:
    await household.look()
    assert household.state() == "waiting-children"
    assert household.posted == []


async def test_letters_are_written_anew_for_an_end_that_nobody_told(household: Household) -> None:
    household.raw.hset(household.children.job("1"), mapping={"state": "failed", "failedReason": "by Node"})
    await household.look()
    assert household.posted == [household.children.meta]
    assert household.raw.xlen(f"{household.children.base}:x-py:outbox") == 1


async def test_a_child_that_was_never_written_fails_the_parent_after_a_minute(household: Household) -> None:
    """What the death of a producer leaves: parents, and not all of their leaves."""
    household.raw.delete(household.children.job("2"))
    await household.look()
    assert household.state() == "waiting-children"
    assert household.posted == [household.children.meta], "letters about removed children are fetched first"
    member = f"{household.children.base}:2"
    since = int(household.raw.hget(household.parents.job(household.parent_id), f"x-py:missing:{member}"))
    household.raw.hset(household.parents.job(household.parent_id), f"x-py:missing:{member}", since - 60_000)
    await household.look()
    assert household.state() == "failed"
    reason = household.raw.hget(household.parents.job(household.parent_id), "failedReason")
    assert reason == f"child {member} failed: it cannot be found".encode()


async def test_a_parent_that_is_gone_by_now_is_no_trouble(household: Household, server: ValkeyServer) -> None:
    async with Queue[Any, Any](household.parents.queue, connection=server.url) as queue:
        await queue.remove(household.parent_id)
    await household.look()
    assert household.raw.zcard(f"{household.parents.base}:x-py:parents") == 0
