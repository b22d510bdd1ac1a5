"""Patterns that choose messages by their subjects."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from glidemq.errors import ValidationError

ANY: Final = "*"
REST: Final = ">"

SubjectMatcher = Callable[[str], bool]


def compile_subject_matcher(patterns: str | Iterable[str]) -> SubjectMatcher:
    """A function that tells whether a subject fits any of the patterns.

    Subjects and patterns are words separated by dots; `*` stands for one word, `>` at the end for one or more. Raises
    ValidationError for a pattern that is no text, or with a `>` elsewhere. Source: features page, section 23.
    """
    given = [patterns] if isinstance(patterns, str) else list(patterns)
    split = [_tokens(pattern) for pattern in given]

    def matches(subject: str) -> bool:
        words = subject.split(".")
        return any(_fits(words, pattern) for pattern in split)

    return matches


def match_subject(pattern: str, subject: str) -> bool:
    """Whether a subject fits one pattern. Raises ValidationError as `compile_subject_matcher` does."""
    return compile_subject_matcher(pattern)(subject)


def _tokens(pattern: object) -> list[str]:
    if not isinstance(pattern, str) or not pattern:
        raise ValidationError(f"a subject pattern must be a non-empty string, not {pattern!r:.40}")
    tokens = pattern.split(".")
    if REST in tokens[:-1]:
        raise ValidationError("`>` wildcard must be the last token in a subject pattern")
    return tokens


def _fits(words: list[str], pattern: list[str]) -> bool:
    if pattern[-1] == REST:
        pattern = pattern[:-1]
        if len(words) <= len(pattern):
            return False
    elif len(words) != len(pattern):
        return False
    return all(token in (ANY, word) for token, word in zip(pattern, words, strict=False))
