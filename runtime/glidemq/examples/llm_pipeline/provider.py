"""A language model's provider as its callers see it: words that stream in, counts of tokens, refusals and outages.

Simulated, so that the example runs anywhere and costs nothing. What is said, how long it takes and what goes wrong
follows from a seed, the model and the prompt alone.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from glidemq.examples.llm_pipeline.retrieval import PASSAGES

VOCABULARY = sorted({word.strip(".,;") for passage in PASSAGES for word in passage.lower().split()})


class RateLimited(Exception):  # noqa: N818 - as providers call it
    """429: too many requests; `retry_after` is in seconds."""

    def __init__(self, model: str, retry_after: float) -> None:
        super().__init__(f"{model}: too many requests, try again in {retry_after:g} s")
        self.retry_after = retry_after


class Overloaded(Exception):  # noqa: N818 - as providers call it
    """529: the model cannot answer now; another one may."""


@dataclass(frozen=True, slots=True)
class Model:
    """What one model is like. word_s: seconds a word. price: dollars per thousand tokens of output.

    refusals, outages: how many of a hundred prompts it refuses once, or cannot answer at all.
    """

    word_s: float
    price: float
    refusals: int = 0
    outages: int = 0


MODELS = {
    "grand": Model(word_s=0.004, price=0.06, refusals=25, outages=30),
    "swift": Model(word_s=0.002, price=0.01, refusals=10),
}


@dataclass(slots=True)
class Completion:
    """One answer: its words as they come, and what it has cost once they are all there."""

    model: str
    input_tokens: int
    output_tokens: int = 0
    _words: list[str] = field(default_factory=list[str])

    async def __aiter__(self) -> AsyncIterator[str]:
        for word in self._words:
            await asyncio.sleep(MODELS[self.model].word_s)
            self.output_tokens += 1
            yield word

    @property
    def cost(self) -> float:
        """Dollars so far."""
        return (self.input_tokens / 4 + self.output_tokens) / 1000 * MODELS[self.model].price


class SimulatedProvider:
    """Answers prompts. Owns: how often it was asked what."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._asked: Counter[tuple[str, str]] = Counter()

    async def complete(self, model: str, prompt: str, *, max_tokens: int) -> Completion:
        """Begin to answer. Raises RateLimited, the first time only, and Overloaded."""
        traits = MODELS[model]
        fate = random.Random(f"{self._seed} {model} {prompt}")  # noqa: S311 - decides what is simulated
        refused, out = fate.randrange(100) < traits.refusals, fate.randrange(100) < traits.outages
        self._asked[model, prompt] += 1
        await asyncio.sleep(traits.word_s * 5)
        if refused and self._asked[model, prompt] == 1:
            raise RateLimited(model, retry_after=fate.choice((0.2, 0.4)))
        if out:
            raise Overloaded(f"{model} is overloaded")
        words = [fate.choice(VOCABULARY) for _ in range(fate.randint(max_tokens // 3, max_tokens))]
        return Completion(model, len(prompt.split()), _words=words)
