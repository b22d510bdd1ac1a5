"""The kinds of settings: how a text becomes a value, and which values are legal.

`read` takes a text from a variable, a file or a command line; `check` takes a value of any origin. Both name
the setting the way its author wrote it (`--block`, `GLIDEMQ_BLOCK`, `block`) and raise ConfigurationError.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from glidemq.config.durations import SLIP_SECONDS, duration_s, parse_duration
from glidemq.config.pools import check_pool_name, check_pool_size
from glidemq.config.suggestion import did_you_mean
from glidemq.errors import ConfigurationError, ValidationError


class Kind(Protocol):
    """What a setting may be."""

    def read(self, text: str, name: str) -> Any: ...
    def check(self, value: Any, name: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class Text:
    """A text, or None where it may be absent."""

    pattern: str = r".+"
    must: str = "must not be empty"
    optional: bool = False

    def read(self, text: str, name: str) -> str:
        return text.strip()

    def check(self, value: Any, name: str) -> str | None:
        if value is None and self.optional:
            return None
        if not isinstance(value, str):
            raise ConfigurationError(f"{name} must be a text, not {type(value).__name__}")
        if re.fullmatch(self.pattern, value, re.DOTALL) is None:
            raise ConfigurationError(f"{name} {self.must}")
        return value


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def read(self, text: str, name: str) -> str:
        return text.strip().lower()

    def check(self, value: Any, name: str) -> str:
        if isinstance(value, str) and value in self.words:
            return value
        hint = did_you_mean(value, self.words) if isinstance(value, str) else ""
        raise ConfigurationError(f"{name} must be {_spoken(self.words)}, not {value!r}{hint}")


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def read(self, text: str, name: str) -> bool:
        word = text.strip().lower()
        if word in {"1", "true", "yes", "on"}:
            return True
        if word in {"0", "false", "no", "off"}:
            return False
        raise ConfigurationError(f"{name} must be true or false, not {text!r}")

    def check(self, value: Any, name: str) -> bool:
        if not isinstance(value, bool):
            raise ConfigurationError(f"{name} must be true or false, not {value!r}")
        return value


@dataclass(frozen=True, slots=True)
class Number:
    """An integer within bounds, or one of a few words such as "auto", or None where it may be absent."""

    minimum: int
    maximum: int
    words: tuple[str, ...] = ()
    optional: bool = False

    def read(self, text: str, name: str) -> int | str:
        word = text.strip().lower()
        if word in self.words:
            return word
        try:
            return int(word)
        except ValueError:
            raise ConfigurationError(f"{name} must be {self._legal()}, not {text!r}") from None

    def check(self, value: Any, name: str) -> int | str | None:
        if value is None and self.optional:
            return None
        if isinstance(value, str) and value in self.words:
            return value
        if isinstance(value, bool) or not isinstance(value, int) or not self.minimum <= value <= self.maximum:
            raise ConfigurationError(f"{name} must be {self._legal()}, not {value!r}")
        return value

    def _legal(self) -> str:
        return _spoken((*self.words, f"an integer from {self.minimum} to {self.maximum}"))


@dataclass(frozen=True, slots=True)
class Fraction:
    """A number within bounds."""

    minimum: float
    maximum: float

    def read(self, text: str, name: str) -> float:
        try:
            return float(text)
        except ValueError:
            raise ConfigurationError(f"{name} must be a number, not {text!r}") from None

    def check(self, value: Any, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigurationError(f"{name} must be a number, not {value!r}")
        if not self.minimum <= value <= self.maximum:
            raise ConfigurationError(
                f"{name} must be from {self.minimum:g} to {self.maximum:g}, not {value:g}"
            )
        return float(value)


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds or a `timedelta`, kept as float seconds; or None where it may be absent."""

    minimum: float = 0.0
    maximum: float = 366 * 86400.0
    # Where no sane value reaches 1000 s, a bare number that does was meant as milliseconds.
    refuses_slips: bool = False
    optional: bool = False

    def read(self, text: str, name: str) -> Any:
        duration = parse_duration(text, name)
        duration_s(duration, name, slip_at=self._slip_at(), remedy="write 90m or 2h for long ones")
        return duration

    def check(self, value: Any, name: str) -> float | None:
        if value is None and self.optional:
            return None
        return duration_s(value, name, minimum=self.minimum, maximum=self.maximum, slip_at=self._slip_at())

    def _slip_at(self) -> float:
        return SLIP_SECONDS if self.refuses_slips else math.inf


@dataclass(frozen=True, slots=True)
class PoolSizes:
    """Names of pools and their sizes, written `fast=2,slow=auto`, or as a table in a file; 0: not on this host."""

    def read(self, text: str, name: str) -> dict[str, Any]:
        sizes: dict[str, Any] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            pool, equals, size = (word.strip() for word in part.partition("="))
            if not equals:
                raise ConfigurationError(f"{name} must look like fast=2,slow=auto, not {text!r}")
            if pool in sizes:
                raise ConfigurationError(f"{name} names pool {pool!r} twice")
            sizes[pool] = int(size) if size.isascii() and size.isdigit() else size
        return sizes

    def check(self, value: Any, name: str) -> tuple[tuple[str, Any], ...]:
        try:
            sizes = dict(cast("Mapping[object, object]", value))
        except (TypeError, ValueError):
            raise ConfigurationError(f"{name} must look like fast=2,slow=auto, not {value!r}") from None
        try:
            checked = {check_pool_name(pool): check_pool_size(size, least=0) for pool, size in sizes.items()}
        except ValidationError as error:
            raise ConfigurationError(f"{name}: {error}") from None
        if None in checked.values():
            raise ConfigurationError(f"{name} must give each pool a size, or 'auto'")
        return tuple(checked.items())


_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?", re.ASCII | re.IGNORECASE)
_SIZE_FACTORS = {"K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 1 << 10, "MI": 1 << 20, "GI": 1 << 30,
                 "TI": 1 << 40}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bytes, also written 512MiB or 2GB; or None where it may be absent."""

    minimum: int
    optional: bool = False

    def read(self, text: str, name: str) -> int:
        match = _SIZE.fullmatch(text.strip())
        if match is None:
            raise ConfigurationError(f"{name} must be a number of bytes or look like 512MiB, not {text!r}")
        number, unit = match.groups()
        return int(float(number) * _SIZE_FACTORS[unit.upper()]) if unit else int(float(number))

    def check(self, value: Any, name: str) -> int | None:
        if value is None and self.optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise ConfigurationError(f"{name} must be a number of bytes, not {value!r}")
        if value < self.minimum:
            raise ConfigurationError(f"{name} must be at least {self.minimum} bytes, not {value}")
        return value


def _spoken(words: Sequence[str]) -> str:
    return " or ".join(words) if len(words) < 3 else f"{', '.join(words[:-1])} or {words[-1]}"
