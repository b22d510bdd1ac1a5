"""Headers: what is packed comes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from glidemq.rings.records import OUTCOMES, CommandHeader, JobIdentity, RecordKind

TEXT = st.binary(max_size=300)


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 16) - 1), TEXT, TEXT, TEXT, TEXT, TEXT)
def test_identity_comes_back(
    processed_on: int, flags: int, queue: bytes, job_id: bytes, token: bytes, entry_id: bytes, name: bytes
) -> None:
    identity = JobIdentity(processed_on, flags, queue, job_id, token, entry_id, name)
    assert JobIdentity.unpack(identity.pack()) == identity


@given(st.booleans(), TEXT, TEXT)
def test_command_header_comes_back(replayable: bool, function: bytes, queue_key: bytes) -> None:
    header = CommandHeader(replayable, function, queue_key)
    assert CommandHeader.unpack(header.pack()) == header


def test_every_kind_fits_its_byte_and_only_what_ends_a_job_is_an_outcome() -> None:
    assert all(0 <= kind <= 255 for kind in RecordKind)
    assert {kind.name for kind in OUTCOMES} == {"COMPLETION", "FAILURE", "SKIPPED"}
