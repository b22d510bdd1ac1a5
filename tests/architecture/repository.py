"""What the architecture tests look at: the repository's own files, as git would commit them."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE_TREES = ("runtime", "supervisor", "lua", "bench")


@functools.cache
def repository_files() -> tuple[Path, ...]:
    """Every file that is tracked, or new and not ignored; absolute paths, sorted."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    files = (ROOT / name for name in listing.split("\0") if name)
    return tuple(sorted(file for file in files if file.is_file()))


def files_below(*directories: str, suffix: str) -> list[Path]:
    """The repository's files with this suffix below any of these top-level directories."""
    roots = tuple(ROOT / directory for directory in directories)
    return [
        file
        for file in repository_files()
        if file.suffix == suffix and any(file.is_relative_to(root) for root in roots)
    ]
