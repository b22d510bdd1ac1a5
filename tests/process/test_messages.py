"""What crosses the rings fits into their records."""

from __future__ import annotations

import pytest

from glidemq.errors import GlideMQError, JobNotFoundError, ServerError, ValidationError
from glidemq.process.messages import error_header, read_error_header
from glidemq.rings.layout import HEADER_BYTES


@pytest.mark.parametrize("error", [ServerError("short"), JobNotFoundError("7"), ValidationError("bad")])
def test_an_error_arrives_as_its_own_class(error: GlideMQError) -> None:
    read = read_error_header(error_header(error))
    assert (type(read), str(read)) == (type(error), str(error))


@pytest.mark.parametrize("text", ["x" * 100_000, "\U0001f600" * 100_000])
def test_an_error_of_any_length_fits_into_a_header(text: str) -> None:
    header = error_header(ServerError(text))
    assert len(header) <= HEADER_BYTES
    assert text.startswith(str(read_error_header(header)))
