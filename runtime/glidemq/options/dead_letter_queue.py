"""Where jobs go that have failed for good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from glidemq.errors import ValidationError
from glidemq.options.names import check_queue_name
from glidemq.options.nested import count, nested_option


@dataclass(frozen=True, slots=True)
class DeadLetterQueue:
    """The queue that gets the jobs of another one which fail for good. It is a property of that queue: the setting is
    stored with it, and all its workers go by the one that was made last.

    name: another queue of the same prefix.
    max_retries: a job is retried so often at most, whatever its own `attempts` say; None: as often as those say.
    Source: features page, section 12.
    """

    name: str
    max_retries: int | None = None


class DeadLetterQueueOnWire(NamedTuple):
    """The same as commands carry it."""

    name: str
    max_retries: int | bool


def dead_letter_queue_on_wire(value: object, queue: str) -> DeadLetterQueueOnWire | None:
    """A name, a `DeadLetterQueue` or a mapping with its fields, checked; `queue` is the one whose jobs fail.

    Raises:
        ValidationError: anything else, a bad name, the queue itself, or a bad number.
    """
    if value is None:
        return None
    try:
        given = (
            DeadLetterQueue(value)
            if isinstance(value, str)
            else nested_option(DeadLetterQueue, value, "dead_letter_queue")
        )
    except TypeError:  # a mapping without a name
        raise ValidationError("dead_letter_queue needs a name") from None
    name = check_queue_name(given.name)
    if name == queue:
        raise ValidationError(f"queue {queue!r} cannot be its own dead letter queue")
    if given.max_retries is None:
        return DeadLetterQueueOnWire(name, False)
    sentence = "dead_letter_queue.max_retries must be a non-negative integer"
    return DeadLetterQueueOnWire(name, count(given.max_retries, sentence))


def dead_letter_queue_to_plain(value: DeadLetterQueueOnWire | None) -> dict[str, Any] | None:
    """As plain data, for a manifest."""
    return None if value is None else value._asdict()


def dead_letter_queue_from_plain(value: Mapping[str, Any] | None) -> DeadLetterQueueOnWire | None:
    """What a manifest says."""
    return None if value is None else DeadLetterQueueOnWire(value["name"], value["max_retries"])
