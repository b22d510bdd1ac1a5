"""Job data and results: what becomes text, what is refused, and what a processor's annotation makes of it."""

from __future__ import annotations

import base64
import dataclasses
import enum
import gzip
import json
import random
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from glidemq.errors import ConfigurationError, PayloadValidationError, SerializationError, ValidationError
from glidemq.payload import PLAIN_PAYLOAD, Payload

MIB = 1_048_576


class Size(NamedTuple):
    width: int
    height: int


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Crop:
    size: int
    mode: Literal["fit", "fill"] = "fit"


@dataclasses.dataclass
class Image:
    path: str
    crops: list[Crop] = dataclasses.field(default_factory=list)
    color: Color | None = None
    taken: datetime | None = None
    quality: float = 1.0
    key: uuid.UUID | None = None
    tags: Annotated[set[str], "unordered"] = dataclasses.field(default_factory=set)
    corner: tuple[int, int] = (0, 0)
    parent: Image | None = None

    def __post_init__(self) -> None:
        if self.quality > 1:
            raise ValueError("quality is a share,\nat most 1")


class Prompt(TypedDict):
    text: str
    images: NotRequired[Sequence[Image]]


class Model(pydantic.BaseModel):
    name: str
    temperature: float = pydantic.Field(default=1.0, alias="temp")
    images: list[Crop] = []


class Point(msgspec.Struct):
    x: int
    near: list[Point] = []


def deflated(text: bytes) -> bytes:
    return b"gz:" + base64.b64encode(gzip.compress(text, mtime=0))


# -- writing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 2.5, None, True, "é"]}, '{"a":[1,2.5,null,true,"é"]}'),
        (None, "null"),
        (Crop(3), '{"size":3,"mode":"fit"}'),
        ({"s": Size(1, 2)}, '{"s":[1,2]}'),
        (Color.RED, '"red"'),
        (Model(name="m", temp=0.5), '{"name":"m","temp":0.5,"images":[]}'),
        (Point(1), '{"x":1,"near":[]}'),
        (2**53 + 1, "9007199254740993"),
        (2**64 - 1, "18446744073709551615"),
    ],
)
def test_value_is_written_as_compact_json(value: object, text: str) -> None:
    assert PLAIN_PAYLOAD.dump_data(value).decode() == text


RECURSIVE: list[Any] = []
RECURSIVE.append(RECURSIVE)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {"b": {2}}]}, "data.a[1].b cannot be serialized to JSON: it is of type set"),
        (b"x", "data cannot be serialized to JSON: it is of type bytes (encode it as base64 text)"),
        ({"n": None, "z": [float("nan")]}, "data.z[0] cannot be serialized to JSON: it is nan"),
        (float("-inf"), "data cannot be serialized to JSON: it is -inf"),
        ({"d": Decimal(1)}, "data.d cannot be serialized to JSON: it is of type decimal"),
        ({1: 2}, "data cannot be serialized to JSON: it is a dict with the key 1 (int): keys must be text"),
        ({"s": "\ud800"}, "data.s cannot be serialized to JSON: it is text with a lone surrogate"),
        (2**64, "data cannot be serialized to JSON: it is an integer of more than 64 bits"),
        (Crop(object()), "data.size cannot be serialized to JSON: it is of type object"),  # type: ignore[arg-type]
        (Model(name="m", temp=float("inf")), "data.temp cannot be serialized to JSON: it is inf"),
        (RECURSIVE, "… cannot be serialized to JSON: it is nested too deeply, or contains itself"),
    ],
)
def test_value_that_json_cannot_express_is_refused_by_place_and_type(value: object, message: str) -> None:
    with pytest.raises(SerializationError) as caught:
        PLAIN_PAYLOAD.dump_data(value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_data_of_exactly_one_mebibyte_is_accepted_and_one_byte_more_refused() -> None:
    assert len(PLAIN_PAYLOAD.dump_data("x" * (MIB - 2))) == MIB
    with pytest.raises(ValidationError) as caught:
        PLAIN_PAYLOAD.dump_data("é" * (MIB // 2))
    assert str(caught.value) == (
        f"Job data exceeds maximum size ({MIB + 2} bytes > {MIB} bytes). "
        "Use smaller payloads or store large data externally."
    )


def test_refused_results_carry_the_documented_reasons() -> None:
    with pytest.raises(ValidationError) as too_large:
        PLAIN_PAYLOAD.dump_result("x" * MIB)
    assert str(too_large.value) == (
        f"Return value exceeds maximum size ({MIB + 2} bytes > {MIB} bytes). "
        "Use smaller return values or store large data externally."
    )
    with pytest.raises(
        SerializationError, match=r"^Serializer failed on return value: the result\.a cannot be"
    ):
        PLAIN_PAYLOAD.dump_result({"a": object()})


# -- reading -------------------------------------------------------------------------------------------------


def test_empty_data_is_an_empty_object() -> None:
    assert PLAIN_PAYLOAD.load_data(b"") == {}


def test_compressed_data_is_sniffed_whatever_the_settings() -> None:
    assert PLAIN_PAYLOAD.load_data(deflated(b'{"a":1}')) == {"a": 1}
    assert Payload(data_type=Crop).load_data(deflated(b'{"size":1}')) == Crop(1)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"gz:!!!", "damaged compressed data"),
        (b"gz:" + base64.b64encode(b"no gzip"), "damaged compressed data"),
        (b"gz:" + base64.b64encode(gzip.compress(b'{"a":1}', mtime=0)[:-9]), "truncated compressed data"),
        (deflated(b'"' + b"x" * MIB + b'"'), "inflates to more than 1048576 bytes"),
    ],
)
def test_unreadable_compressed_data_says_why(raw: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PLAIN_PAYLOAD.load_data(raw)


def test_compressed_data_of_exactly_one_mebibyte_is_read() -> None:
    text = "".join(random.Random(1).choices("abcdef", k=MIB - 2))  # compresses badly: no bomb
    assert PLAIN_PAYLOAD.load_data(deflated(json.dumps(text).encode())) == text


def test_half_a_character_written_by_javascript_does_not_lose_the_job() -> None:
    assert PLAIN_PAYLOAD.load_data(b'{"t":"cut \\ud83d"}') == {"t": "cut \ud83d"}
    with pytest.raises(ValueError, match="NaN"):
        PLAIN_PAYLOAD.load_data(b"NaN")


# -- serializers of the user's own ---------------------------------------------------------------------------


class Reversed:
    def serialize(self, value: Any) -> str:
        return json.dumps(value)[::-1]

    def deserialize(self, text: str) -> Any:
        return json.loads(text[::-1])


class Broken:
    def __init__(self, text: object) -> None:
        self.text = text

    def serialize(self, value: Any) -> Any:
        if isinstance(self.text, Exception):
            raise self.text
        return self.text

    def deserialize(self, text: str) -> Any:
        return text


def test_own_serializer_is_used_for_data_results_and_validation() -> None:
    payload = Payload(Reversed(), Crop)
    raw = payload.dump_data({"size": 5})
    assert raw == b'}5 :"ezis"{'
    assert payload.load_data(raw) == Crop(5)
    assert payload.load(payload.dump_result([1])) == [1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RuntimeError("boom"), "Serializer failed on return value: boom"),
        (b"bytes", "Serializer failed on return value: it returned bytes, not str"),
        ("gz:x", 'Serializer failed on return value: its text starts with "gz:"'),
        ("\ud800", "Serializer failed on return value: its text is not valid Unicode"),
    ],
)
def test_failing_serializer_is_a_serialization_error(text: object, message: str) -> None:
    with pytest.raises(SerializationError) as caught:
        Payload(Broken(text)).dump_result(1)
    assert str(caught.value).startswith(message)


# -- validation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data_type", [Any, object, dict, dict[str, Any], list[int], str, None, int | None])
def test_type_without_a_model_in_it_is_not_validated(data_type: object) -> None:
    payload = Payload(data_type=data_type)
    assert not payload.validates
    assert payload.load_data(b'{"any":1}') == {"any": 1}


FULL_IMAGE = {
    "path": "a.png",
    "crops": [{"size": 1}, {"size": 2, "mode": "fill", "unknown": 1}],
    "color": "blue",
    "taken": "2026-11-22T04:00:00Z",
    "quality": 1,
    "key": "6e0f1c1e-6a55-4e0b-9c41-0f2f2a3c9d10",
    "tags": ["a", "b", "a"],
    "corner": [3, 4],
    "parent": {"path": "b.png"},
}


def test_dataclass_is_filled_at_any_depth() -> None:
    image = Payload(data_type=Image).load_data(json.dumps(FULL_IMAGE).encode())
    assert image == Image(
        "a.png",
        [Crop(1), Crop(2, "fill")],
        Color.BLUE,
        datetime(2026, 11, 22, 4, tzinfo=UTC),
        1.0,
        uuid.UUID("6e0f1c1e-6a55-4e0b-9c41-0f2f2a3c9d10"),
        {"a", "b"},
        (3, 4),
        Image("b.png"),
    )
    assert isinstance(image.quality, float)


@pytest.mark.parametrize(
    ("data_type", "raw", "value"),
    [
        (Prompt, b'{"text":"t","extra":1}', {"text": "t", "extra": 1}),
        (Prompt, b'{"text":"t","images":[{"path":"p"}]}', {"text": "t", "images": [Image("p")]}),
        (list[Crop], b'[{"size":1}]', [Crop(1)]),
        (dict[str, Point], b'{"a":{"x":1}}', {"a": Point(1)}),
        (Crop | Model, b'{"name":"n","temp":0}', Model(name="n", temp=0)),
        (Model, b'{"name":"n","images":[{"size":1}]}', Model(name="n", images=[Crop(1)])),
        (Point, b'{"x":1,"near":[{"x":2}]}', Point(1, [Point(2)])),
    ],
)
def test_types_that_hold_models_are_validated(data_type: Any, raw: bytes, value: object) -> None:
    payload = Payload(data_type=data_type)
    assert payload.validates
    assert payload.load_data(raw) == value
    assert Payload(Reversed(), data_type).load_data(raw.decode()[::-1].encode()) == value


@pytest.mark.parametrize(
    ("data_type", "change", "message"),
    [
        (Image, {"path": 1}, "data does not fit Image: path: expected text, got int"),
        (Image, {"crops": [{"size": True}]}, "crops[0].size: expected an integer, got bool"),
        (Image, {"crops": {}}, "data does not fit Image: crops: expected a list, got dict"),
        (Image, {"crops": [{"size": 1, "mode": "x"}]}, "crops[0].mode: expected one of 'fit', 'fill'"),
        (Image, {"color": "green"}, "color: expected Color or NoneType, got str"),
        (Image, {"taken": "yesterday"}, "taken: expected datetime or NoneType, got str"),
        (Image, {"corner": [1]}, "corner: expected a list of 2, got list"),
        (Image, {"parent": {"path": "p", "parent": {}}}, "parent.parent.path: is required"),
        (Image, {"quality": 2}, "data does not fit Image: quality is a share, at most 1"),
        (Prompt, {"text": None}, "data does not fit Prompt: text: expected text, got null"),
        (Prompt, {"images": [{}], "text": ""}, "data does not fit Prompt: images[0].path: is required"),
        (Crop, {}, "data does not fit Crop: size: is required"),
        (Model, {}, "data does not fit Model: name: Field required"),
        (Model, {"name": 1, "temp": "x"}, "name: Input should be a valid string (and 1 more)"),
        (Model, {"name": "n", "images": [{}]}, "data does not fit Model: images[0].size: Field required"),
        (Point, {"x": "1"}, "data does not fit Point: x: Expected `int`, got `str`"),
        (Point, {}, "data does not fit Point: Object missing required field `x`"),
        (Point, {"x": 1, "near": [{"x": None}]}, "near[0].x: Expected `int`, got `null`"),
    ],
)  # fmt: skip
def test_misfit_is_one_line_that_names_the_field(
    data_type: Any, change: dict[str, Any], message: str
) -> None:
    data = {"path": "p", **change} if data_type is Image else change
    for payload, raw in (
        (Payload(data_type=data_type), json.dumps(data).encode()),
        (Payload(Reversed(), data_type), json.dumps(data)[::-1].encode()),
    ):
        with pytest.raises(PayloadValidationError) as caught:
            payload.load_data(raw)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data_type", [Crop, Prompt, Model, Point, list[Crop]])
def test_text_that_is_no_json_is_unreadable_rather_than_invalid(data_type: Any) -> None:
    with pytest.raises(ValueError) as caught:
        Payload(data_type=data_type).load_data(b"{nope")
    assert not isinstance(caught.value, PayloadValidationError)


def test_unreadable_data_is_an_empty_object_only_where_nothing_is_promised() -> None:
    assert PLAIN_PAYLOAD.unreadable_data() == {}
    with pytest.raises(PayloadValidationError, match="cannot be deserialized"):
        Payload(data_type=Crop).unreadable_data()


@dataclasses.dataclass
class WithBytes:
    crop: Crop
    blob: bytes


@dataclasses.dataclass
class WithNumberKeys:
    names: dict[int, str]


@pytest.mark.parametrize(
    ("data_type", "message"),
    [
        (WithBytes, "WithBytes.blob has the type bytes, which cannot be validated from JSON"),
        (list[WithNumberKeys], "names: keys of a JSON object are text, not int"),
    ],
)
def test_type_that_json_cannot_fill_is_refused_when_it_is_declared(data_type: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Payload(data_type=data_type)
    assert message in str(caught.value)
