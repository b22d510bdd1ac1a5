"""One piece of memory that processes share by inheriting its file descriptor."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import sys
import weakref

from glidemq.errors import SharedMemoryError
from glidemq.shared_memory.fence import register

_MFD_CLOEXEC = 0x1
_MFD_ALLOW_SEALING = 0x2
_MFD_NOEXEC_SEAL = 0x8
_FALLOC_KEEP_SIZE = 0x1
_FALLOC_PUNCH_HOLE = 0x2
_OUT_OF_MEMORY = {errno.ENOSPC, errno.ENOMEM}
_OUT_OF_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}


class Segment:
    """An anonymous, sealed memory file, mapped on first use.

    Has no name in /dev/shm: nothing is left behind when the last process that holds it ends, and the size
    of /dev/shm does not bound it. The seals forbid shrinking, and the pages are allocated at creation, so
    that touching the mapping cannot raise SIGBUS.

    Owns: its mapping; the descriptor only if it created it. Written by, read by: what lies in it says so.
    Stops when: closed, or the process ends. A process forked from its user must attach for itself: use
    raises there.
    """

    __slots__ = (
        "__weakref__",
        "_map",
        "_offset",
        "_owns_fd",
        "_views",
        "_writable",
        "fd",
        "foreign",
        "size",
    )

    def __init__(self, fd: int, size: int, *, offset: int, writable: bool, owns_fd: bool) -> None:
        self.fd = fd
        self.size = size
        self._offset = offset
        self._writable = writable
        self._owns_fd = owns_fd
        self._map: mmap.mmap | None = None
        self._views: list[memoryview] = []
        self.foreign = False
        """True in a process forked from the one that attached: it must not use this object."""
        _live.add(self)

    @classmethod
    def create(cls, size: int, *, name: str, sparse: bool = False) -> Segment:
        """Create `size` bytes of zeroes; `name` shows in /proc only.

        With `sparse` no page is allocated before it is written: such a segment is used through `read_at` and
        `write_at` alone, which report a lack of memory as an error where a mapping would raise SIGBUS.

        Raises:
            SharedMemoryError: this is not Linux, or memory or descriptors are short.
        """
        if not sys.platform.startswith("linux") or not hasattr(os, "memfd_create"):
            raise SharedMemoryError(
                f"the multiprocess runtime needs Linux (memfd_create, eventfd); this is {sys.platform}. "
                "Run workers inside one process here, or use Linux."
            )
        fd = -1
        try:
            fd = _memfd(name)
            os.ftruncate(fd, size)
            _seal(fd)
            if not sparse:
                os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if fd >= 0:
                os.close(fd)
            raise SharedMemoryError(_creation_failed(name, size, error)) from error
        return cls(fd, size, offset=0, writable=True, owns_fd=True)

    @classmethod
    def attach(cls, fd: int, size: int, *, offset: int = 0, writable: bool = True) -> Segment:
        """Use the segment behind an inherited descriptor, which stays the caller's to close.

        Only `size` bytes from `offset` (a multiple of the page size) are mapped, so that a process cannot
        touch the rest.

        Raises:
            SharedMemoryError: the descriptor is closed, or holds fewer bytes.
        """
        try:
            length = os.fstat(fd).st_size
        except OSError as error:
            raise SharedMemoryError(f"descriptor {fd} holds no memory segment: {error.strerror}") from error
        if length < offset + size:
            raise SharedMemoryError(f"descriptor {fd} holds {length} bytes, expected {offset + size}")
        register()
        return cls(fd, size, offset=offset, writable=writable, owns_fd=False)

    @property
    def buffer(self) -> mmap.mmap:
        """The mapping itself, for code that slices it directly.

        Raises:
            SharedMemoryError: this process did not attach, the segment is closed, or address space is short.
        """
        self.check_usable()
        if self._map is None:
            access = mmap.PROT_READ | (mmap.PROT_WRITE if self._writable else 0)
            register()
            try:
                self._map = mmap.mmap(
                    self.fd, self.size, flags=mmap.MAP_SHARED, prot=access, offset=self._offset
                )
            except (OSError, ValueError) as error:
                raise SharedMemoryError(f"cannot map {self.size} bytes of shared memory: {error}") from error
        return self._map

    def words(self, offset: int, count: int) -> memoryview:
        """`count` 8-byte words from `offset`, a multiple of 8, as a memoryview of format "Q"."""
        if offset % 8:
            raise ValueError(f"words must be aligned to 8 bytes, got offset {offset}")
        return self._keep(self._slice(offset, 8 * count).cast("Q"))

    def view(self, offset: int, length: int) -> memoryview:
        """`length` bytes from `offset`, as a memoryview of bytes."""
        return self._keep(self._slice(offset, length))

    def read_at(self, offset: int, length: int) -> bytes:
        """A private copy of `length` bytes, read by descriptor: no mapping is made."""
        self.check_usable()
        data = os.pread(self.fd, length, self._offset + offset)
        while len(data) < length:
            piece = os.pread(self.fd, length - len(data), self._offset + offset + len(data))
            if not piece:
                raise SharedMemoryError(f"read beyond the end of the segment at {offset}")
            data += piece
        return data

    def write_at(self, offset: int, data: bytes) -> bool:
        """Write by descriptor, without a mapping; False when there is no memory for the pages."""
        self.check_usable()
        rest = memoryview(data)
        position = self._offset + offset
        while rest:
            try:
                written = os.pwrite(self.fd, rest, position)
            except OSError as error:
                if error.errno in _OUT_OF_MEMORY:
                    return False
                raise
            position += written
            rest = rest[written:]
        return True

    def punch(self, offset: int, length: int) -> None:
        """Give the whole pages of this range back to the system; they read as zeroes afterwards.

        Raises:
            SharedMemoryError: the system refuses to punch holes.
        """
        self.check_usable()
        if _fallocate(self.fd, _FALLOC_PUNCH_HOLE | _FALLOC_KEEP_SIZE, self._offset + offset, length) != 0:
            code = ctypes.get_errno()
            raise SharedMemoryError(f"cannot free {length} bytes of shared memory: {os.strerror(code)}")

    def close(self) -> None:
        """Release all views and the mapping, and the descriptor if this object created it. Idempotent."""
        self._unmap()
        if self._owns_fd and self.fd >= 0:
            os.close(self.fd)
        self.fd = -1
        _live.discard(self)

    def check_usable(self) -> None:
        """Say why this object cannot be used, if so.

        Raises:
            SharedMemoryError: it is closed, or this process was forked from the one that attached.
        """
        if self.foreign:
            raise SharedMemoryError(
                "this shared memory belongs to the parent process; a forked process must attach for itself"
            )
        if self.fd < 0:
            raise SharedMemoryError("the shared memory segment is closed")

    def disown(self) -> None:
        """Refuse all use from now on; run in every forked child, for what its parent had attached."""
        self.foreign = True
        self._owns_fd = False
        # Forked by a call that uses the mapping at this moment: then it merely stays mapped.
        with contextlib.suppress(BufferError):
            self._unmap()

    def _unmap(self) -> None:
        for view in self._views:
            view.release()
        self._views.clear()
        if self._map is not None:
            self._map.close()
            self._map = None

    def _slice(self, offset: int, length: int) -> memoryview:
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"range {offset}..{offset + length} is outside the segment of {self.size} bytes")
        with memoryview(self.buffer) as whole:
            return whole[offset : offset + length]

    def _keep(self, view: memoryview) -> memoryview:
        self._views.append(view)
        return view


_live: weakref.WeakSet[Segment] = weakref.WeakSet()


def _disown_all() -> None:
    # Cheaper than comparing os.getpid() (180 ns) at every push: the check in hot paths is one attribute.
    for segment in list(_live):
        segment.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)


def _memfd(name: str) -> int:
    try:
        return os.memfd_create(name, _MFD_CLOEXEC | _MFD_ALLOW_SEALING | _MFD_NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:  # kernels before 6.3 do not know the last flag
            raise
        return os.memfd_create(name, _MFD_CLOEXEC | _MFD_ALLOW_SEALING)


def _seal(fd: int) -> None:
    import fcntl  # not on Windows, where this module must import

    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)


def _fallocate(fd: int, mode: int, offset: int, length: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    fallocate = libc.fallocate64 if hasattr(libc, "fallocate64") else libc.fallocate
    fallocate.restype = ctypes.c_int
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    result: int = fallocate(fd, mode, offset, length)
    return result


def _creation_failed(name: str, size: int, error: OSError) -> str:
    what = f"cannot create {size} bytes of shared memory ({name}): {error.strerror}. "
    if error.errno in _OUT_OF_DESCRIPTORS:
        return what + "Raise the limit of open files (ulimit -n, LimitNOFILE=) or run fewer actor processes."
    if error.errno == errno.EFBIG:
        return (
            what + "Raise the limit of file sizes (ulimit -f, LimitFSIZE=), which covers shared memory too."
        )
    if error.errno in _OUT_OF_MEMORY:
        return what + "Give the container or host more memory, or run fewer actor processes."
    return what + "The system must allow memfd_create and fallocate (check seccomp and the memory cgroup)."
