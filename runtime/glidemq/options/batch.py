"""How many jobs a processor is given at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, cast

from glidemq.errors import ValidationError
from glidemq.options.durations import Duration, duration_ms
from glidemq.options.nested import nested_option

MAX_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Batch:
    """A processor is called with a list of up to `size` jobs instead of with one.

    size: 1 to 1000. timeout: seconds or timedelta that the first job of a batch waits for others; 0: it takes what is
    there. Source: features page, section 6.
    """

    size: int
    timeout: Duration = 0


class BatchRule(NamedTuple):
    """A checked `Batch`, its timeout in milliseconds."""

    size: int
    timeout_ms: int


def batch_rule(value: object) -> BatchRule:
    """The rule of a `Batch` or of a mapping with its fields.

    Raises:
        ValidationError: not a batch, or with the documented sentences.
    """
    try:
        batch = nested_option(Batch, value, "batch")
    except TypeError:  # a mapping without a size
        raise ValidationError("batch needs a size") from None
    size = cast(object, batch.size)
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_BATCH:
        raise ValidationError(f"batch.size must be an integer between 1 and {MAX_BATCH}")
    sentence = "batch.timeout must be a non-negative finite number"
    return BatchRule(size, duration_ms(batch.timeout, "batch.timeout", sentence=sentence))
