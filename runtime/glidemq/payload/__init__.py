"""Job data and results, as values and as stored text: serializing, limits, compression, validation."""

from glidemq.payload.payload import MAX_PAYLOAD_BYTES, PLAIN_PAYLOAD, Payload

__all__ = ["MAX_PAYLOAD_BYTES", "PLAIN_PAYLOAD", "Payload"]
