"""What an import may not leave behind in a process that others are to be forked from."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import stat
import sys
import threading
from pathlib import Path
from typing import Any

_GLIDE_PACKAGES = ("glide", "glide_sync", "glide_shared")


def open_sockets() -> frozenset[int]:
    """Descriptors of this process that are sockets."""
    found: set[int] = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the listing's own descriptor is closed by now
            if stat.S_ISSOCK(os.fstat(int(entry.name)).st_mode):
                found.add(int(entry.name))
    return frozenset(found)


def leftovers(sockets_before: frozenset[int]) -> list[str]:
    """Everything that a forked child would inherit broken, each named so that its maker can be found.

    A thread does not exist in the child though its locks stay held; an event loop's and a client's sockets
    would be shared by all children.
    """
    main = threading.main_thread()
    found = [f"a running thread {thread.name!r}" for thread in threading.enumerate() if thread is not main]
    found += [f"an event loop ({name})" for name in _loops()]
    found += [f"a Valkey client ({name})" for name in _clients()]
    found += [_describe_socket(fd) for fd in sorted(open_sockets() - sockets_before - _sockets_of_loops())]
    return found


def native_threads() -> list[str]:
    """Names of threads that Python does not know of: pools of native libraries, often harmless while idle."""
    known = {thread.native_id for thread in threading.enumerate()}
    known.add(os.getpid())  # Python 3.11 does not notice that the main thread's number changes with a fork
    names: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        if int(task.name) not in known:
            with contextlib.suppress(OSError):
                names.append((task / "comm").read_text().strip())
    return sorted(names)


def _live_objects_of(base: type) -> list[Any]:
    # type(), not isinstance(): asking a proxy object for its __class__ may run user code.
    return [candidate for candidate in gc.get_objects() if issubclass(type(candidate), base)]


def _open_loops() -> list[Any]:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return []
    return [loop for loop in _live_objects_of(asyncio.AbstractEventLoop) if not loop.is_closed()]


def _loops() -> list[str]:
    return [_type_name(loop) for loop in _open_loops()]


def _sockets_of_loops() -> frozenset[int]:
    """The self-pipes of event loops, which are reported as loops already."""
    found: set[int] = set()
    for loop in _open_loops():
        for attribute in ("_ssock", "_csock"):
            end = getattr(loop, attribute, None)
            if isinstance(end, socket.socket):
                found.add(end.fileno())
    return frozenset(found)


def _clients() -> list[str]:
    if not any(package in sys.modules for package in _GLIDE_PACKAGES):
        return []
    found: set[str] = set()
    everything: list[object] = gc.get_objects()
    for candidate in everything:
        kind = type(candidate)
        # str: classes may define `__module__` as anything, such as a property of their instances.
        if str(kind.__module__).partition(".")[0] in _GLIDE_PACKAGES:
            is_client = kind.__name__.endswith("Client") and not getattr(candidate, "_is_closed", False)
            found |= {_type_name(candidate)} if is_client else set()
    return sorted(found)


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _describe_socket(fd: int) -> str:
    try:
        with socket.socket(fileno=os.dup(fd)) as copy:
            peer: Any = copy.getpeername()
            internet = copy.family in (socket.AF_INET, socket.AF_INET6)
    except OSError:
        return f"an open socket (descriptor {fd})"
    address = f"{peer[0]}:{peer[1]}" if internet else str(peer)
    return f"an open connection to {address or 'a nameless peer'} (descriptor {fd})"
