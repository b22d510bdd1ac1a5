"""Vector search in this process: exact, over vectors that were read from the server.

It needs numpy, an extra, which is imported when it is used and has no types here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

from glidemq.client.search_filter import SearchFilter
from glidemq.errors import ConfigurationError
from glidemq.options.vectors import VectorField

FLOAT32_BYTES = 4


def load_numpy() -> Any:
    """The module numpy.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        return importlib.import_module("numpy")
    except ImportError:
        raise ConfigurationError(
            "without the server's search module, vectors are searched in this process, which needs numpy:"
            " pip install 'glidemq[vectors]'"
        ) from None


class ExactSearch:
    """Finds the vectors nearest to one among all that it is shown, a page at a time.

    The scores are those of a search module: COSINE 1 - cosine, L2 the square of the distance, IP 1 - inner product.
    Owns: the `k` best so far.
    """

    def __init__(self, vector: bytes, field: VectorField, k: int, search_filter: SearchFilter) -> None:
        """vector: float32 numbers in little-endian order, as many as the field has dimensions."""
        self._np = load_numpy()
        self._field = field
        self._bytes = field.dimensions * FLOAT32_BYTES
        self._k = k
        self._filter = search_filter
        self._target = self._np.frombuffer(vector, dtype="<f4")
        self._best: list[tuple[float, str]] = []

    @property
    def fields(self) -> list[str]:
        """What it has to be shown of each job: the vector's field, and what the filter asks for."""
        return [self._field.name, *self._filter.fields]

    def show(self, rows: Iterable[Sequence[Any]]) -> None:
        """Rows (job id, vector, the filter's fields or False), as the server gives them."""
        ids: list[str] = []
        vectors: list[bytes] = []
        for job_id, vector, *values in rows:
            if len(vector) == self._bytes and self._passes(values):
                ids.append(job_id.decode())
                vectors.append(vector)
        if not ids:
            return
        matrix = self._np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(ids), -1)
        scores = self._scores(matrix)
        # COSINE gives a vector of zeros no score.
        self._best += [
            (score, job_id) for score, job_id in zip(scores.tolist(), ids, strict=True) if score == score
        ]
        self._best.sort()
        del self._best[self._k :]

    @property
    def found(self) -> list[tuple[str, float]]:
        """(job id, score), nearest first."""
        return [(job_id, score) for score, job_id in self._best]

    def _passes(self, values: list[Any]) -> bool:
        texts = {
            name: value.decode("utf-8", "replace") if value is not False else None
            for name, value in zip(self._filter.fields, values, strict=True)
        }
        return self._filter.matches(texts)

    def _scores(self, matrix: Any) -> Any:
        np, target = self._np, self._target
        if self._field.distance_metric == "L2":
            return ((matrix - target) ** 2).sum(axis=1)
        products = matrix @ target
        if self._field.distance_metric == "COSINE":
            lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(target)
            with np.errstate(divide="ignore", invalid="ignore"):
                products = np.where(lengths > 0, products / lengths, np.nan)
        return 1 - products
