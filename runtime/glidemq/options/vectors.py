"""Embeddings, the indexes that find them, and how both look on the server."""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from dataclasses import fields as dataclass_fields
from typing import Any, Final, Literal, TypeAlias, cast

from glidemq.errors import ValidationError
from glidemq.options.nested import nested_option

Algorithm: TypeAlias = Literal["HNSW", "FLAT"]
DistanceMetric: TypeAlias = Literal["COSINE", "L2", "IP"]
FieldType: TypeAlias = Literal["TAG", "NUMERIC", "TEXT"]
AttributeValue: TypeAlias = str | int | float | bool

# As search modules allow.
MAX_DIMENSIONS: Final = 32_768
MAX_ATTRIBUTE_BYTES: Final = 4_096
MAX_ATTRIBUTES: Final = 64
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
# An index needs a vector field; jobs have no vector of this name.
_PLACEHOLDER = ("_vec", "VECTOR", "FLAT", "6", "TYPE", "FLOAT32", "DIM", "2", "DISTANCE_METRIC", "COSINE")


@dataclass(frozen=True, slots=True)
class VectorField:
    """The field of `Job.store_vector` that an index covers.

    dimensions: how many numbers each vector has; others are not found.
    algorithm: "HNSW" is approximate and fast, "FLAT" exact. distance_metric: what "near" means, see
    `Queue.vector_search`. Source: features page, section 21.
    """

    name: str
    dimensions: int
    algorithm: Algorithm = "HNSW"
    distance_metric: DistanceMetric = "COSINE"


@dataclass(frozen=True, slots=True)
class IndexField:
    """A field that filters may ask for: an attribute given to `Job.store_vector`, or a field of the job.

    type: "TAG" for whole words (several with commas between them, case ignored), "NUMERIC" for numbers, "TEXT" for
    full text, which only a search module finds.
    """

    name: str
    type: FieldType = "TAG"


# What every index has, and what else of a job stands beside its vectors.
BASE_FIELDS: Final = (
    IndexField("name"),
    IndexField("state"),
    IndexField("timestamp", "NUMERIC"),
    IndexField("priority", "NUMERIC"),
)
COPIED_FIELDS: Final = frozenset(
    {"attemptsMade", "processedOn", "finishedOn", "groupKey", "schedulerName"}
    | {field.name for field in BASE_FIELDS}
)


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """What an index is made of: the fields that filters may ask for, the base fields included, and its vectors."""

    fields: Mapping[str, FieldType]
    vector: VectorField | None

    def schema(self) -> list[str]:
        """The words of FT.CREATE's schema."""
        words = [word for name, kind in self.fields.items() for word in (name, kind)]
        vector = self.vector
        if vector is None:
            return [*words, *_PLACEHOLDER]
        about = ["TYPE", "FLOAT32", "DIM", str(vector.dimensions), "DISTANCE_METRIC", vector.distance_metric]
        return [*words, vector.name, "VECTOR", vector.algorithm, str(len(about)), *about]

    def to_json(self) -> str:
        """How the queue remembers it."""
        vector = self.vector
        return json.dumps(
            {
                "fields": dict(self.fields),
                "vector": None
                if vector is None
                else {
                    "name": vector.name,
                    "dimensions": vector.dimensions,
                    "algorithm": vector.algorithm,
                    "distance_metric": vector.distance_metric,
                },
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, raw: bytes) -> IndexDefinition:
        """What a queue remembers."""
        stored: dict[str, Any] = json.loads(raw)
        vector = stored["vector"]
        return cls(stored["fields"], None if vector is None else VectorField(**vector))


def index_definition(
    fields: Iterable[IndexField | Mapping[str, Any]], vector: VectorField | Mapping[str, Any] | None
) -> IndexDefinition:
    """What an index is to be made of.

    Raises:
        ValidationError: a bad or repeated name, type, algorithm, metric or number of dimensions.
    """
    known: dict[str, FieldType] = {field.name: field.type for field in BASE_FIELDS}
    for given in fields:
        field = _nested(IndexField, given, "an index field")
        _check_name(field.name, "an index field's name")
        if field.type not in ("TAG", "NUMERIC", "TEXT"):
            raise ValidationError(f"index field {field.name!r}: type must be TAG, NUMERIC or TEXT")
        if field.name in known:
            raise ValidationError(f"index field {field.name!r} is given twice, or is in every index")
        known[field.name] = field.type
    if vector is None:
        return IndexDefinition(known, None)
    checked = _vector_field(_nested(VectorField, vector, "vector_field"))
    if checked.name in known:
        raise ValidationError(f"index field {checked.name!r} is given twice, or is in every index")
    return IndexDefinition(known, checked)


def _vector_field(field: VectorField) -> VectorField:
    check_vector_name(field.name)
    size = cast(object, field.dimensions)
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_DIMENSIONS:
        raise ValidationError(f"vector_field.dimensions must be an integer between 1 and {MAX_DIMENSIONS}")
    if field.algorithm not in ("HNSW", "FLAT"):
        raise ValidationError("vector_field.algorithm must be HNSW or FLAT")
    if field.distance_metric not in ("COSINE", "L2", "IP"):
        raise ValidationError("vector_field.distance_metric must be COSINE, L2 or IP")
    return field


def _nested(kind: type[Any], value: object, name: str) -> Any:
    try:
        return nested_option(kind, value, name)
    except TypeError:  # a mapping that lacks what has no default
        given = cast("Mapping[str, Any]", value)
        missing = [f.name for f in dataclass_fields(kind) if f.default is MISSING and f.name not in given]
        raise ValidationError(f"{name} needs {' and '.join(missing)}") from None


def check_index_name(name: object) -> str:
    """Return `name` if it can name an index."""
    if not isinstance(name, str) or not name or len(name) > 256 or not name.isprintable():
        raise ValidationError("an index's name must be printable text of at most 256 characters")
    return name


def check_vector_name(name: object) -> str:
    """Return `name` if a vector can be stored under it."""
    checked = _check_name(name, "a vector's name")
    if checked in COPIED_FIELDS:
        raise ValidationError(f"a vector cannot be named {checked!r}: the job has a field of that name")
    return checked


def check_score_name(name: object) -> str:
    """Return `name` if a score can be called so in a query."""
    return _check_name(name, "score_field")


def _check_name(name: object, what: str) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValidationError(
            f"{what} must be made of at most 64 letters, digits and underscores, not {name!r:.80}"
        )
    return name


def vector_bytes(vector: Iterable[float], what: str = "vector") -> bytes:
    """float32 numbers in little-endian order, as search modules take them.

    Raises:
        ValidationError: no numbers, too many, or one that is not finite as a float32.
    """
    if isinstance(vector, (str, bytes)) or not isinstance(vector, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
        raise ValidationError(f"{what} must be a sequence of numbers, not {type(vector).__name__}")
    numbers = list(vector)
    if not 1 <= len(numbers) <= MAX_DIMENSIONS:
        raise ValidationError(f"{what} must have between 1 and {MAX_DIMENSIONS} numbers, not {len(numbers)}")
    try:
        raw = struct.pack(f"<{len(numbers)}f", *numbers)
        finite = all(map(math.isfinite, numbers))
    except (struct.error, OverflowError, TypeError, ValueError):
        finite, raw = False, b""
    if not finite:
        raise ValidationError(f"{what} must be made of finite float32 numbers")
    return raw


def attributes_on_wire(attributes: Mapping[str, AttributeValue] | None, vector_name: str) -> dict[str, str]:
    """The attributes of a vector as texts.

    Raises:
        ValidationError: a bad or taken name, a value that is neither text nor a finite number, or too much of it.
    """
    if attributes is None:
        return {}
    if not isinstance(attributes, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
        raise ValidationError(f"attributes must be a mapping of names to values, not {attributes!r:.40}")
    wire: dict[str, str] = {}
    for name, value in attributes.items():
        if _check_name(name, "an attribute's name") == vector_name or name in COPIED_FIELDS:
            raise ValidationError(f"attribute {name!r} would replace the vector or a field of the job")
        wire[name] = _attribute(name, cast(object, value))
    if len(wire) > MAX_ATTRIBUTES:
        raise ValidationError(f"a vector takes at most {MAX_ATTRIBUTES} attributes")
    return wire


def _attribute(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)) and math.isfinite(value):
        return repr(value)
    if isinstance(value, str):
        try:
            if len(value.encode()) <= MAX_ATTRIBUTE_BYTES:
                return value
        except UnicodeEncodeError:
            pass
    raise ValidationError(
        f"attribute {name!r} must be a finite number or text of at most {MAX_ATTRIBUTE_BYTES} bytes"
    )


def words(values: Sequence[str], what: str) -> list[str]:
    """Raw words for the search module.

    Raises:
        ValidationError: not texts.
    """
    if isinstance(values, str) or not all(isinstance(word, str) for word in values):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
        raise ValidationError(f"{what} must be a sequence of texts")
    return list(values)
