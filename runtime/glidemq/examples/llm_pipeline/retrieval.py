"""Finding passages for a question: plain CPU work, and so a plain function's."""

from __future__ import annotations

import hashlib
import math

DIMENSIONS = 256
PASSAGES: tuple[str, ...] = (
    "A parent job waits for its children without holding a slot of any worker.",
    "A signal lets a suspended job go on; one that comes early is kept.",
    "A budget is reserved before a job starts and settled when it has ended.",
    "Fallbacks name the models that the attempts after the first turn to.",
    "Tokens stream to readers while the job still runs; a reader that comes back misses nothing.",
    "A token limit holds jobs back in their queue, before they take a slot.",
)


def embed(text: str) -> list[float]:
    """A unit vector: hashed counts of the text's three-letter groups."""
    counts = [0.0] * DIMENSIONS
    padded = f"  {text.lower()}  "
    for start in range(len(padded) - 2):
        digest = hashlib.blake2b(padded[start : start + 3].encode(), digest_size=2).digest()
        counts[int.from_bytes(digest) % DIMENSIONS] += 1.0
    length = math.hypot(*counts)
    return [count / length for count in counts]


def nearest(question: str, count: int = 2) -> list[str]:
    """The passages whose vectors point most nearly where the question's does."""
    wanted = embed(question)

    def likeness(passage: str) -> float:
        return sum(a * b for a, b in zip(wanted, embed(passage), strict=True))

    return sorted(PASSAGES, key=likeness, reverse=True)[:count]
