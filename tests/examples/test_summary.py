"""Totals: sums that do not depend on the order of arrival, and a digest that notices any difference."""

from __future__ import annotations

import dataclasses
import io
import random
from pathlib import Path

from rich.console import Console

from glidemq.examples.stdlib_metrics.measure import stdlib_files
from glidemq.examples.stdlib_metrics.plain_loop import run_plain_loop
from glidemq.examples.stdlib_metrics.summary import Totals, print_totals

FILES = ["bisect.py", "heapq.py", "json/__init__.py", "keyword.py", "queue.py", "this.py"]


def test_totals_do_not_depend_on_the_order_of_the_records() -> None:
    records = run_plain_loop(FILES).records
    expected = Totals.of(records)
    for seed in range(5):
        random.Random(seed).shuffle(records)
        assert Totals.of(records) == expected


def test_totals_are_the_sums_of_the_records(tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("def f(x):\n    return 1 if x else 2\n")
    (tmp_path / "bad.py").write_text("print 'no'\n")
    records = run_plain_loop(stdlib_files(tmp_path), tmp_path).records
    totals = Totals.of(records)
    assert (totals.files, totals.parsed, totals.unparsed) == (2, 1, 1)
    assert (totals.lines, totals.code_lines, totals.functions, totals.branches) == (3, 2, 1, 1)
    assert totals.size == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert totals.zstd_ratio == totals.size / totals.zstd_size
    assert [count for _, count in totals.reasons] == [1]


def test_digest_notices_a_single_changed_byte() -> None:
    records = run_plain_loop(FILES).records
    changed = [*records[:-1], {**records[-1], "sha256": "0" * 64}]
    assert Totals.of(changed).digest != Totals.of(records).digest  # type: ignore[arg-type]


def test_no_files_at_all_still_have_totals() -> None:
    totals = Totals.of([])
    assert (totals.files, totals.zstd_ratio) == (0, 1.0)


def test_table_shows_every_total_without_a_terminal() -> None:
    totals = Totals.of(run_plain_loop(FILES).records)
    output = io.StringIO()
    print_totals(
        dataclasses.replace(totals, reasons=(("SyntaxError: [bold]markup[/bold]", 3),)), Console(file=output)
    )
    text = output.getvalue()
    assert f"{totals.lines:,}" in text
    assert f"{totals.size:,}" in text
    assert totals.digest[:16] in text
    assert "3 x SyntaxError: [bold]markup[/bold]" in text
    assert "\x1b" not in text
