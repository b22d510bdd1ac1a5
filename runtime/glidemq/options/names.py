"""Checks of the names that become part of a key: prefix, queue name, job id, ordering key; and of job names."""

from __future__ import annotations

import re

from glidemq.errors import ValidationError

MAX_NAME_UNITS = 256  # UTF-16 units, as the Node library counts
RESERVED_ORDERING_KEY = "__"

_QUEUE_NAME_FORBIDDEN = re.compile(r"[{}:]")
_JOB_ID_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f{}:]")


def check_queue_name(name: object) -> str:
    """Return `name` if it can name a queue.

    Raises:
        ValidationError: with the documented sentence (features page, section 3).
    """
    if not isinstance(name, str) or not name:
        raise ValidationError("Queue name must be a non-empty string")
    if _utf16_units(name, "Queue name") > MAX_NAME_UNITS:
        raise ValidationError("Queue name must be at most 256 characters")
    if _QUEUE_NAME_FORBIDDEN.search(name):
        raise ValidationError("Queue name must not contain curly braces or colons")
    return name


def check_prefix(prefix: object) -> str:
    """Return `prefix` if it can start a key without breaking the hash tag that follows it."""
    if not isinstance(prefix, str) or not prefix or "{" in prefix or "}" in prefix:
        raise ValidationError("prefix must be a non-empty string without curly braces")
    _utf16_units(prefix, "prefix")
    return prefix


def check_job_id(job_id: object) -> str:
    """Return `job_id` if it can be a custom job id. Ids such as "007" are accepted and kept verbatim.

    Raises:
        ValidationError: with the documented sentence (features page, section 4).
    """
    if not isinstance(job_id, str) or not job_id:
        raise ValidationError(f"job_id must be a non-empty string, not {job_id!r:.40}")
    if _utf16_units(job_id, "job_id") > MAX_NAME_UNITS:
        raise ValidationError("job_id must be at most 256 characters")
    if _JOB_ID_FORBIDDEN.search(job_id):
        raise ValidationError("job_id must not contain control characters, curly braces, or colons")
    return job_id


def check_ordering_key(key: object) -> str:
    """Return `key` if it can name an ordering group.

    Raises:
        ValidationError: with the documented sentence (features page, section 4).
    """
    if not isinstance(key, str) or not key:
        raise ValidationError(f"ordering.key must be a non-empty string, not {key!r:.40}")
    units = _utf16_units(key, "ordering.key")
    if units > MAX_NAME_UNITS:
        raise ValidationError(f"Ordering key exceeds maximum length ({units} > {MAX_NAME_UNITS}).")
    if key == RESERVED_ORDERING_KEY:
        raise ValidationError("Ordering key '__' is reserved as an internal sentinel.")
    return key


def check_job_name(name: object) -> str:
    """Return `name` if it can name a job: a non-empty string of at most 256 characters, valid Unicode."""
    if not isinstance(name, str) or not name:
        raise ValidationError(f"Job name must be a non-empty string, not {name!r:.40}")
    # ASCII, the usual case, needs one unit a character and can always be encoded.
    if (
        not (name.isascii() and len(name) <= MAX_NAME_UNITS)
        and _utf16_units(name, "Job name") > MAX_NAME_UNITS
    ):
        raise ValidationError("Job name must be at most 256 characters")
    return name


def _utf16_units(text: str, what: str) -> int:
    if text.isascii():
        return len(text)
    try:
        return len(text.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        raise ValidationError(f"{what} must be valid Unicode text: it contains a lone surrogate") from None
