"""Compressed job data: the marker "gz:" and the base64 of a gzip member (wire format, section 1.7)."""

from __future__ import annotations

import binascii
import zlib

MARKER = b"gz:"
# The limit on data applies before compression, so more than this was not written by a glide-mq.
MAX_INFLATED_BYTES = 1_048_576
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


def inflate(raw: bytes) -> bytes:
    """The text behind a stored value that starts with the marker.

    Raises:
        ValueError: damaged, truncated, or more than 1 MiB of text.
    """
    try:
        packed = binascii.a2b_base64(raw[len(MARKER) :], strict_mode=True)
        inflater = zlib.decompressobj(_GZIP_WINDOW)
        text = inflater.decompress(packed, MAX_INFLATED_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"damaged compressed data: {error}") from None
    if not inflater.eof:
        # Out of room, or out of input?
        if inflater.unconsumed_tail or len(text) == MAX_INFLATED_BYTES:
            raise ValueError(f"compressed data inflates to more than {MAX_INFLATED_BYTES} bytes")
        raise ValueError("truncated compressed data")
    return text
