"""Arguments joined from packed parts are the same bytes as arguments packed whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidemq.commands.command import pack, unpack
from glidemq.commands.fragments import CALL_VERSION, array_header, packed_call

plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.binary()
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=4), max_leaves=10)


@given(
    members=st.dictionaries(
        st.text(min_size=1).filter(lambda name: name not in {"v", "rows"}), values, max_size=10
    ),
    rows=st.lists(st.lists(values, max_size=8), max_size=40),
)
def test_joined_call_equals_the_call_packed_whole(
    members: dict[str, object], rows: list[list[object]]
) -> None:
    joined = packed_call(members, "rows", [pack(row) for row in rows])
    assert joined == pack({"v": CALL_VERSION, **members, "rows": rows})


@pytest.mark.parametrize("length", [0, 1, 15, 16, 65_535, 65_536])
def test_array_header_fits_every_length(length: int) -> None:
    elements = [0] * length
    assert array_header(length) + b"".join(pack(element) for element in elements) == pack(elements)


def test_too_many_members_are_a_defect() -> None:
    with pytest.raises(AssertionError):
        packed_call({f"m{n}": n for n in range(14)}, "rows", [])


def test_texts_come_back_as_bytes() -> None:
    assert unpack(pack({"a": ["é", b"\xff", 1, False]})) == {b"a": ["é".encode(), b"\xff", 1, False]}
