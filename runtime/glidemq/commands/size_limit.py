"""The limit on what a single text of a job may hold, checked before anything is sent."""

from __future__ import annotations

from glidemq.errors import ValidationError

MAX_TEXT_BYTES = 1_048_576


def check_size(what: str, text: bytes) -> None:
    """Raise ValidationError with the documented sentence when `text` is above 1 MiB."""
    if len(text) > MAX_TEXT_BYTES:
        raise ValidationError(f"{what} exceeds maximum size ({len(text)} bytes > {MAX_TEXT_BYTES})")
