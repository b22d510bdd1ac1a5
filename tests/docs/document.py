"""A Markdown page as its reader uses it: the files to save, the code to run, the commands to type, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.architecture.repository import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "deploy/docs").glob("*.md")))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"# ([\w/-]+\.(?:py|toml))\n")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. line: of its first line of content, counted from 1."""

    language: str
    text: str
    line: int

    @property
    def file_name(self) -> str | None:
        """What the block is to be saved as: a comment in its first line says so."""
        named = _FILE_NAME.match(self.text)
        return named[1] if named is not None else None


@dataclass(frozen=True, slots=True)
class Typed:
    """One command after a `$`, and the lines that the page shows below it."""

    command: str
    output: str


def blocks_of(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(match[1], match[2], text.count("\n", 0, match.start(2)) + 1) for match in _FENCE.finditer(text)
    ]


def commands_in(block: Block) -> Iterator[Typed]:
    """The commands of a `console` block; a backslash at a line's end continues it."""
    text = block.text.replace("\\\n", " ")
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield Typed(" ".join(command.split()), output)
