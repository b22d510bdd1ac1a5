"""The sample configuration for a real server is one that a real server takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import valkey

from glidemq.embedded.keeper import SERVER_OPTIONS
from tests.testkit.server import ValkeyServer

SAMPLE = Path(__file__).parents[2] / "deploy" / "valkey.conf"


def settings() -> dict[str, str]:
    lines = (line.strip() for line in SAMPLE.read_text().split("\n"))
    pairs = (line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    return {name: value.strip('"') for name, value in pairs}


@pytest.fixture
def client() -> Iterator[valkey.Valkey]:
    options = [word for name, value in settings().items() for word in (f"--{name}", value)]
    server = ValkeyServer(*options).start()
    with server.client() as client:
        yield client
    server.stop()


def test_a_server_takes_every_setting_of_the_sample(client: valkey.Valkey) -> None:
    assert len(settings()) >= 10
    assert {name: client.config_get(name)[name] for name in settings()} == settings()


def test_the_embedded_server_stores_jobs_as_the_sample_does() -> None:
    embedded = dict(zip(SERVER_OPTIONS[::2], SERVER_OPTIONS[1::2], strict=True))
    for name in ("appendonly", "appendfsync", "save", "hash-max-listpack-value", "maxmemory-policy"):
        assert embedded[f"--{name}"] == settings()[name]
