"""A running job's output, chunk by chunk: checked, numbered, put into the server library's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from glidemq.commands.size_limit import MAX_TEXT_BYTES
from glidemq.errors import ValidationError

ATTEMPT_FIELD: Final = "x-py:attempt"
_OWN_FIELDS: Final = "x-py:"
# The server looks at the length of a stream with every so many chunks of a writer, of short streams more often.
_LOOK_EVERY: Final = 50
# What a chunk costs apart from its texts, expressed in bytes.
CHUNK_SIZE: Final = 1000
# Texts up to here are not measured one by one: a chunk of one of them is far from being too large.
_SHORT: Final = 1000


class ChunkBatch:
    """Chunks that leave with one call.

    era: of the lane that sends them, when the first one was made; None before its first reply, and after one that
    asks for a look at every chunk.
    """

    __slots__ = ("elements", "era", "looks", "size")

    def __init__(self, era: int) -> None:
        self.era = era or None
        self.elements: list[Any] = []
        """(job id, run or False, False or (number, limit, ttl_ms), count, field, value, ...) of one after the other."""
        self.looks: list[ChunkSource] = []
        """Whose chunks the server shall look at more closely."""
        self.size = 0
        """What it costs to bring, in bytes: each chunk counts as `CHUNK_SIZE` and its texts."""

    def appended_in(self, era: int) -> None:
        """The server has appended the chunks; runs that it has looked at need no look while the era lasts."""
        for source in self.looks:
            source.seen_in = era


class ChunkSource:
    """Makes the chunks of one job, as the server library reads them.

    Written by: the job. Stops when: the job object does.
    """

    __slots__ = ("_id", "_limits", "_look_every", "_run", "_tail", "lane", "number", "seen_in")

    def __init__(
        self, job_id: str, token: bytes, attempt: int, limit: int | None, ttl_ms: int | None
    ) -> None:
        """token: of the run, empty for others. attempt: 1 for the first. limit, ttl_ms: None for the defaults."""
        self._id = job_id
        self._run = token or False
        self._limits = (limit or False, ttl_ms or False)
        self._look_every = _LOOK_EVERY if limit is None else max(1, min(_LOOK_EVERY, limit // 100))
        self._tail: tuple[str, ...] = (ATTEMPT_FIELD, str(attempt)) if attempt > 1 else ()
        self.number = 0
        """How many chunks it has made."""
        self.seen_in = 0
        """The era in which the server has seen that the run holds its job; 0 before."""
        self.lane: Any = None
        """What brings them to the server; set by the job."""

    def write(self, fields: Mapping[str, str], batch: ChunkBatch) -> None:
        """Make the next chunk, the last one of the batch so far.

        Raises:
            ValidationError: no fields, fields or values that are no text, names of our own, or above 1 MiB.
        """
        try:
            for name, value in fields.items():  # what most programs write: one short field
                if (
                    name not in _known_names
                    or type(value) is not str
                    or len(value) > _SHORT
                    or not value.isascii()
                    or len(fields) > 1
                    or self._tail
                ):
                    break
                number = self.number = self.number + 1
                batch.size += CHUNK_SIZE + len(value)
                if self.seen_in == batch.era and number % self._look_every:
                    batch.elements += (self._id, self._run, 2, name, value)
                else:
                    self._write_with_care(batch, (name, value))
                return
            flat, size = _checked(fields)
        except (AttributeError, TypeError, UnicodeEncodeError):  # no mapping, or half of a surrogate pair
            raise ValidationError("a stream chunk must be a mapping of texts to texts") from None
        flat += self._tail
        self.number += 1
        batch.size += CHUNK_SIZE + size
        if self.seen_in == batch.era and self.number % self._look_every:
            batch.elements += (self._id, self._run, len(flat), *flat)
        else:
            self._write_with_care(batch, flat)

    def _write_with_care(self, batch: ChunkBatch, flat: Sequence[str | bytes]) -> None:
        batch.elements += (self._id, self._run, (len(flat), self.number, *self._limits), *flat)
        batch.looks.append(self)


def _checked(fields: Mapping[str, str]) -> tuple[list[str | bytes], int]:
    flat: list[str | bytes] = []
    size = 0
    for name, value in fields.items():
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError(f"chunk field {name!r:.60} must be a text, not {value!r:.40}")
        for text in (_name(name), value):
            encoded = str.encode(text)
            size += len(encoded)
            flat.append(encoded)
    if not flat:
        raise ValidationError("Stream chunk must not be empty")
    if size > MAX_TEXT_BYTES:
        raise ValidationError(f"Stream chunk exceeds maximum size ({size} bytes > {MAX_TEXT_BYTES})")
    return flat, size


# Programs use few names, and the same ones for every token.
_known_names: set[str] = set()
_KNOWN_AT_MOST: Final = 1000


def _name(name: str) -> str:
    if name.startswith(_OWN_FIELDS):
        raise ValidationError(f"chunk fields must not start with {_OWN_FIELDS!r}")
    if name.isascii() and len(name) < _SHORT and len(_known_names) < _KNOWN_AT_MOST:
        _known_names.add(name)
    return name
