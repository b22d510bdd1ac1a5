"""One file, one role: sizes, names, and that every module is part of a package that the wheel carries."""

from __future__ import annotations

import ast

import pytest
from setuptools import find_packages

from tests.architecture.repository import PACKAGE_TREES, ROOT, files_below, repository_files

MAX_LINES = 400
SOURCE_SUFFIXES = frozenset({".py", ".lua", ".mjs"})
# Names that say nothing about a role.
NAMELESS = frozenset({"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"})


def test_no_source_file_is_longer_than_a_reader_s_patience() -> None:
    lengths = {
        file.relative_to(ROOT).as_posix(): file.read_bytes().count(b"\n")
        for file in repository_files()
        if file.suffix in SOURCE_SUFFIXES
    }
    assert len(lengths) > 50
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_module_is_named_after_nothing() -> None:
    sources = [file.relative_to(ROOT) for file in repository_files() if file.suffix in SOURCE_SUFFIXES]
    offenders = [
        str(file) for file in sources if NAMELESS & {part.removesuffix(file.suffix) for part in file.parts}
    ]
    assert offenders == []


def test_every_runtime_module_says_what_it_is() -> None:
    silent = [
        str(file.relative_to(ROOT))
        for file in files_below(*PACKAGE_TREES, suffix=".py")
        if file.read_text().strip() and ast.get_docstring(ast.parse(file.read_text())) is None
    ]
    assert silent == []


@pytest.mark.parametrize("tree", PACKAGE_TREES)
def test_every_module_is_in_a_package_of_the_wheel(tree: str) -> None:
    packages = {name.replace(".", "/") for name in find_packages(str(ROOT / tree))}
    outside = [
        str(file.relative_to(ROOT))
        for file in files_below(tree, suffix=".py")
        if file.parent.relative_to(ROOT / tree).as_posix() not in packages
    ]
    assert outside == []
    assert not (ROOT / tree / "__init__.py").exists()


def test_every_distributed_package_is_marked_as_typed() -> None:
    for tree, package in {
        "runtime": "glidemq",
        "supervisor": "glidemq_supervisor",
        "lua": "glidemq_lua",
    }.items():
        assert (ROOT / tree / package / "py.typed").is_file()
