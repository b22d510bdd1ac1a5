"""What a user sees in a debugger or a log instead of an object: what it is and where, never a password."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import glidemq
from glidemq import (
    JSON_SERIALIZER,
    AbortSignal,
    App,
    Broadcast,
    BroadcastWorker,
    FlowProducer,
    Job,
    Producer,
    Queue,
    QueueEvents,
    ServerlessPool,
    SharedClient,
    Worker,
)

URL = "valkey://ann:topsecret@localhost:1234/0"
PLACE = "at valkey://localhost:1234"


async def work(job: Job[Any, Any]) -> None: ...


app = App(URL)
app.processor("mail")(work)


@pytest.mark.parametrize(
    ("thing", "shown"),
    [
        (Queue("mail", connection=URL), f"<Queue 'mail' {PLACE}>"),
        (Queue("mail", client=SharedClient(URL)), f"<Queue 'mail' {PLACE}>"),
        (Producer("mail", connection=URL), f"<Producer 'mail' {PLACE}>"),
        (Broadcast("news", connection=URL), f"<Broadcast 'news' {PLACE}>"),
        (QueueEvents("mail", connection=URL), f"<QueueEvents 'mail' {PLACE}>"),
        (FlowProducer(connection=URL), f"<FlowProducer {PLACE}>"),
        (SharedClient(URL), f"<SharedClient {PLACE}>"),
        (Worker("mail", work, connection=URL), f"<Worker 'mail' {PLACE}, not started>"),
        (
            BroadcastWorker("news", work, subscription="a", connection=URL),
            f"<BroadcastWorker 'news' for 'a' {PLACE}, not started>",
        ),
        (app, "<App: 'mail'>"),
        (App(), "<App: no processors>"),
        (ServerlessPool(), "<ServerlessPool of 0 producers>"),
        (JSON_SERIALIZER, "JSON_SERIALIZER"),
        (AbortSignal(), "<AbortSignal: not set>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_object_shows_what_and_where_it_is(thing: object, shown: str) -> None:
    assert repr(thing) == shown


async def test_closed_objects_say_so() -> None:
    things = (
        Queue("mail", connection=URL),
        FlowProducer(connection=URL),
        Worker("mail", work, connection=URL),
    )
    for thing in things:
        await thing.close()
        assert repr(thing).endswith(", closed>")


def test_every_public_name_exists_and_says_what_it_is() -> None:
    for name in glidemq.__all__:
        thing = getattr(glidemq, name)
        if inspect.isclass(thing) or inspect.isfunction(thing) or inspect.ismodule(thing):
            assert thing.__doc__ and not thing.__doc__.startswith(f"{name}("), f"{name} lacks a docstring"
    assert set(glidemq.__all__) == set(dir(glidemq))
