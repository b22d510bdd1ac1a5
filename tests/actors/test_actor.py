"""An actor goes on, whatever its turns run into."""

from __future__ import annotations

import logging

import pytest

from glidemq.actors.actor import Actor, PeriodicActor
from glidemq.errors import GlideMQError, LibraryVersionError, QueueFullError
from tests.testkit.waiting import eventually


class Ticking(PeriodicActor):
    name = "ticking"

    def __init__(self, error: Exception) -> None:
        super().__init__(0.001)
        self.error: Exception | None = error
        self.ticks = 0

    async def tick(self) -> None:
        self.ticks += 1
        if self.error is not None:
            error, self.error = self.error, None
            raise error


class Failing(Actor):
    name = "failing"

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    async def run(self) -> None:
        self.runs += 1
        raise KeyError("a defect")


@pytest.mark.parametrize(
    "error", [LibraryVersionError("not ours"), QueueFullError("no memory"), GlideMQError("?")]
)
async def test_a_call_that_fails_costs_one_turn(error: Exception) -> None:
    actor = Ticking(error)
    actor.start()
    await eventually(lambda: actor.ticks > 3, "the turns after it")
    await actor.stop()
    ticks = actor.ticks
    await actor.stop()
    assert actor.ticks == ticks


async def test_a_defect_is_logged_and_the_actor_begins_again(caplog: pytest.LogCaptureFixture) -> None:
    actor = Failing()
    actor.start()
    await eventually(lambda: actor.runs == 2, "a second run")
    await actor.stop()
    assert next((record.levelno, record.getMessage()) for record in caplog.records) == (
        logging.ERROR,
        "failing ended unexpectedly and begins again",
    )
    assert caplog.records[0].exc_info is not None
