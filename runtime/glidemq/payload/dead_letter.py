"""The envelope in which a failed job lies in its dead letter queue (wire format, section 3.13)."""

from __future__ import annotations

import orjson

from glidemq.payload.compression import MARKERS, inflate


def envelope_of(
    *, queue: str, job_id: bytes, data: bytes, reason: bytes, attempts: bytes
) -> tuple[bytes, bytes | None]:
    """The envelope, and `data` again where the envelope holds something else than that.

    data: as stored. JSON is kept to the letter, compressed JSON is inflated, as Node cannot do it in here; the text of
    any other serializer becomes a JSON string.
    """
    text = _inflated(data)
    is_json = _is_json(text)
    parts = (
        b'{"originalQueue":',
        orjson.dumps(queue),
        b',"originalJobId":',
        _json_string(job_id),
        b',"data":',
        text if is_json else _json_string(text),
        b',"failedReason":',
        _json_string(reason),
        b',"attemptsMade":',
        attempts if attempts.isdigit() else b"0",
        b"}",
    )
    return b"".join(parts), None if is_json and text is data else data


def _inflated(data: bytes) -> bytes:
    if data.startswith(MARKERS):
        try:
            return inflate(data)
        except (ValueError, ImportError):  # damaged, or of a kind that this installation lacks
            pass
    return data


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _json_string(text: bytes) -> bytes:
    return orjson.dumps(text.decode(errors="replace"))
