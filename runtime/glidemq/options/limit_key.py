"""The name under which several queues share the limits of one provider."""

from __future__ import annotations

from typing import TypeAlias, cast

from glidemq.errors import ValidationError

LimitKey: TypeAlias = str | tuple[str, ...]
"""A text such as "openai/gpt", or its parts: ("openai", "gpt")."""

MAX_CHARACTERS = 256


def check_limit_key(key: object) -> str:
    """A limit key as one text; parts are joined by slashes.

    Raises:
        ValidationError: not text, empty, too long, or with characters that a key on the server cannot have.
    """
    parts: tuple[object, ...] = cast("tuple[object, ...]", key) if isinstance(key, tuple) else (key,)
    if not parts or not all(isinstance(part, str) and part for part in parts):
        raise ValidationError("limit_key must be a non-empty text or a tuple of such texts")
    text = "/".join(cast("tuple[str, ...]", parts))
    if len(text) > MAX_CHARACTERS:
        raise ValidationError(f"limit_key must be at most {MAX_CHARACTERS} characters")
    if not text.isprintable() or "{" in text or "}" in text:
        raise ValidationError("limit_key must be printable and without curly braces")
    return text
