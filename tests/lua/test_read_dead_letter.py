"""gmq_read_dead_letter: what a replay needs of a letter."""

from __future__ import annotations

from tests.lua.dead_letters import arrive, letter_row
from tests.lua.driven_queue import DrivenQueue


def test_letter_is_read_for_a_replay(dead: DrivenQueue) -> None:
    arrive(dead, letter_row(1, data='{"big":12345678901234567890, "x":[]}'))
    at = str(dead.now).encode()
    expected = [
        b"1",
        b"greet",
        b"source",
        b"1",
        b'{"big":12345678901234567890, "x":[]}',
        b'{"attempts":2}',
        at,
    ]
    assert dead.call("read_dead_letter", id="1") == [b"ok", dead.now, expected]
    packed = letter_row(2)
    packed[4] = "zs:abc"
    arrive(dead, packed)
    assert dead.call("read_dead_letter", id="2")[2][4] == b"zs:abc"
    plain = dead.add("n", "[1]")
    assert dead.call("read_dead_letter", id=plain)[2][2:5] == [False, False, False]
    assert dead.call("read_dead_letter", id="nobody") == [b"missing"]
