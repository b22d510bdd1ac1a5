"""read_outbox: letters come oldest first, in pages of bounded size, and the young ones are left to their posters."""

from __future__ import annotations

from glidemq.commands.read_outbox import ReadOutboxCommand
from tests.lua.driven_queue import DrivenQueue
from tests.lua.executed import execute

BORN_MS = 1_700_000_000_000


def post(driven: DrivenQueue, number: int, body: bytes = b"row") -> None:
    driven.client.xadd(
        driven.key("x-py:outbox"),
        {"kind": "child", "to": "glide:{t}", "body": body},
        id=f"{BORN_MS + number}-0",
    )


def read(driven: DrivenQueue, **arguments: object) -> tuple[list[int], str]:
    page = execute(driven, ReadOutboxCommand(driven.key("meta"), **{"limit": 100, **arguments}))  # type: ignore[arg-type]
    return [int(letter.entry_id.split(b"-")[0]) - BORN_MS for letter in page.letters], page.next


def test_an_empty_outbox_is_an_empty_page(driven: DrivenQueue) -> None:
    assert read(driven) == ([], "")


def test_letters_come_in_order_and_in_pages(driven: DrivenQueue) -> None:
    for number in range(5):
        post(driven, number)
    numbers, following = read(driven, limit=2)
    assert (numbers, following) == ([0, 1], f"{BORN_MS + 1}-0")
    numbers, following = read(driven, limit=2, after=following)
    assert numbers == [2, 3]
    assert read(driven, limit=2, after=following) == ([4], "")


def test_a_letter_says_whose_it_is_and_how_old(driven: DrivenQueue) -> None:
    driven.now = BORN_MS + 250
    post(driven, 0, b"\x91\xa1x")
    [letter] = execute(driven, ReadOutboxCommand(driven.key("meta"), limit=1)).letters
    assert letter == (f"{BORN_MS}-0".encode(), b"child", b"glide:{t}", b"\x91\xa1x", 250)


def test_young_letters_are_left_to_those_who_posted_them(driven: DrivenQueue) -> None:
    driven.now = BORN_MS + 1_000
    post(driven, 0)
    post(driven, 500)
    assert read(driven, min_age_ms=600) == ([0], "")
    assert read(driven, min_age_ms=500) == ([0, 500], "")


def test_a_page_stops_at_a_mebibyte_but_holds_one_letter_whatever_its_size(driven: DrivenQueue) -> None:
    for number in range(3):
        post(driven, number, b"x" * 700_000)
    post(driven, 3, b"x" * 2_000_000)
    numbers, following = read(driven)
    assert numbers == [0]
    numbers, following = read(driven, after=f"{BORN_MS + 2}-0")
    assert (numbers, following) == ([3], "")
