"""Segments: sealed, allocated, private to the process that attached, and gone without a trace."""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys

import pytest

from glidemq.errors import SharedMemoryError
from glidemq.shared_memory.segment import Segment
from tests.shared_memory.forked import Forked, mappings_of, open_descriptors

PAGE = 4096
SIZE = 64 * PAGE


def allocated(segment: Segment) -> int:
    return os.fstat(segment.fd).st_blocks * 512


def test_created_segment_cannot_be_shrunk_or_grown() -> None:
    segment = Segment.create(SIZE, name="sealed")
    for size in (SIZE - PAGE, SIZE + PAGE):
        with pytest.raises(PermissionError):
            os.ftruncate(segment.fd, size)
    segment.close()


def test_created_segment_has_its_pages_so_that_touching_it_cannot_fail() -> None:
    segment = Segment.create(SIZE, name="allocated")
    assert allocated(segment) == SIZE
    segment.close()


def test_sparse_segment_has_pages_only_where_it_was_written_until_they_are_punched() -> None:
    segment = Segment.create(SIZE, name="sparse", sparse=True)
    assert allocated(segment) == 0
    data = os.urandom(3 * PAGE)
    assert segment.write_at(PAGE, data)
    assert allocated(segment) == 3 * PAGE
    assert segment.read_at(PAGE, 3 * PAGE) == data
    segment.punch(PAGE, 2 * PAGE)
    assert allocated(segment) == PAGE
    assert segment.read_at(0, 4 * PAGE) == bytes(3 * PAGE) + data[2 * PAGE :]
    segment.close()


def test_reading_beyond_the_end_is_an_error_not_an_endless_wait() -> None:
    segment = Segment.create(PAGE, name="short", sparse=True)
    with pytest.raises(SharedMemoryError, match="beyond the end"):
        segment.read_at(PAGE - 1, 2)
    segment.close()


def test_two_attachments_see_each_other_s_words() -> None:
    created = Segment.create(SIZE, name="shared")
    one, two = Segment.attach(created.fd, SIZE), Segment.attach(created.fd, PAGE, offset=PAGE)
    word = (1 << 64) - 2
    one.words(PAGE, 2)[1] = word
    assert two.words(8, 1)[0] == word
    two.view(0, 3)[:] = b"abc"
    assert bytes(one.view(PAGE, 3)) == b"abc"
    for segment in (one, two, created):
        segment.close()


def test_processes_share_what_they_write() -> None:
    created = Segment.create(SIZE, name="shared")

    def child() -> None:
        attached = Segment.attach(created.fd, SIZE)
        attached.words(0, 1)[0] += 41

    created.words(0, 1)[0] = 1
    with Forked(child) as process:
        process.join()
    assert created.words(0, 1)[0] == 42
    created.close()


def test_read_only_attachment_cannot_be_written() -> None:
    created = Segment.create(SIZE, name="guarded")
    attached = Segment.attach(created.fd, SIZE, writable=False)
    with pytest.raises(TypeError, match="read-only"):
        attached.words(0, 1)[0] = 1
    attached.close()
    created.close()


def test_attach_refuses_a_segment_that_is_too_small() -> None:
    created = Segment.create(PAGE, name="small")
    with pytest.raises(SharedMemoryError, match="holds 4096 bytes, expected 8192"):
        Segment.attach(created.fd, 2 * PAGE)
    with pytest.raises(SharedMemoryError, match="expected 8192"):
        Segment.attach(created.fd, PAGE, offset=PAGE)
    created.close()


def test_attach_refuses_a_closed_descriptor() -> None:
    created = Segment.create(PAGE, name="gone")
    fd = created.fd
    created.close()
    with pytest.raises(SharedMemoryError, match="holds no memory segment"):
        Segment.attach(fd, PAGE)


@pytest.mark.parametrize(("offset", "count"), [(-8, 1), (0, SIZE // 8 + 1), (SIZE, 1)])
def test_words_outside_the_segment_are_refused(offset: int, count: int) -> None:
    segment = Segment.create(SIZE, name="bounded")
    with pytest.raises(ValueError, match="outside the segment"):
        segment.words(offset, count)
    segment.close()


def test_words_must_be_aligned_or_their_stores_could_tear() -> None:
    segment = Segment.create(SIZE, name="aligned")
    with pytest.raises(ValueError, match="aligned"):
        segment.words(4, 1)
    segment.close()


def test_descriptor_does_not_survive_exec() -> None:
    segment = Segment.create(PAGE, name="cloexec")
    listing = subprocess.run(
        [sys.executable, "-c", f"import os; os.fstat({segment.fd})"], capture_output=True, close_fds=False
    )
    assert b"Bad file descriptor" in listing.stderr
    segment.close()


def test_forked_process_is_refused_and_its_parent_goes_on() -> None:
    segment = Segment.create(SIZE, name="refused")
    words = segment.words(0, 1)
    words[0] = 7

    def child() -> None:
        assert segment.foreign
        assert mappings_of("refused") == 0
        for use in (
            lambda: segment.words(0, 1),
            lambda: segment.read_at(0, 1),
            lambda: segment.write_at(0, b"x"),
            lambda: segment.punch(0, PAGE),
        ):
            with pytest.raises(SharedMemoryError, match="must attach for itself"):
                use()
        with pytest.raises(ValueError, match="released memoryview"):
            words[0] = 8
        segment.close()
        os.fstat(
            segment.fd if segment.fd >= 0 else fd
        )  # the inherited descriptor is not this object's to close

    fd = segment.fd
    with Forked(child) as process:
        process.join()
    assert words[0] == 7
    segment.close()


def test_close_twice_leaves_no_descriptor_and_no_mapping() -> None:
    gc.collect()
    before = open_descriptors()
    segment = Segment.create(SIZE, name="tidy")
    attached = Segment.attach(segment.fd, SIZE)
    segment.words(0, 4)
    attached.view(0, 9)
    assert mappings_of("tidy") == 2
    for each in (attached, segment, attached, segment):
        each.close()
    assert open_descriptors() == before
    assert mappings_of("tidy") == 0
    with pytest.raises(SharedMemoryError, match="closed"):
        segment.words(0, 1)


def test_too_few_descriptors_says_which_limit_to_raise() -> None:
    def child() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
        segments: list[Segment] = []
        with pytest.raises(SharedMemoryError, match=r"ulimit -n"):
            segments.extend(Segment.create(PAGE, name="many") for _ in range(10))

    with Forked(child) as process:
        process.join()


def test_refused_size_leaves_no_descriptor_and_says_what_to_do() -> None:
    def child() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE, SIZE))
        before = open_descriptors()
        with pytest.raises(SharedMemoryError, match=r"cannot create 266240 bytes.*\(huge\).*ulimit -f"):
            Segment.create(SIZE + PAGE, name="huge")
        assert open_descriptors() == before

    with Forked(child) as process:
        process.join()


def test_other_systems_get_a_sentence_not_an_attribute_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SharedMemoryError, match=r"needs Linux.*this is darwin"):
        Segment.create(PAGE, name="elsewhere")


def test_package_imports_on_a_system_without_the_calls_it_needs() -> None:
    script = """
import os, sys
sys.platform = "darwin"
for name in ("memfd_create", "eventfd", "eventfd_read", "eventfd_write", "posix_fallocate", "register_at_fork"):
    delattr(os, name)
sys.modules["fcntl"] = None
from glidemq.errors import SharedMemoryError
import glidemq.rings, glidemq.shared_memory
for create in (lambda: glidemq.rings.ActorSegment.create(), glidemq.shared_memory.Doorbell.create_fd,
               lambda: glidemq.shared_memory.StatusBoard.create(1)):
    try:
        create()
    except SharedMemoryError as error:
        print(error)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.count("needs Linux") == 3, run.stdout + run.stderr
