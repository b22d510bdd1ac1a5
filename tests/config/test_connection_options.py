"""Connection options and URLs: what they say, what they refuse, and what they never show."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from glidemq.config import ConnectionOptions
from glidemq.config.connection_url import has_password, redact_url
from glidemq.errors import ConfigurationError

CANARY = "canary-7f3a"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("valkey://localhost", {"addresses": (("localhost", 6379),)}),
        ("valkey://10.0.0.5:7000/3", {"addresses": (("10.0.0.5", 7000),), "database": 3}),
        ("VALKEY://localhost/", {"addresses": (("localhost", 6379),)}),
        ("valkeys://cache.example:6380", {"addresses": (("cache.example", 6380),), "tls": True}),
        (
            "valkey+cluster://a:7000,b:7001,c",
            {"addresses": (("a", 7000), ("b", 7001), ("c", 6379)), "cluster": True},
        ),
        ("valkeys+cluster://a", {"addresses": (("a", 6379),), "cluster": True, "tls": True}),
        ("valkey://[::1]:7000", {"addresses": (("::1", 7000),)}),
        ("valkey://[fe80::1%25eth0]", {"addresses": (("fe80::1%eth0", 6379),)}),
        (
            "valkey://worker:p%40ss%2F%3A@h",
            {"addresses": (("h", 6379),), "username": "worker", "password": "p@ss/:"},
        ),
        ("valkey://:secret@h", {"addresses": (("h", 6379),), "password": "secret"}),
        ("valkey://worker@h", {"addresses": (("h", 6379),), "username": "worker"}),
        ("valkey+unix:///run/valkey.sock", {"socket": "/run/valkey.sock"}),
        (
            "valkey+unix://u:p@/run/a%20b.sock?database=2",
            {"socket": "/run/a b.sock", "username": "u", "password": "p", "database": 2},
        ),
        ("embedded://", {"embedded": ".glidemq"}),
        ("embedded://data", {"embedded": "data"}),
        ("embedded:///var/lib/jobs", {"embedded": "/var/lib/jobs"}),
        (
            "valkey://h?request_timeout=500ms&request_deadline=1m&connection_timeout=3&inflight_requests_limit=7",
            {
                "addresses": (("h", 6379),), "request_timeout": 0.5, "request_deadline": 60.0,
                "connection_timeout": 3.0, "inflight_requests_limit": 7,
            },
        ),
        (
            "valkeys://h?tls_ca=/ca.pem&tls_certificate=/c.pem&tls_key=/k.pem",
            {
                "addresses": (("h", 6379),), "tls": True,
                "tls_ca": "/ca.pem", "tls_certificate": "/c.pem", "tls_key": "/k.pem",
            },
        ),
        ("valkeys://h?tls_insecure=true", {"addresses": (("h", 6379),), "tls": True, "tls_insecure": True}),
        ("valkey://h?read_from=prefer_replica", {"addresses": (("h", 6379),), "read_from": "prefer_replica"}),
        (
            "valkey://h?read_from=az_affinity&client_az=eu-1a",
            {"addresses": (("h", 6379),), "read_from": "az_affinity", "client_az": "eu-1a"},
        ),
    ],
)  # fmt: skip
def test_a_url_is_read_into_its_members(url: str, expected: dict[str, Any]) -> None:
    assert ConnectionOptions.from_url(url) == ConnectionOptions(**expected)


def test_keyword_members_win_over_those_of_the_url() -> None:
    options = ConnectionOptions.from_url("valkey://h/3?request_timeout=1", database=5, request_timeout=2)
    assert (options.database, options.request_timeout) == (5, 2.0)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("localhost:6379", "is not a connection URL"),
        ("", "is not a connection URL"),
        ("redis://h", "use valkey:// or valkeys://"),
        ("valky://h", "did you mean 'valkey'"),
        ("valkey://", "host name is missing"),
        ("valkey://:6379", "host name is missing"),
        ("valkey://a,,b", "host name is missing"),
        ("valkey://h:port", "port must be a number"),
        ("valkey://h:0", "from 1 to 65535"),
        ("valkey://h:65536", "from 1 to 65535"),
        ("valkey://::1", "brackets"),
        ("valkey://h/first", "database must be a number"),
        ("valkey://h/65536", "database must be an integer"),
        ("valkey+unix://host/run.sock", "valkey\\+unix:///absolute/path"),
        ("valkey+unix://", "valkey\\+unix:///absolute/path"),
        ("valkey://h?requst_timeout=1", "did you mean 'request_timeout'"),
        ("valkey://h?request_timeout=soon", "must look like"),
        ("valkey://h?request_timeout=500", "if milliseconds were meant, give 0.5"),
        ("valkey://h?request_timeout=0", "at least 0.001"),
        ("valkey://h?inflight_requests_limit=0", "inflight_requests_limit"),
        ("valkey://h?tls_ca=/ca.pem", "TLS is off"),
        ("valkeys://h?tls_key=/k.pem", "belong together"),
        ("valkeys://h?tls_insecure=maybe", "true or false"),
        ("valkeys://h?tls_insecure=1&tls_ca=/ca.pem", "give one of them"),
        ("valkey://h?read_from=nearest", "read_from must be one of"),
        ("valkey://h?read_from=az_affinity", "client_az"),
        ("valkey://h?request_timeout=5&request_deadline=1", "must not be below"),
        ("valkey://h#fragment", "percent-encoded"),
    ],
)
def test_a_malformed_url_is_refused_in_one_line_that_says_why(url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        ConnectionOptions.from_url(url)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({}, "got none"),
        ({"socket": "/a", "embedded": "b"}, "got socket and embedded"),
        ({"socket": "relative.sock"}, "absolute"),
        ({"socket": "/a", "cluster": True}, "cluster mode needs addresses"),
        ({"socket": "/a", "tls": True}, "TLS needs host addresses"),
        ({"addresses": [("h", True)]}, "port of h"),
        ({"addresses": ["h:1"]}, "pairs"),
        ({"addresses": [("", 1)]}, "host name"),
        ({"addresses": [("h", 1)], "password": ""}, "non-empty"),
        ({"addresses": [("h", 1)], "database": -1}, "database"),
        ({"addresses": [("h", 1)], "database": True}, "database"),
        ({"addresses": [("h", 1)], "request_timeout": "1"}, "timedelta"),
        ({"addresses": [("h", 1)], "request_timeout": float("nan")}, "seconds"),
        ({"addresses": [("h", 1)], "request_timeout": True}, "timedelta"),
    ],
)
def test_members_that_cannot_work_are_refused(members: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        ConnectionOptions(**members)


def test_an_unknown_member_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'timeout'"):
        ConnectionOptions.from_url("valkey://h", timeout=1)


def test_durations_may_be_timedeltas_of_any_length() -> None:
    options = ConnectionOptions(
        addresses=(("h", 1),),
        request_timeout=timedelta(minutes=10),  # type: ignore[arg-type]
        request_deadline=timedelta(hours=1),  # type: ignore[arg-type]
    )
    assert (options.request_timeout, options.request_deadline) == (600.0, 3600.0)
    assert options.with_password("x").request_timeout == 600.0


@pytest.mark.parametrize(
    "url",
    [
        f"valkey://user:{CANARY}@h",
        f"valkeys+cluster://:{CANARY}@h:1,i:2/4?request_timeout=1",
        f"valkey+unix://user:{CANARY}@/run/valkey.sock",
    ],
)
def test_the_password_is_shown_nowhere(url: str) -> None:
    options = ConnectionOptions.from_url(url)
    assert options.password == CANARY
    for shown in (
        repr(options),
        str(options),
        options.place,
        f"{options}",
        repr([options]),
        f"{options!r:>200}",
    ):
        assert CANARY not in shown
    assert "***" in repr(options)
    assert "***" not in options.place


@pytest.mark.parametrize(
    "url",
    [
        f"valkey://user:{CANARY}@",
        f"valkey://user:{CANARY}@h:99999",
        f"valkey://user:{CANARY}@h?bad=1",
        f"valkey://user:{CANARY}/x@h",
        f"valkey://user:x/{CANARY}@h",
        f"valkey://user:x?{CANARY}@h",
        f"valkey://user:x#{CANARY}@h",
        f"valkey://user:x@{CANARY}@h:port",
        f"valkey://user:{CANARY}",
        f"valkey://user:x:{CANARY}",
        f"nonsense:{CANARY}@h",
        f"wrong://user:{CANARY}@h",
        f"user:{CANARY}@h",
        f"valkey://h/{CANARY}@",
    ],
)
def test_no_error_about_a_url_holds_what_may_be_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ConnectionOptions.from_url(url)
    assert CANARY not in str(caught.value)
    assert CANARY not in repr(caught.value.__cause__)


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("valkey://h:1/2", "valkey://h:1/2"),
        ("valkey://u:p@h:1/2", "valkey://***@h:1/2"),
        ("valkey://u:p@q@h", "valkey://***@h"),
        ("valkey://u:p/q?r@h?x=1", "valkey://***@h?…"),
        ("valkey://h?x=1", "valkey://h?…"),
        ("u:p@h", "***"),
        ("plain", "plain"),
    ],
)
def test_redaction(url: str, redacted: str) -> None:
    assert redact_url(url) == redacted


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("valkey://h:1", False), ("valkey://u@h", False), ("valkey://u:p@h", True), ("valkey://:p@h", True),
        ("valkey://u:p", False), ("embedded:///a@b", False), ("valkey+unix://u:p@/s", True),
    ],
)  # fmt: skip
def test_has_password(url: str, expected: bool) -> None:
    assert has_password(url) is expected


def test_options_are_values() -> None:
    first, second = ConnectionOptions.from_url("valkey://h"), ConnectionOptions.from_url("valkey://h")
    assert first == second
    assert hash(first) == hash(second)
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.database = 1  # type: ignore[misc]
    assert first.with_password("x").password == "x"
    assert ConnectionOptions.from_url("embedded://d").with_socket("/s") == ConnectionOptions(socket="/s")
