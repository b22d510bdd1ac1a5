"""How to reach a server: the one value that every connection is made from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, get_args

from glidemq.config.connection_url import format_url, parse_url
from glidemq.config.durations import duration_s
from glidemq.errors import ConfigurationError

ReadFrom = Literal[
    "primary",
    "prefer_replica",
    "all_nodes",
    "az_affinity",
    "az_affinity_replicas_and_primary",
    "az_affinity_all_nodes",
]

# No sane request waits this long, and the reference's documented value is 500 (ms).
_TIMEOUT_SLIP_S = 100.0


@dataclass(frozen=True, slots=True, repr=False)
class ConnectionOptions:
    """Where the server is, who we are there, and how long to wait for it.

    Exactly one of `addresses`, `socket` and `embedded` says where. Durations are seconds (int or float) or
    `timedelta`, and are kept as float seconds. The password never appears in `repr`, `str` or an error.

    Raises ConfigurationError when a member is malformed or two members contradict each other.
    """

    # (host, port) pairs; in cluster mode some nodes suffice, the rest are discovered.
    addresses: tuple[tuple[str, int], ...] = ()
    # Path of the server's Unix socket.
    socket: str | None = None
    # Data directory of the embedded server, which is started when a connection is opened.
    embedded: str | None = None

    cluster: bool = False
    database: int = 0
    username: str | None = None
    password: str | None = None

    tls: bool = False
    # PEM file with the certificate authorities to trust; the system's when absent.
    tls_ca: str | None = None
    # PEM files for mutual TLS; re-read when they are rotated.
    tls_certificate: str | None = None
    tls_key: str | None = None
    # Skips verification of the server's certificate: for tests only.
    tls_insecure: bool = False

    # Longest wait for one reply. A shorter one mistakes a server that is busy for 150 ms with large payloads
    # (or a client starved of CPU) for one whose answer is unknown, which costs far more than the wait.
    request_timeout: float = 2.0
    # Longest time over which a call that may be repeated is repeated, all its waits included.
    request_deadline: float = 10.0
    # Longest wait for a connection to be made, TLS and authentication included.
    connection_timeout: float = 2.0
    # Calls that may be on their way at once; more wait in this process.
    inflight_requests_limit: int = 1000

    read_from: ReadFrom = "primary"
    # This host's availability zone, for the az_* values of read_from.
    client_az: str | None = None

    def __post_init__(self) -> None:
        self._check_place()
        self._check_identity()
        self._check_tls()
        self._check_limits()

    @classmethod
    def from_url(cls, url: str, **overrides: Any) -> ConnectionOptions:
        """Read a connection URL; `overrides` are further members, which win over the URL's.

        `valkey://[user[:password]@]host[:port][,host:port…][/database][?member=value…]`, `valkeys://` with
        TLS, `valkey+cluster://`, `valkeys+cluster://`, `valkey+unix:///path.sock`, `embedded://[directory]`.

        Raises ConfigurationError, whose text never holds the password.
        """
        members = parse_url(url)
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(overrides) - known)
        if unknown:
            raise ConfigurationError(f"unknown connection option {unknown[0]!r}")
        return cls(**{**members, **overrides})

    def with_password(self, password: str) -> ConnectionOptions:
        """The same options with this password."""
        return dataclasses.replace(self, password=password)

    def with_socket(self, socket: str) -> ConnectionOptions:
        """The same options for a server on this socket: what an embedded one becomes once it runs."""
        return dataclasses.replace(self, embedded=None, socket=socket)

    @property
    def place(self) -> str:
        """Where the server is, for messages: `valkey://10.0.0.5:6379`, without user or password."""
        return format_url(self, with_user=False)

    def __repr__(self) -> str:
        shown = [f"{format_url(self, with_user=True)!r}"]
        for member in dataclasses.fields(self):
            value = getattr(self, member.name)
            if member.name in _IN_URL or value == member.default:
                continue
            shown.append(f"{member.name}={value!r}")
        return f"ConnectionOptions({', '.join(shown)})"

    def __str__(self) -> str:
        return format_url(self, with_user=True)

    def _check_place(self) -> None:
        places = [
            name for name, given in
            (("addresses", self.addresses), ("socket", self.socket), ("embedded", self.embedded)) if given
        ]  # fmt: skip
        if len(places) != 1:
            found = " and ".join(places) if places else "none"
            raise ConfigurationError(f"a connection needs one of addresses, socket or embedded; got {found}")
        object.__setattr__(self, "addresses", _checked_addresses(self.addresses))
        if self.cluster and not self.addresses:
            raise ConfigurationError("cluster mode needs addresses: a Unix socket reaches one node only")
        if self.socket is not None and not Path(self.socket).is_absolute():
            raise ConfigurationError(f"the path of a Unix socket must be absolute, not {self.socket!r}")

    def _check_identity(self) -> None:
        for name in ("username", "password"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise ConfigurationError(f"{name} must be a non-empty text")
        if self.username is not None and self.password is None and self.embedded is not None:
            raise ConfigurationError("the embedded server has no users")
        if not _is_int(self.database) or not 0 <= self.database <= 65535:
            raise ConfigurationError(f"database must be an integer from 0 to 65535, not {self.database!r}")

    def _check_tls(self) -> None:
        material = [
            name for name in ("tls_ca", "tls_certificate", "tls_key") if getattr(self, name) is not None
        ]
        if self.tls_insecure:
            material.append("tls_insecure")
        if material and not self.tls:
            raise ConfigurationError(f"{material[0]} is given but TLS is off: use valkeys:// or tls=True")
        if self.tls and not self.addresses:
            raise ConfigurationError("TLS needs host addresses: a Unix socket never leaves the machine")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ConfigurationError("tls_certificate and tls_key belong together: give both or neither")
        if self.tls_insecure and self.tls_ca is not None:
            raise ConfigurationError(
                "tls_insecure trusts everybody, tls_ca names whom to trust: give one of them"
            )

    def _check_limits(self) -> None:
        for name in ("request_timeout", "request_deadline", "connection_timeout"):
            value: float | timedelta = getattr(self, name)
            object.__setattr__(self, name, duration_s(value, name, minimum=0.001, slip_at=_TIMEOUT_SLIP_S))
        if self.request_deadline < self.request_timeout:
            raise ConfigurationError(
                f"request_deadline ({self.request_deadline:g} s) must not be below "
                f"request_timeout ({self.request_timeout:g} s): it holds all repetitions of a call"
            )
        if not _is_int(self.inflight_requests_limit) or not 1 <= self.inflight_requests_limit <= 1_000_000:
            raise ConfigurationError(
                f"inflight_requests_limit must be from 1 to 1000000, not {self.inflight_requests_limit!r}"
            )
        if self.read_from not in get_args(ReadFrom):
            raise ConfigurationError(
                f"read_from must be one of {', '.join(get_args(ReadFrom))}; not {self.read_from!r}"
            )
        if self.read_from.startswith("az_") and not self.client_az:
            raise ConfigurationError(
                f"read_from={self.read_from!r} needs client_az, this host's availability zone"
            )


# Members that the URL form shows already.
_IN_URL = frozenset({"addresses", "socket", "embedded", "cluster", "tls", "username", "password", "database"})


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _checked_addresses(addresses: Any) -> tuple[tuple[str, int], ...]:
    checked: list[tuple[str, int]] = []
    for address in addresses:
        try:
            host, port = address
        except (TypeError, ValueError):
            raise ConfigurationError("addresses must be (host, port) pairs") from None
        if not isinstance(host, str) or not host:
            raise ConfigurationError("an address needs a host name")
        if not _is_int(port) or not 1 <= port <= 65535:
            raise ConfigurationError(f"the port of {host} must be an integer from 1 to 65535, not {port!r}")
        checked.append((host, port))
    return tuple(checked)
