"""What one file's record says, checked against counts made by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import zstandard

from glidemq.examples.stdlib_metrics.measure import ZSTD_LEVEL, measure, stdlib_files, stdlib_root

SOURCE = b'''\
# a comment, then a blank line

class Shape:
    """A docstring
    of two lines."""

    async def area(self, n):
        for i in range(n):
            if i > 1 and n < 9 or not i:
                return [x for x in range(i) if x if x > 2]
        while n:
            n -= 1
        return 1 if n else lambda: 0

def classify(value):
    try:
        match value:
            case 0:
                return "zero"
            case _:
                return "many"
    except (TypeError):
        pass
    except ValueError:
        raise'''


def write(root: Path, name: str, source: bytes) -> str:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(source)
    return name


def test_every_count_matches_the_count_by_hand(tmp_path: Path) -> None:
    record = measure(write(tmp_path, "shape.py", SOURCE), tmp_path)
    assert record == {
        "path": "shape.py",
        "size": len(SOURCE),
        "lines": 25,
        "code_lines": 21,  # 25 less one comment and three blank lines
        "functions": 3,  # area, the lambda, classify
        "classes": 1,
        # for, if, and, or, two comprehension filters, while, conditional expression; two cases, two excepts
        "branches": 12,
        "zstd_size": len(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(SOURCE)),
        "sha256": hashlib.sha256(SOURCE).hexdigest(),
        "parsed": True,
        "reason": None,
    }


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (b"print 'python 2'\n", "SyntaxError: Missing parentheses in call to 'print'"),
        (b"# coding: uft-8\n", "SyntaxError: unknown encoding: uft-8"),
        (b"x = '\xff'\n", ""),
        (b"def f(:\n", ""),
        (b"x = (1,\n", ""),
        (b"x = 1\0\n", ""),
        (b"if x:\n        y\n    z\n", "IndentationError"),
        (b"(" * 5000 + b")" * 5000, "SyntaxError: too many nested parentheses"),
        (b"x = " + b"-" * 100_000 + b"1\n", "MemoryError: "),
    ],
    ids=[
        "python-2",
        "unknown-encoding",
        "not-utf-8",
        "syntax",
        "unfinished",
        "null-byte",
        "dedent",
        "nested",
        "deep",
    ],
)
def test_file_that_cannot_be_parsed_is_measured_with_a_reason(
    tmp_path: Path, source: bytes, reason: str
) -> None:
    record = measure(write(tmp_path, "bad.py", source), tmp_path)
    assert not record["parsed"]
    assert record["reason"] is not None
    assert record["reason"].startswith(reason)
    assert "\n" not in record["reason"]
    assert record["size"] == len(source)
    assert record["sha256"] == hashlib.sha256(source).hexdigest()
    assert record["functions"] == record["classes"] == record["branches"] == record["code_lines"] == 0


def test_empty_file_is_parsed_and_has_no_lines(tmp_path: Path) -> None:
    record = measure(write(tmp_path, "empty.py", b""), tmp_path)
    assert (record["parsed"], record["lines"], record["code_lines"]) == (True, 0, 0)


@pytest.mark.parametrize("path", ["../secret.py", "/etc/passwd", "a/../../secret.py"])
def test_path_that_leads_out_of_the_root_is_refused(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write(tmp_path, "secret.py", b"password = 1\n")
    with pytest.raises(ValueError, match="outside"):
        measure(path, root)


def test_missing_file_raises_instead_of_counting_as_unparsed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        measure("missing.py", tmp_path)


def test_listing_is_sorted_and_leaves_third_party_code_and_caches_out(tmp_path: Path) -> None:
    for name in (
        "z.py",
        "a/b.py",
        "site-packages/c.py",
        "dist-packages/d.py",
        "a/__pycache__/e.py",
        "a/notes.txt",
    ):
        write(tmp_path, name, b"")
    assert stdlib_files(tmp_path) == ["a/b.py", "z.py"]


def test_listing_finds_this_python_s_own_library() -> None:
    files = stdlib_files()
    assert {"os.py", "json/decoder.py", "asyncio/events.py"} <= set(files)
    assert all((stdlib_root() / path).is_file() for path in files)
