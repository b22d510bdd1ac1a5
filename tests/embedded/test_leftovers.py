"""What a power cut or a kill leaves in the directory does no harm."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey

from glidemq.embedded import EmbeddedServer, keeper
from tests.embedded.holder_process import (
    HolderProcess,
    kill_everything,
    pids,
    processes_of,
    stopped,
    wait_until,
)


def use(directory: Path) -> str:
    """Start, write, stop; returns the socket's path."""
    server = EmbeddedServer.acquire(directory)
    server.wait_ready()
    path = server.socket
    with valkey.Valkey(unix_socket_path=path) as client:
        client.incr("uses")
    server.release()
    wait_until(lambda: stopped(directory))
    return path


def uses(directory: Path) -> int:
    server = EmbeddedServer.acquire(directory)
    server.wait_ready()
    with valkey.Valkey(unix_socket_path=server.socket) as client:
        count = int(client.get("uses") or 0)
    server.release()
    wait_until(lambda: stopped(directory))
    return count


def test_stale_files_of_a_dead_server_are_recognised(directory: Path) -> None:
    use(directory)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(directory / keeper.SOCKET))
    (directory / keeper.ENDPOINT).write_text(f"{directory / keeper.SOCKET}\n")
    (directory / keeper.PIDS).write_text(f"keeper {os.getpid()}\nserver {os.getpid()}\n")
    assert uses(directory) == 1


def test_garbage_in_the_endpoint_file_is_replaced(directory: Path) -> None:
    use(directory)
    (directory / keeper.ENDPOINT).write_text("\x00/etc/passwd")
    assert uses(directory) == 1


def test_everything_killed_at_once_is_a_start_like_any_other(directory: Path) -> None:
    holder = HolderProcess(directory)
    holder.wait_ready()
    holder.process.send_signal(signal.SIGSTOP)  # so that it does not start another one
    kill_everything(directory)
    assert (directory / keeper.ENDPOINT).exists()
    holder.kill()
    use(directory)
    assert uses(directory) == 1


def test_a_torn_tail_of_the_append_only_file_is_cut_off(directory: Path) -> None:
    use(directory)
    use(directory)
    (file,) = (directory / "appendonlydir").glob("*.incr.aof")
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.rindex(b"INCR") + 2])
    assert uses(directory) == 1


@pytest.fixture
def deep_directory(directory: Path) -> Iterator[Path]:
    """A directory whose path is too long for a Unix socket."""
    path = directory.parent / ("x" * 60) / ("y" * 60)
    yield path
    wait_until(lambda: not processes_of(path))


def test_a_path_too_long_for_a_socket_gets_a_private_short_one_while_it_runs(deep_directory: Path) -> None:
    server = EmbeddedServer.acquire(deep_directory)
    server.wait_ready()
    path = Path(server.socket)
    assert len(os.fsencode(path)) <= keeper.LONGEST_SOCKET_PATH
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    other = HolderProcess(deep_directory)  # finds it by the record in the directory
    other.wait_ready()
    other.let_go()
    server.release()
    wait_until(lambda: stopped(deep_directory))
    assert not path.parent.exists()


def test_the_short_path_is_used_again_after_a_kill(deep_directory: Path) -> None:
    server = EmbeddedServer.acquire(deep_directory)
    server.wait_ready()
    path = server.socket
    os.kill(pids(deep_directory)["keeper"], signal.SIGKILL)
    wait_until(lambda: not processes_of(deep_directory))
    server.wait_ready()
    assert server.socket == path
    server.release()
    wait_until(lambda: stopped(deep_directory))
    assert not Path(path).parent.exists()


def test_a_recorded_short_directory_that_is_not_ours_is_not_trusted(deep_directory: Path) -> None:
    deep_directory.mkdir(parents=True, mode=0o700)
    foreign = Path("/tmp/glidemq-not-private")
    foreign.mkdir(exist_ok=True)
    foreign.chmod(0o755)
    try:
        (deep_directory / keeper.ENDPOINT).write_text(f"{foreign / keeper.SOCKET}\n")
        assert Path(use(deep_directory)).parent != foreign
        assert foreign.exists()
    finally:
        shutil.rmtree(foreign)


def test_logs_stay_bounded(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_bytes(b"x" * 101)
    keeper.rotate(log, limit=100)
    assert not log.exists()
    assert (tmp_path / "x.log.1").stat().st_size == 101
    log.write_bytes(b"x" * 100)
    keeper.rotate(log, limit=100)
    assert log.exists()
