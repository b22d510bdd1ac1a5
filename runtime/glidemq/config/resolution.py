"""Which server: the argument, else `GLIDEMQ_URL`, else the embedded one, said aloud."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from glidemq.config.connection_options import ConnectionOptions
from glidemq.config.connection_url import DEFAULT_EMBEDDED_DIRECTORY
from glidemq.errors import ConfigurationError

URL_VARIABLE = "GLIDEMQ_URL"
PASSWORD_FILE_VARIABLE = "GLIDEMQ_PASSWORD_FILE"  # noqa: S105 - the name of a variable
EMBEDDED_VARIABLE = "GLIDEMQ_EMBEDDED"

_FALSE = frozenset({"0", "false", "no", "off"})
_TRUE = frozenset({"1", "true", "yes", "on"})
_logger = logging.getLogger("glidemq.connection")
# Directories of embedded servers that this process has been told of: one warning will do for all its objects.
_told_of: set[str] = set()


def resolve_connection(
    connection: str | ConnectionOptions | None = None, *, environ: Mapping[str, str] | None = None
) -> ConnectionOptions:
    """Turn what a user gave as `connection` into options; reads no more than the password file.

    Order: the argument (a URL or `ConnectionOptions`), the variable `GLIDEMQ_URL`, the embedded server in
    `.glidemq` of the working directory. The last is logged as a warning, once, and can be forbidden by
    `GLIDEMQ_EMBEDDED=0`. A URL without a password takes it from the file that `GLIDEMQ_PASSWORD_FILE` names.

    Raises ConfigurationError for a malformed URL or variable, and when nothing is given and embedded is
    forbidden.
    """
    variables = os.environ if environ is None else environ
    if isinstance(connection, ConnectionOptions):
        return connection
    if connection is not None:
        return _from_url(connection, variables)
    url = variables.get(URL_VARIABLE, "").strip()
    if url:
        try:
            return _from_url(url, variables)
        except ConfigurationError as error:
            raise ConfigurationError(f"{URL_VARIABLE}: {error}") from None
    if not embedded_allowed(variables):
        raise ConfigurationError(
            f"no server is configured and {EMBEDDED_VARIABLE}=0 forbids the embedded one: "
            f"set {URL_VARIABLE}, or pass connection=… (--url on the command line)"
        )
    directory = str(Path(DEFAULT_EMBEDDED_DIRECTORY).absolute())
    if directory not in _told_of:
        _told_of.add(directory)
        _logger.warning(
            "no server is configured: using the embedded Valkey server with its data in %s "
            "(set %s for a real one, or %s=0 to forbid this)",
            directory, URL_VARIABLE, EMBEDDED_VARIABLE,
        )  # fmt: skip
    return ConnectionOptions(embedded=directory)


def embedded_allowed(environ: Mapping[str, str]) -> bool:
    """Whether the embedded server may stand in when no server is configured."""
    value = environ.get(EMBEDDED_VARIABLE, "").strip().lower()
    if not value or value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise ConfigurationError(f"{EMBEDDED_VARIABLE} must be 0 or 1, not {value!r}")


def _from_url(url: str, environ: Mapping[str, str]) -> ConnectionOptions:
    options = ConnectionOptions.from_url(url)
    if options.embedded is not None:
        return ConnectionOptions.from_url(url, embedded=str(Path(options.embedded).expanduser().absolute()))
    if options.password is None:
        password = read_password_file(environ)
        if password is not None:
            return options.with_password(password)
    return options


def read_password_file(environ: Mapping[str, str]) -> str | None:
    """The first line of the file that `GLIDEMQ_PASSWORD_FILE` names; None if it is not set."""
    name = environ.get(PASSWORD_FILE_VARIABLE, "").strip()
    if not name:
        return None
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigurationError(f"{PASSWORD_FILE_VARIABLE}: cannot read {name!r}: {reason}") from None
    password = text.split("\n", 1)[0].rstrip("\r")
    if not password:
        raise ConfigurationError(f"{PASSWORD_FILE_VARIABLE}: the first line of {name!r} is empty")
    return password
