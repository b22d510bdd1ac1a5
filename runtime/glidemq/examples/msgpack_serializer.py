"""A serializer of one's own: MessagePack, for data that JSON cannot express.

    queue = Queue("tasks", serializer=MSGPACK_SERIALIZER)
    worker = Worker("tasks", process, serializer=MSGPACK_SERIALIZER)

The same serializer must be given to everybody who uses the queue, `QueueEvents` included. Whoever has another one
sees {} and `job.deserialization_failed`, and an error in the log. Other languages read it as the base64 of
MessagePack, as the serializer of the same name in glide-mq's documents does.
"""

# msgpack comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import base64
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]

_pack: Any = msgpack.packb
_unpack: Any = msgpack.unpackb


class MessagePackSerializer:
    """Bytes and aware datetimes survive the trip, and dicts may have keys that are no text."""

    def serialize(self, value: Any, /) -> str:
        """Base64, since what is stored must be text."""
        packed: bytes = _pack(value, datetime=True)
        return base64.b64encode(packed).decode()

    def deserialize(self, text: str, /) -> Any:
        """Lists come back for tuples; datetimes come back in UTC."""
        return _unpack(base64.b64decode(text, validate=True), timestamp=3, strict_map_key=False)


MSGPACK_SERIALIZER: Final = MessagePackSerializer()
