"""Measures one Python source file: the CPU-bound work that the example's jobs do."""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import sysconfig
import tokenize
import warnings
from pathlib import Path
from typing import TypedDict

import zstandard

# Slow enough to be work, fast enough that the parser stays the larger part.
ZSTD_LEVEL = 9

# Tokens that lay a file out but are no code.
_LAYOUT = frozenset(
    {
        tokenize.COMMENT,
        tokenize.DEDENT,
        tokenize.ENCODING,
        tokenize.ENDMARKER,
        tokenize.INDENT,
        tokenize.NEWLINE,
        tokenize.NL,
    }
)
# Third-party code is not the standard library, and caches are no sources.
_FOREIGN = frozenset({"site-packages", "dist-packages", "__pycache__"})


class FileRecord(TypedDict):
    """What is known about one file; the result of one job.

    path: relative to the standard library, with forward slashes. size and zstd_size: bytes.
    lines counts line ends as `wc -l` does, plus an unfinished last line. code_lines counts the lines that
    hold any token other than comments and layout (so docstrings count). functions counts `def`, `async def`
    and lambdas. branches counts the places where control flow can part: if, loops, except, match cases,
    conditional expressions, and/or operands beyond the first, comprehension filters. functions, classes,
    branches and code_lines are 0 for a file that cannot be parsed; `reason` says why.
    """

    path: str
    size: int
    lines: int
    code_lines: int
    functions: int
    classes: int
    branches: int
    zstd_size: int
    sha256: str
    parsed: bool
    reason: str | None


def stdlib_root() -> Path:
    """The directory of the running Python's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def stdlib_files(root: Path | None = None) -> list[str]:
    """Every `.py` file below `root` (default: the standard library), as sorted relative paths."""
    root = stdlib_root() if root is None else root
    relative = (path.relative_to(root) for path in root.rglob("*.py") if path.is_file())
    return sorted(path.as_posix() for path in relative if _FOREIGN.isdisjoint(path.parts))


def measure(path: str, root: Path | None = None) -> FileRecord:
    """Tokenize, parse, compress and hash one file; one that cannot be parsed is measured as far as it goes.

    `path` is relative to `root` (default: the standard library). A job's data comes from a queue, so a path
    that leads out of it is refused with ValueError. Raises OSError when the file cannot be read.
    """
    root = stdlib_root() if root is None else root
    file = (root / path).resolve()
    if not file.is_relative_to(root.resolve()):
        raise ValueError(f"{path!r} is outside of {root}")
    source = file.read_bytes()
    record: FileRecord = {
        "path": path,
        "size": len(source),
        "lines": source.count(b"\n") + (not source.endswith(b"\n") and source != b""),
        "code_lines": 0,
        "functions": 0,
        "classes": 0,
        "branches": 0,
        "zstd_size": len(_compressor().compress(source)),
        "sha256": hashlib.sha256(source).hexdigest(),
        "parsed": False,
        "reason": None,
    }
    try:
        code_lines = _code_lines(source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in old test files are not our business
            tree = ast.parse(source)
    except (SyntaxError, ValueError, tokenize.TokenError, RecursionError, MemoryError) as error:
        # The parser reports its own depth limit as a MemoryError.
        record["reason"] = _first_line(error)
        return record
    record["parsed"] = True
    record["code_lines"] = code_lines
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            record["functions"] += 1
        elif isinstance(node, ast.ClassDef):
            record["classes"] += 1
        else:
            record["branches"] += _branches(node)
    return record


@functools.cache
def _compressor() -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL)


def _code_lines(source: bytes) -> int:
    held: set[int] = set()
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type not in _LAYOUT:
            held.update(range(token.start[0], token.end[0] + 1))
    return len(held)


def _branches(node: ast.AST) -> int:
    match node:
        case ast.BoolOp(values=values):
            return len(values) - 1
        case ast.comprehension(ifs=filters):
            return len(filters)
        case ast.If() | ast.IfExp() | ast.For() | ast.AsyncFor() | ast.While():
            return 1
        case ast.ExceptHandler() | ast.match_case():
            return 1
        case _:
            return 0


def _first_line(error: Exception) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {text.splitlines()[0] if text else 'no details'}"
