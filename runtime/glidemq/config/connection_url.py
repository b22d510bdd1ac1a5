"""Connection URLs: reading, writing without secrets, and redacting those that cannot even be read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote

from glidemq.config.durations import parse_duration
from glidemq.config.suggestion import did_you_mean
from glidemq.errors import ConfigurationError

if TYPE_CHECKING:
    from glidemq.config.connection_options import ConnectionOptions

# scheme -> (cluster, tls)
SERVER_SCHEMES = {
    "valkey": (False, False),
    "valkeys": (False, True),
    "valkey+cluster": (True, False),
    "valkeys+cluster": (True, True),
}
UNIX_SCHEME = "valkey+unix"
EMBEDDED_SCHEME = "embedded"
SCHEMES = (*SERVER_SCHEMES, UNIX_SCHEME, EMBEDDED_SCHEME)
DEFAULT_EMBEDDED_DIRECTORY = ".glidemq"

_DURATIONS = frozenset({"request_timeout", "request_deadline", "connection_timeout"})
_INTEGERS = frozenset({"inflight_requests_limit", "database"})
_FLAGS = frozenset({"tls_insecure"})
_TEXTS = frozenset({"read_from", "client_az", "tls_ca", "tls_certificate", "tls_key"})
QUERY_MEMBERS = _DURATIONS | _INTEGERS | _FLAGS | _TEXTS

_SPLIT = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^?#]*)(?:\?(.*))?(?:#.*)?", re.DOTALL)
# A host, with a number for a port.
_HARMLESS = re.compile(r"(\[[\w:.%]*\]|[\w.-]*)(:\d{0,5})?", re.ASCII)
_UNESCAPED = "a '/', '?', '#' or '@' within a user name or password must be percent-encoded"


def redact_url(url: str) -> str:
    """The URL with everything that may be a password replaced by `***`, however malformed it is."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "***" if "@" in url else url
    # A password may itself hold '/', '?' or '@' unescaped: all before the last '@' is suspect.
    _, at, public = rest.rpartition("@")
    place, question, _ = public.partition("?")
    if not at and scheme.lower() != EMBEDDED_SCHEME:
        hosts, slash, path = place.partition("/")
        if not all(_HARMLESS.fullmatch(host) for host in hosts.split(",")):
            hosts = "***"  # perhaps a user and a password whose host was forgotten
        place = f"{hosts}{slash}{path}"
    # The query holds no secret by design, but a mistyped one might.
    return f"{scheme}://{'***@' if at else ''}{place}{'?…' if question else ''}"


def has_password(url: str) -> bool:
    """Whether a URL carries a password (or anything that may be one), readable or not."""
    rest = url.partition("://")[2] or url
    return "@" in rest and ":" in rest.rpartition("@")[0]


def parse_url(url: object) -> dict[str, Any]:
    """Split a connection URL into the members of `ConnectionOptions`. Raises ConfigurationError, redacted."""
    if not isinstance(url, str):
        raise ConfigurationError(f"a connection URL must be a text, not {type(url).__name__}")
    match = _SPLIT.fullmatch(url.strip())
    if match is None:
        raise ConfigurationError(
            f"{redact_url(url)!r} is not a connection URL: use valkey://host:port or embedded://"
        )
    scheme, place, query = match[1].lower(), match[2], match[3] or ""
    try:
        if "#" in url or "@" in query:
            raise ConfigurationError(_UNESCAPED)
        members = _place_members(scheme, place)
        members.update(_query_members(query))
    except ConfigurationError as error:
        raise ConfigurationError(f"connection URL {redact_url(url)!r}: {error}") from None
    return members


def _place_members(scheme: str, place: str) -> dict[str, Any]:
    if scheme == EMBEDDED_SCHEME:
        return {"embedded": unquote(place) or DEFAULT_EMBEDDED_DIRECTORY}
    if scheme not in SCHEMES:
        hint = (
            "; use valkey:// or valkeys://"
            if scheme in {"redis", "rediss"}
            else did_you_mean(scheme, SCHEMES)
        )
        raise ConfigurationError(f"unknown scheme {scheme!r}{hint}")
    authority, slash, path = place.partition("/")
    userinfo, at, hosts = authority.rpartition("@")
    members: dict[str, Any] = _identity_members(userinfo) if at else {}
    if scheme == UNIX_SCHEME:
        if hosts or not path:
            raise ConfigurationError("a Unix socket is written valkey+unix:///absolute/path.sock")
        return {**members, "socket": unquote(slash + path)}
    if "@" in path:
        raise ConfigurationError(_UNESCAPED)
    cluster, tls = SERVER_SCHEMES[scheme]
    members.update(addresses=tuple(_address(host) for host in hosts.split(",")), cluster=cluster, tls=tls)
    if path:
        members["database"] = _integer("database", path.rstrip("/"))
    return members


def _identity_members(userinfo: str) -> dict[str, Any]:
    username, colon, password = userinfo.partition(":")
    members: dict[str, Any] = {}
    if username:
        members["username"] = unquote(username)
    if colon and password:
        members["password"] = unquote(password)
    return members


def _address(text: str) -> tuple[str, int]:
    bracketed = re.fullmatch(r"\[([\w:.%]+)\](?::(.*))?", text)
    if bracketed:
        host, port = bracketed[1], bracketed[2]
    elif text.count(":") > 1:
        raise ConfigurationError("an IPv6 address must stand in brackets, like [::1]:6379")
    else:
        host, colon, port_text = text.partition(":")
        port = port_text if colon else None
    if not host:
        raise ConfigurationError("the host name is missing")
    return unquote(host), 6379 if port is None else _integer("port", port)


def _query_members(query: str) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name in _DURATIONS:
            members[name] = parse_duration(value, name)
        elif name in _INTEGERS:
            members[name] = _integer(name, value)
        elif name in _FLAGS:
            members[name] = _flag(name, value)
        elif name in _TEXTS:
            members[name] = value
        else:
            raise ConfigurationError(f"unknown parameter {name!r}{did_you_mean(name, QUERY_MEMBERS)}")
    return members


def _integer(name: str, text: str) -> int:
    # The text is not repeated: a password with an unescaped ':' or '/' ends up here.
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII):
        raise ConfigurationError(f"the {name} must be a number")
    return int(text)


def _flag(name: str, text: str) -> bool:
    values = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in values:
        raise ConfigurationError(f"{name} must be true or false")
    return values[text.lower()]


def format_url(options: ConnectionOptions, *, with_user: bool) -> str:
    """Write options as a URL for people to read, with `***` in place of a password."""
    if options.embedded is not None:
        return f"{EMBEDDED_SCHEME}://{options.embedded}"
    user = ""
    if with_user and (options.username is not None or options.password is not None):
        user = quote(options.username or "", safe="") + (":***" if options.password is not None else "") + "@"
    if options.socket is not None:
        suffix = f"?database={options.database}" if options.database else ""
        return f"{UNIX_SCHEME}://{user}{options.socket}{suffix}"
    scheme = next(s for s, kind in SERVER_SCHEMES.items() if kind == (options.cluster, options.tls))
    hosts = ",".join(
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in options.addresses
    )
    return f"{scheme}://{user}{hosts}{f'/{options.database}' if options.database else ''}"
