"""JsonText: members are found and set in any JSON object without touching the rest of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import valkey
from hypothesis import given, settings
from hypothesis import strategies as st

from glidemq_lua.bundle import source_of
from tests.testkit.server import ValkeyServer

MEMBERS = "local members, places = JsonText.members(ARGV[1]) if not members then return false end "
FLAT = "local flat = {} for name, raw in pairs(members) do flat[#flat+1], flat[#flat+2] = name, raw end return flat"
WITH = MEMBERS + "return JsonText.with(ARGV[1], places, {{ARGV[2], ARGV[3]}, {ARGV[4], ARGV[5]}})"

texts = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ['"', "\\", '\\"', "{", "}", "[", "]", ":", ",", "\\\\", "/", "\u2028", "nextRun"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=6)
styles = st.sampled_from([{"separators": (",", ":")}, {}, {"indent": 2}, {"separators": (" ,\n", "\t: ")}])


@pytest.fixture(scope="module")
def lua(server: ValkeyServer) -> Any:
    client: Any = server.client()
    source = source_of("wire/json_text")

    def run(code: str, *arguments: str | bytes) -> Any:
        return client.eval(f"{source}\n{code}", 0, *arguments)

    yield run
    client.close()


@settings(max_examples=150, deadline=None)
@given(value=objects, style=styles, ascii_only=st.booleans())
def test_members_are_found_as_they_are_written(lua: Any, value: Any, style: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, **style)
    flat = lua(MEMBERS + FLAT, text.encode())
    found = {flat[index].decode(): flat[index + 1].decode() for index in range(0, len(flat), 2)}
    assert {name: json.loads(raw) for name, raw in found.items()} == value
    assert all(raw in text for raw in found.values())


@settings(max_examples=150, deadline=None)
@given(value=objects, style=styles, number=st.integers(0, 2**53), other=values)
def test_setting_members_changes_nothing_else(
    lua: Any, value: dict[str, Any], style: Any, number: int, other: Any
) -> None:
    text = json.dumps(value, ensure_ascii=False, **style)
    changed = lua(WITH, text.encode(), "nextRun", str(number), "own", json.dumps(other))
    expected = {**value, "nextRun": number, "own": other}
    decoded = json.loads(changed)
    assert decoded == expected
    assert list(decoded) == list(expected)
    again = lua(WITH, changed, "nextRun", "1", "own", "2")
    assert json.loads(again) == {**expected, "nextRun": 1, "own": 2}


def test_what_is_not_set_stays_byte_for_byte(lua: Any) -> None:
    text = '{ "a" : [1.50, 1e3, -0],"nextRun" :7, "b":"\\u00e4\\/" }'
    assert lua(WITH, text, "nextRun", "8", "c", "9").decode() == (
        '{ "a" : [1.50, 1e3, -0],"nextRun" :8, "b":"\\u00e4\\/" ,"c":9}'
    )


@settings(max_examples=200, deadline=None)
@given(value=objects, data=st.data())
def test_damaged_text_never_ends_in_an_error(lua: Any, value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    at = data.draw(st.integers(0, len(text)))
    damaged = (
        text[:at] + data.draw(st.sampled_from(["", '"', "\\", "{", "}", "]", ",", "x"])) + text[at + 1 :]
    )
    found = lua(MEMBERS + FLAT, damaged.encode())
    assert found is None or isinstance(found, list)


def test_a_long_text_costs_about_what_decoding_and_encoding_it_would(lua: Any, raw: valkey.Valkey) -> None:
    text = json.dumps({"data": [{"key": "value", "n": [1, 2, 3]}] * 30_000, "nextRun": 1})
    assert len(text) > 800_000
    client: Any = raw

    def spent_us(code: str, *arguments: str) -> int:
        client.config_resetstat()
        lua(code, text, *arguments)
        spent: int = client.info("commandstats")["cmdstat_eval"]["usec"]
        return spent

    decoding = min(spent_us("return #cjson.encode(cjson.decode(ARGV[1]))") for _ in range(3))
    setting = min(spent_us(WITH, "nextRun", "2", "lastRun", "3") for _ in range(3))
    assert setting < 5 * decoding
