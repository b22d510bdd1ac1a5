"""Printing what others wrote."""

from __future__ import annotations

from rich.console import Console


def print_plain(text: str, console: Console, style: str) -> None:
    """Text that others wrote: as it is, on one line, however narrow the console."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
