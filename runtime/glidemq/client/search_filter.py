"""The filters of a vector search, for where no search module evaluates them: tags, numeric ranges, and, or, not."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from glidemq.errors import ValidationError
from glidemq.options.vectors import FieldType

Values: TypeAlias = Mapping[str, str | None]
"""The fields of one job that the filter asks for; None where it has none."""
Condition: TypeAlias = Callable[[Values], bool]

SEPARATOR: Final = ","
MOST_NESTED: Final = 64

_SPACE = re.compile(r"\s*")
_FIELD = re.compile(r"@([A-Za-z_]\w*)\s*:\s*")
_RANGE = re.compile(r"\[\s*(\(?)\s*([^\s\](]+)[\s,]+(\(?)\s*([^\s\](]+)\s*\]")
_TAGS = re.compile(r"\{((?:[^\\}]|\\.)*)\}")
_TAG = re.compile(r"(?:[^\\|]|\\.)+")


class SearchFilter:
    """A filter in the words of the search module's query language, as far as those are known here.

    `*`; `@tag:{one|two}`, `@tag:{start*}`; `@number:[1 5]`, `@number:[(1 +inf]`; conditions side by side must all hold;
    `|` is or, `-` is not, parentheses group. Tags are compared without regard to case.
    """

    def __init__(self, text: str, fields: Mapping[str, FieldType]) -> None:
        """fields: what the index has.

        Raises:
            ValidationError: names the place that cannot be read, or a field that the index has not.
        """
        self._text = text
        self._at = 0
        self._depth = 0
        self._known = fields
        self.fields: list[str] = []
        """The fields that it asks for."""
        self._condition = self._alternatives()
        if self._at < len(text):
            raise self._error("nothing can follow here")

    def matches(self, values: Values) -> bool:
        """Whether a job with these fields passes."""
        return self._condition(values)

    # -- reading: or binds weaker than and, and weaker than not --------------------------------------------------

    def _alternatives(self) -> Condition:
        self._depth += 1
        if self._depth > MOST_NESTED:
            raise self._error("nested too deeply")
        conditions = [self._conjunction()]
        while self._takes("|"):
            conditions.append(self._conjunction())
        self._depth -= 1
        if len(conditions) == 1:
            return conditions[0]
        return lambda values: any(condition(values) for condition in conditions)

    def _conjunction(self) -> Condition:
        conditions = [self._negatable()]
        while self._peek() not in ("", "|", ")"):
            conditions.append(self._negatable())
        if len(conditions) == 1:
            return conditions[0]
        return lambda values: all(condition(values) for condition in conditions)

    def _negatable(self) -> Condition:
        negated = False
        while self._takes("-"):
            negated = not negated
        condition = self._term()
        return (lambda values: not condition(values)) if negated else condition

    def _term(self) -> Condition:
        if self._takes("("):
            condition = self._alternatives()
            if not self._takes(")"):
                raise self._error("a closing parenthesis is missing")
            return condition
        if self._takes("*"):
            return lambda values: True
        if self._peek() == "@":
            return self._field()
        raise self._error("only @field:{tag}, @field:[from to], *, |, - and parentheses are understood")

    def _field(self) -> Condition:
        match = _FIELD.match(self._text, self._at)
        if match is None:
            raise self._error("a field is written @name:{tag} or @name:[from to]")
        name = match[1]
        kind = self._known.get(name)
        if kind is None:
            raise self._error(f"the index has no field {name!r}")
        self._at = match.end()
        if name not in self.fields:
            self.fields.append(name)
        if kind == "TAG" and (match := _TAGS.match(self._text, self._at)) is not None:
            self._at = match.end()
            return self._tagged(name, match[1])
        if kind == "NUMERIC" and (match := _RANGE.match(self._text, self._at)) is not None:
            self._at = match.end()
            return self._ranged(name, *match.groups())
        raise self._error(f"{name!r} is a {kind} field, which is not searched like this")

    def _tagged(self, name: str, text: str) -> Condition:
        whole: set[str] = set()
        beginnings: list[str] = []
        for part in _TAG.findall(text):
            tag = part.strip()
            bare = re.sub(r"\\(.)", r"\1", tag).lower()
            if tag.endswith("*") and not tag.endswith("\\*"):
                beginnings.append(bare[:-1])
            else:
                whole.add(bare)

        def holds(values: Values) -> bool:
            tags = [tag.strip().lower() for tag in (values.get(name) or "").split(SEPARATOR)]
            return any(tag and (tag in whole or any(map(tag.startswith, beginnings))) for tag in tags)

        return holds

    def _ranged(self, name: str, after: str, lowest: str, before: str, highest: str) -> Condition:
        low, high = self._number(lowest), self._number(highest)

        def holds(values: Values) -> bool:
            text = values.get(name)
            if text is None:
                return False
            try:
                number = float(text)
            except ValueError:
                return False
            above = number > low if after else number >= low
            below = number < high if before else number <= high
            return above and below

        return holds

    def _number(self, text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if math.isnan(number):
            raise self._error(f"{text!r} is no number")
        return number

    # -- characters ----------------------------------------------------------------------------------------------

    def _peek(self) -> str:
        space = _SPACE.match(self._text, self._at)
        assert space is not None
        self._at = space.end()
        return self._text[self._at : self._at + 1]

    def _takes(self, character: str) -> bool:
        if self._peek() != character:
            return False
        self._at += 1
        return True

    def _error(self, why: str) -> ValidationError:
        place = self._text[self._at : self._at + 20]
        return ValidationError(
            f"filter {self._text!r:.200}, at {place!r}: {why} (without the server's search module)"
        )
