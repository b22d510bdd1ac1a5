"""Every sample in the guides is run, in the order of its page: files are saved, commands typed, code executed."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from tests.architecture.repository import ROOT
from tests.docs.document import PAGES, Block, Typed, blocks_of, commands_in
from tests.testkit.process_tree import processes_with
from tests.testkit.server import ValkeyServer
from tests.testkit.waiting import wait_until

MARK = "GUIDE_UNDER_TEST"
# What a test cannot do, or must not: other machines, other users, the machine itself.
NOT_RUN = frozenset(
    {"cd", "docker", "git", "kill", "kubectl", "make", "node", "npm", "pip", "systemctl", "uv"}
)
# Page -> package of an extra that its samples use.
NEEDS = {"vector-search": "numpy"}
ONE_SHOT = frozenset({"check", "--print-config", "--version", "--help"})


class Reader:
    """Follows one page in a directory of its own. Owns: the supervisors it has started. Stops when: closed."""

    def __init__(self, directory: Path, server: ValkeyServer) -> None:
        self.directory = directory
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GLIDEMQ_")},
            "GLIDEMQ_URL": server.url,
            MARK: str(directory),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        self._supervisors: list[subprocess.Popen[bytes]] = []
        self._names: dict[str, Any] = {"__name__": "__guide__"}

    async def follow(self, page: Path, block: Block) -> None:
        """Do what this block asks for."""
        if block.file_name is not None:
            path = self.directory / block.file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "python":
            await self._execute(page, block)
        elif block.language == "console":
            for typed in commands_in(block):
                self._type(typed)

    async def _execute(self, page: Path, block: Block) -> None:
        """As in `python -m asyncio`: `await` works at the top, and names stay for the page's next block."""
        tree = ast.parse(block.text)
        ast.increment_lineno(tree, block.line - 1)
        code: CodeType = compile(tree, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, self._names)
        if inspect.isawaitable(result):
            await result

    def _type(self, typed: Typed) -> None:
        words = shlex.split(typed.command, comments=True)
        program, arguments = words[0], words[1:]
        if program == "glidemq-supervisor" and not ONE_SHOT & set(arguments):
            self._start_supervisor(words)
        elif program in ("python", "glidemq-supervisor"):
            self._run(words, typed.output)
        else:
            assert program in NOT_RUN, f"a guide must not ask for {program!r} without a test that runs it"
            if program == "make":
                targets = (ROOT / "Makefile").read_text()
                assert all(f"\n{target}:" in targets for target in arguments), typed.command

    def _run(self, words: list[str], expected: str) -> None:
        done = subprocess.run(
            words, cwd=self.directory, env=self._environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        if expected:
            flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert doctest.OutputChecker().check_output(expected, done.stdout, flags), (
                done.stdout + done.stderr
            )

    def _start_supervisor(self, words: list[str]) -> None:
        self.stop_supervisors()  # a page's next one replaces it, as in its reader's terminal
        log = self.directory / "supervisor.log"
        with log.open("wb") as output:
            self._supervisors.append(
                subprocess.Popen(
                    words, cwd=self.directory, env=self._environment, stdin=subprocess.DEVNULL,
                    stdout=output, stderr=output,
                )
            )  # fmt: skip
        supervisor = self._supervisors[-1]
        wait_until(lambda: b"ready: " in log.read_bytes() or supervisor.poll() is not None, "it is ready")
        assert supervisor.poll() is None, log.read_text()

    def stop_supervisors(self) -> None:
        """Ctrl-C in their terminal; each must end in order."""
        while self._supervisors:
            supervisor = self._supervisors.pop()
            supervisor.terminate()
            assert supervisor.wait(60) == 0

    def close(self) -> None:
        for supervisor in self._supervisors:
            supervisor.kill()
            supervisor.wait()
        wait_until(lambda: not processes_with(MARK, str(self.directory)), "nobody is left of the guide")


@pytest.fixture
def reader(tmp_path: Path, own_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """Someone who follows a page; modules imported from its files are forgotten afterwards."""
    monkeypatch.setenv("GLIDEMQ_URL", own_server.url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    made = Reader(tmp_path, own_server)
    yield made
    made.close()
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
async def test_samples_of_the_page_do_what_it_says(page: Path, reader: Reader) -> None:
    if page.stem in NEEDS:
        pytest.importorskip(NEEDS[page.stem], reason=f"{NEEDS[page.stem]}, of an extra, is not installed")
    for block in blocks_of(page):
        assert block.language, f"{page.name}:{block.line}: say which language this block is in"
        try:
            await reader.follow(page, block)
        except Exception as error:
            error.add_note(f"in the block at {page.name}:{block.line}")
            raise
    reader.stop_supervisors()
