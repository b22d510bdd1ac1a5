"""Compressed job data: a marker and the base64 of what was compressed (wire format, section 1.7).

`gz:` and a gzip member are what every glide-mq reads. `zs:` and a zstd frame are this library's own.
"""

from __future__ import annotations

import binascii
import zlib
from abc import ABC, abstractmethod
from typing import ClassVar, Final, Literal, TypeAlias

from glidemq.errors import ValidationError

CompressionName: TypeAlias = Literal["none", "gzip", "zstd"]
"""How a queue's new job data is stored. `zstd` packs tighter and several times faster than `gzip`, but only
this library reads it: a Node worker or dashboard sees {} for the data. Use it for queues without Node alone."""

# The limit on data applies before compression, so more than this was not written by a glide-mq.
MAX_INFLATED_BYTES = 1_048_576


class Compression(ABC):
    """One way of storing job data in less space."""

    marker: ClassVar[bytes]

    def deflate(self, text: bytes) -> bytes:
        """The stored form of a text, marker included."""
        return self.marker + binascii.b2a_base64(self._pack(text), newline=False)

    def inflate(self, stored: bytes) -> bytes:
        """The text behind a stored value that starts with the marker.

        Raises:
            ValueError: damaged, truncated, or more than 1 MiB of text.
        """
        try:
            packed = binascii.a2b_base64(stored[len(self.marker) :], strict_mode=True)
        except binascii.Error as error:
            raise _damaged(error) from None
        return self._unpack(packed)

    @abstractmethod
    def _pack(self, text: bytes) -> bytes: ...

    @abstractmethod
    def _unpack(self, packed: bytes) -> bytes: ...


class _Gzip(Compression):
    marker = b"gz:"
    _WINDOW: ClassVar[int] = 16 + zlib.MAX_WBITS

    def _pack(self, text: bytes) -> bytes:
        # Through zlib itself: no file name and no time in the header, so equal data is stored equally.
        deflater = zlib.compressobj(wbits=self._WINDOW)
        return deflater.compress(text) + deflater.flush()

    def _unpack(self, packed: bytes) -> bytes:
        inflater = zlib.decompressobj(self._WINDOW)
        try:
            text = inflater.decompress(packed, MAX_INFLATED_BYTES)
        except zlib.error as error:
            raise _damaged(error) from None
        if not inflater.eof:
            # Out of room, or out of input?
            if inflater.unconsumed_tail or len(text) == MAX_INFLATED_BYTES:
                raise _too_large()
            raise ValueError("truncated compressed data")
        return text


class _Zstd(Compression):
    marker = b"zs:"

    def _pack(self, text: bytes) -> bytes:
        import zstandard

        return zstandard.ZstdCompressor().compress(text)

    def _unpack(self, packed: bytes) -> bytes:
        import zstandard

        try:
            # The frame says how large its text is, and no more than that is ever unpacked.
            if zstandard.get_frame_parameters(packed).content_size > MAX_INFLATED_BYTES:
                raise _too_large()
            return zstandard.ZstdDecompressor().decompress(packed, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise _damaged(error) from None


_KINDS: Final[dict[str, Compression]] = {"gzip": _Gzip(), "zstd": _Zstd()}
_BY_MARKER: Final[dict[bytes, Compression]] = {kind.marker: kind for kind in _KINDS.values()}

MARKERS: Final = tuple(_BY_MARKER)
"""What compressed data starts with; no other stored data may."""


def inflate(stored: bytes) -> bytes:
    """The text behind a stored value that starts with one of the markers. Raises ValueError, see above."""
    return _BY_MARKER[stored[:3]].inflate(stored)


def check_compression(name: object) -> Compression | None:
    """The compression of this name; None for "none" and None. Raises ValidationError for another name."""
    if name is None or name == "none":
        return None
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValidationError(f'compression must be "none", "gzip" or "zstd", not {name!r:.40}')
    return kind


def _damaged(error: Exception) -> ValueError:
    return ValueError(f"damaged compressed data: {error}")


def _too_large() -> ValueError:
    return ValueError(f"compressed data inflates to more than {MAX_INFLATED_BYTES} bytes")
