"""Adds file records up, and prints the totals."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from glidemq.examples.plain_text import print_plain
from glidemq.examples.stdlib_metrics.measure import FileRecord


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all files, independent of the order in which they came.

    size and zstd_size: bytes. digest: SHA-256 over every file's path and SHA-256, in path order, so that two
    runs with equal totals have seen the same bytes. reasons: why files could not be parsed, and how many.
    """

    files: int
    parsed: int
    size: int
    lines: int
    code_lines: int
    functions: int
    classes: int
    branches: int
    zstd_size: int
    digest: str
    reasons: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, records: Iterable[FileRecord]) -> Totals:
        """Add up the records of different files."""
        ordered = sorted(records, key=lambda record: record["path"])
        digest = hashlib.sha256()
        for record in ordered:
            digest.update(f"{record['path']}\0{record['sha256']}\n".encode())
        reasons = Counter(record["reason"] for record in ordered if record["reason"] is not None)
        return cls(
            files=len(ordered),
            parsed=sum(record["parsed"] for record in ordered),
            size=sum(record["size"] for record in ordered),
            lines=sum(record["lines"] for record in ordered),
            code_lines=sum(record["code_lines"] for record in ordered),
            functions=sum(record["functions"] for record in ordered),
            classes=sum(record["classes"] for record in ordered),
            branches=sum(record["branches"] for record in ordered),
            zstd_size=sum(record["zstd_size"] for record in ordered),
            digest=digest.hexdigest(),
            reasons=tuple(sorted(reasons.items())),
        )

    @property
    def unparsed(self) -> int:
        """Files that were measured but could not be parsed."""
        return self.files - self.parsed

    @property
    def zstd_ratio(self) -> float:
        """How many times smaller zstd makes the files."""
        return self.size / self.zstd_size if self.zstd_size else 1.0


def print_totals(totals: Totals, console: Console) -> None:
    """The summary table, followed by the reasons why files could not be parsed."""
    table = Table(title="Python's standard library, measured", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(justify="right")
    rows = {
        "files": f"{totals.files:,}",
        "parsed": f"{totals.parsed:,}",
        "could not be parsed": f"{totals.unparsed:,}",
        "bytes": f"{totals.size:,}",
        "lines": f"{totals.lines:,}",
        "code lines": f"{totals.code_lines:,}",
        "functions": f"{totals.functions:,}",
        "classes": f"{totals.classes:,}",
        "branches": f"{totals.branches:,}",
        "zstd ratio": f"{totals.zstd_ratio:.2f}",
        "SHA-256 of all": totals.digest[:16],
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    for reason, count in totals.reasons:
        print_plain(f"  {count:>3} x {reason}", console, "dim")
