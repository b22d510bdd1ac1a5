"""The bundle: complete, deterministic, and every command file documented as the library promises."""

from __future__ import annotations

import re
from importlib import resources

import pytest
import valkey

from glidemq_lua import LIBRARY_NAME, LIBRARY_VERSION, library_source
from glidemq_lua.bundle import STRUCTURES, command_names, source_of

HEADER_PARTS = ("Moves", "Keys", "Args", "Reply", "Errors", "Events")


def test_every_source_file_is_part_of_the_bundle() -> None:
    root = resources.files("glidemq_lua") / "src"
    found = {
        f"{folder.name}/{file.name.removesuffix('.lua')}"
        for folder in root.iterdir()
        for file in folder.iterdir()
        if file.name.endswith(".lua")
    }
    assert found == set(STRUCTURES) | {f"commands/{name}" for name in command_names()}


def test_bundle_starts_with_the_library_name_and_is_deterministic() -> None:
    first = library_source()
    library_source.cache_clear()
    assert library_source() == first
    assert first.startswith(f"#!lua name={LIBRARY_NAME}\n")


@pytest.mark.parametrize("name", command_names())
def test_command_file_has_its_header_and_registers_its_own_stem(name: str) -> None:
    source = source_of(f"commands/{name}")
    lines = source.splitlines()
    assert lines[0].startswith(f"-- {name}: ")
    headings = [match[1] for line in lines if (match := re.match(r"-- (\w+): ", line))]
    assert tuple(headings[1 : 1 + len(HEADER_PARTS)]) == HEADER_PARTS
    registered = re.findall(r'(?:Library\.command\(\s*|Library\.PREFIX \.\. )"(\w+)"', source)
    assert registered == [name]


def test_version_function_tells_the_version(library: None, raw: valkey.Valkey) -> None:
    assert raw.fcall("gmq_version", 0) == LIBRARY_VERSION


def test_loading_twice_is_an_error_without_replace(library: None, raw: valkey.Valkey) -> None:
    with pytest.raises(valkey.ResponseError, match="already exists"):
        raw.function_load(library_source())


def test_every_function_is_prefixed(library: None, raw: valkey.Valkey) -> None:
    listed = raw.function_list(library=LIBRARY_NAME)
    functions = {dict(zip(f[::2], f[1::2], strict=True))[b"name"].decode() for f in listed[0][5]}
    assert functions == {f"gmq_{name}" for name in command_names()}


# Where else a state is written: with all other fields of a new job.
NEW_JOBS = "queue/adding"


@pytest.mark.parametrize(
    "stem", sorted({*STRUCTURES, *(f"commands/{name}" for name in command_names())} - {NEW_JOBS})
)
def test_only_one_function_writes_the_state_of_a_job(stem: str) -> None:
    writes = re.findall(r'"HSET",[^)]*?"state"', source_of(stem))
    assert len(writes) == (1 if stem == "job/states" else 0)
