"""The ledger of descriptors that children close."""

from __future__ import annotations

import os

import pytest

from glidemq_supervisor.descriptors import DescriptorLedger


def test_recorded_descriptors_are_closed_but_those_to_keep_and_those_unknown() -> None:
    ledger = DescriptorLedger()
    kept, closed, unknown = (os.open("/dev/null", os.O_RDONLY) for _ in range(3))
    ledger.record(kept, closed)
    ledger.close_others([kept])
    os.fstat(kept)
    os.fstat(unknown)
    with pytest.raises(OSError):
        os.fstat(closed)
    assert kept in ledger
    assert closed not in ledger
    os.close(kept)
    os.close(unknown)


def test_forgotten_number_that_means_something_else_now_stays_open() -> None:
    ledger = DescriptorLedger()
    first = os.open("/dev/null", os.O_RDONLY)
    ledger.record(first)
    ledger.forget(first)
    ledger.close_others([])
    os.fstat(first)
    os.close(first)


def test_descriptor_that_a_fork_hook_has_closed_is_no_trouble() -> None:
    ledger = DescriptorLedger()
    gone = os.open("/dev/null", os.O_RDONLY)
    ledger.record(gone)
    os.close(gone)
    ledger.close_others([])
    assert gone not in ledger
