"""valkey-glide costs half a second to import and must stay out of processes that never connect."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.testkit.server import ValkeyServer

MODULES = ["glidemq", "glidemq.config", "glidemq.embedded", "glidemq.connection", "glidemq.clock"]


def run(code: str, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("module", MODULES)
def test_importing_it_does_not_import_glide_or_start_a_thread(module: str) -> None:
    code = f"""
import sys, threading
import {module}
assert not [m for m in sys.modules if m == 'glide' or m.startswith(('glide.', 'glide_shared'))]
assert threading.active_count() == 1
"""
    run(code)


def test_making_connections_does_not_import_glide_and_using_them_keeps_the_loop_turning(
    server: ValkeyServer,
) -> None:
    code = """
import asyncio, sys, time
from glidemq.config import resolve_connection
from glidemq.connection import CommandConnection, ReaderConnection

async def main():
    options = resolve_connection(sys.argv[1])
    commands, reader = CommandConnection(options), ReaderConnection(options)
    assert 'glide' not in sys.modules
    opening = asyncio.create_task(commands.open())
    turns = 0
    while not opening.done():
        await asyncio.sleep(0.001)
        turns += 1
    await opening
    assert 'glide' in sys.modules
    await commands.close()
    await reader.close()
    print(turns)

asyncio.run(main())
"""
    assert int(run(code, server.url)) > 10
