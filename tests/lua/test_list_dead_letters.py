"""gmq_list_dead_letters: the letters of one queue, page by page."""

from __future__ import annotations

import json
from typing import Any

from tests.lua.dead_letters import arrive, letter_row
from tests.lua.driven_queue import DrivenQueue


def add_node_letter(dead: DrivenQueue, source: str, reason: str = "always") -> str:
    envelope: dict[str, Any] = {
        "originalQueue": source,
        "originalJobId": "9",
        "data": {},
        "failedReason": reason,
        "attemptsMade": 1,
    }
    return dead.add("bad", json.dumps(envelope, separators=(",", ":")))


def listing(dead: DrivenQueue, **arguments: Any) -> list[Any]:
    reply = dead.call("list_dead_letters", **{"source": "source", "limit": 100, **arguments})
    assert reply[0] == b"ok"
    return reply[1:]


def test_letters_of_one_queue_are_listed_whoever_wrote_them(dead: DrivenQueue) -> None:
    arrive(dead, letter_row(1))
    theirs = add_node_letter(dead, "source", "x" * 300)
    add_node_letter(dead, "another")
    dead.add("plain", '{"originalQueue":5}')
    dead.add("damaged", "{")
    letters, resume = listing(dead, brief=True)
    at = str(dead.now).encode()
    assert letters == [
        [b"1", at, b"ValueError", b"boom", b"source"],
        [theirs.encode(), at, b"", b"x" * 200, b"source"],
    ]
    assert resume is False
    assert [letter[0] for letter in listing(dead, brief=True, newest_first=True)[0]] == [b"2", b"1"]
    whole = dict(zip(*[iter(listing(dead)[0][0])] * 2, strict=True))
    assert (whole[b"id"], whole[b"name"]) == (b"1", b"greet")


def test_without_a_source_the_letters_of_all_queues_are_listed_and_nothing_else(dead: DrivenQueue) -> None:
    arrive(dead, letter_row(1))
    dead.add("plain", '{"n":5}')
    theirs = add_node_letter(dead, "another")
    letters, resume = listing(dead, brief=True, source=False)
    assert [(letter[0], letter[4]) for letter in letters] == [
        (b"1", b"source"),
        (theirs.encode(), b"another"),
    ]
    assert resume is False


def test_listing_goes_on_where_a_page_ended(dead: DrivenQueue) -> None:
    arrive(dead, *[letter_row(number) for number in range(1, 6)])
    seen: list[bytes] = []
    resume: bytes | bool = False
    while True:
        letters, resume = listing(dead, brief=True, limit=2, **({"resume": resume} if resume else {}))
        seen += [letter[0] for letter in letters]
        if not resume:
            break
    assert seen == [b"1", b"2", b"3", b"4", b"5"]
    assert dead.call("list_dead_letters", source="s", limit=1, resume="x")[0] == b"bad_argument"


def test_listing_looks_at_a_bounded_number_of_entries(dead: DrivenQueue) -> None:
    for _ in range(3):
        dead.enqueue(*[dead.row()] * 400)
    arrive(dead, letter_row(1))
    letters, resume = listing(dead, brief=True)
    assert letters == [] and resume
    assert len(listing(dead, brief=True, resume=resume)[0]) == 1
