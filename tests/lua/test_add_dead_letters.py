"""gmq_add_dead_letters: letters arrive as jobs, each once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lua.dead_letters import PATIENCE_MS, arrive, letter_row
from tests.lua.driven_queue import DrivenQueue


def test_letter_arrives_as_an_ordinary_job(dead: DrivenQueue) -> None:
    assert arrive(dead, letter_row(1), letter_row(2, original="2")) == [b"ok", [b"1", b"2"]]
    job = dead.job("1")
    assert json.loads(job["data"]) == {
        "originalQueue": "source", "originalJobId": "1", "data": {"a": 1}, "failedReason": "boom", "attemptsMade": 1,
    }  # fmt: skip
    assert (job["name"], job["opts"], job["state"], job["maxAttempts"]) == ("greet", "{}", "waiting", "0")
    assert job["x-py:deadLetterOf"] == "source"
    assert dead.events_of("1") == ["added"]
    assert dead.step(2).ids == ["1", "2"]


def test_letter_brought_again_arrives_once(dead: DrivenQueue) -> None:
    arrive(dead, letter_row(1))
    assert arrive(dead, letter_row(1), letter_row(2)) == [b"ok", [False, b"2"]]
    dead.pass_time(100 * PATIENCE_MS)  # nobody has cleared them: they are the oldest still
    assert arrive(dead, letter_row(1), letter_row(2), oldest="1000-1") == [b"ok", [False, False]]
    assert dead.entries() == ["1", "2"]


def test_letter_brought_twice_in_one_call_arrives_once(dead: DrivenQueue) -> None:
    assert arrive(dead, letter_row(1), letter_row(1)) == [b"ok", [b"1", False]]


def test_entry_issued_again_for_another_job_arrives(dead: DrivenQueue) -> None:
    arrive(dead, letter_row(1))
    assert arrive(dead, letter_row(1, original="2")) == [b"ok", [b"2"]]


def test_letters_brought_too_late_are_refused(dead: DrivenQueue) -> None:
    assert arrive(dead, letter_row(1), read_at=dead.now - PATIENCE_MS - 1) == [b"too_late"]
    assert dead.suffixes() == []


def test_arrivals_are_forgotten_once_nobody_can_bring_them_again(dead: DrivenQueue) -> None:
    arrived = "x-py:letters:source"
    arrive(dead, letter_row(1))
    dead.pass_time(5 * PATIENCE_MS - 1)
    arrive(dead, letter_row(2), oldest="1000-2")
    assert list(dead.members(arrived)) == ["1000-1:1", "1000-2:1"]
    dead.pass_time(1)
    arrive(dead, letter_row(3), oldest="1000-2")
    assert sorted(dead.members(arrived)) == ["1000-2:1", "1000-3:1"]


def test_letters_need_an_id_counter_that_is_a_number(dead: DrivenQueue) -> None:
    dead.client.set(dead.key("id"), "x")
    assert arrive(dead, letter_row(1)) == [b"bad_id_counter", b"x"]
    assert dead.suffixes() == ["id"]


@pytest.mark.parametrize("row", [[], ["x", *letter_row(1)[1:]], letter_row(1)[:7]])
def test_bad_letters_are_refused(dead: DrivenQueue, row: list[Any]) -> None:
    assert arrive(dead, row)[0] == b"bad_argument"
    assert dead.suffixes() == []
