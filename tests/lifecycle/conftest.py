"""Supervisors for tests: one fixture that makes them and leaves nothing of them behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lifecycle.supervised import Supervised

Supervise = Callable[..., Supervised]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    """Makes a supervisor with these settings over stand-in processes; not started yet."""
    made: list[Supervised] = []

    def make(**settings: Any) -> Supervised:
        made.append(Supervised(tmp_path / str(len(made)), **settings))
        return made[-1]

    yield make
    for supervised in made:
        supervised.clean_up()
