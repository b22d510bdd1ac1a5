"""The filters of a vector search where no module evaluates them."""

from __future__ import annotations

import pytest

from glidemq import ValidationError
from glidemq.client.search_filter import SearchFilter
from glidemq.options.vectors import FieldType

FIELDS: dict[str, FieldType] = {"state": "TAG", "name": "TAG", "size": "NUMERIC", "about": "TEXT"}
JOB = {"state": "completed", "name": "Big, red-hot", "size": "5.5"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*", True),
        ("@state:{completed}", True),
        ("@state:{COMPLETED}", True),
        ("@state:{failed}", False),
        ("@state:{ failed | completed }", True),
        ("@state:{comp*}", True),
        ("@state:{comp}", False),
        ("@name:{big}", True),
        (r"@name:{red\-hot}", True),
        (r"@name:{big\, red\-hot}", False),
        ("@size:[5 6]", True),
        ("@size:[5.5 5.5]", True),
        ("@size:[(5.5 6]", False),
        ("@size:[5 (5.5]", False),
        ("@size:[-inf +inf]", True),
        ("@size:[6 inf]", False),
        ("@size:[5,6]", True),
        ("@state:{completed} @size:[5 6]", True),
        ("@state:{completed} @size:[6 7]", False),
        ("@state:{failed} | @size:[5 6]", True),
        ("@state:{failed} | @size:[6 7]", False),
        # Side by side binds tighter than or.
        ("@state:{completed} | @state:{failed} @size:[6 7]", True),
        ("(@state:{completed} | @state:{failed}) @size:[6 7]", False),
        ("-@state:{failed}", True),
        ("-@state:{completed}", False),
        ("--@state:{completed}", True),
        ("-(@state:{failed} | @size:[5 6])", False),
        ("@state:{completed} -@size:[6 7]", True),
        ("  ( @state : {completed} )  ", True),
    ],
)
def test_filter_passes_what_it_describes(text: str, expected: bool) -> None:
    assert SearchFilter(text, FIELDS).matches(JOB) is expected


@pytest.mark.parametrize("text", ["@state:{*}", "@size:[-inf +inf]", "@name:{big}"])
def test_field_that_a_job_has_not_passes_nothing(text: str) -> None:
    assert SearchFilter(text, FIELDS).matches({"state": None, "size": None, "name": ""}) is False


def test_number_that_is_none_is_in_no_range() -> None:
    assert SearchFilter("@size:[-inf +inf]", FIELDS).matches({"size": "large"}) is False


def test_filter_names_the_fields_that_it_needs_once() -> None:
    assert SearchFilter("@size:[1 2] | @state:{a} @size:[3 4]", FIELDS).fields == ["size", "state"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "only @field"),
        ("", "only @field"),
        ("@tenant:{a}", "the index has no field 'tenant'"),
        ("@state:[1 2]", "'state' is a TAG field"),
        ("@size:{1}", "'size' is a NUMERIC field"),
        ("@about:{word}", "'about' is a TEXT field"),
        ("@state:word", "'state' is a TAG field"),
        ("@size:[1 x]", "'x' is no number"),
        ("@size:[nan 1]", "'nan' is no number"),
        ("@size:[1]", "'size' is a NUMERIC field"),
        ("(@state:{a}", "a closing parenthesis is missing"),
        ("@state:{a})", "nothing can follow here"),
        ("@state:{a} |", "only @field"),
        ("@ state", "a field is written"),
        ("(" * 100, "nested too deeply"),
        ("@state:{a", "'state' is a TAG field"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SearchFilter(text, FIELDS)
