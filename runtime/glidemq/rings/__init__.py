"""Record rings, ledger and cancel board between a gateway and one actor process.

    gateway ── activation ring ──► actor ── outbound ring ──► gateway
            ── reply ring ───────►
            ── cancel board ─────►       ── ledger ─────────►

`ActorSegment` holds all of them for one actor; its `gateway_side()` and `actor_side()` give each process
its role.
"""

from glidemq.rings.actor_segment import ActorSegment
from glidemq.rings.actor_side import ActorSide, TakenActivation
from glidemq.rings.cancel_board import CancelBoard, CancelReason
from glidemq.rings.gateway_side import GatewaySide, Harvest
from glidemq.rings.layout import SegmentSizes
from glidemq.rings.ledger import Ledger, LedgerEntry, LedgerState
from glidemq.rings.records import CommandHeader, JobIdentity, Record, RecordKind
from glidemq.rings.ring_reader import RingReader
from glidemq.rings.ring_writer import RingWriter
from glidemq.rings.spsc_ring import SpscRing

__all__ = [
    "ActorSegment",
    "ActorSide",
    "CancelBoard",
    "CancelReason",
    "CommandHeader",
    "GatewaySide",
    "Harvest",
    "JobIdentity",
    "Ledger",
    "LedgerEntry",
    "LedgerState",
    "Record",
    "RecordKind",
    "RingReader",
    "RingWriter",
    "SegmentSizes",
    "SpscRing",
    "TakenActivation",
]
