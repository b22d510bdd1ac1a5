"""Where settings come from: arguments, environment, the nearest pyproject.toml. Nothing is judged here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from glidemq.config.suggestion import did_you_mean
from glidemq.errors import ConfigurationError

VARIABLE_PREFIX = "GLIDEMQ_"
# Variables that are no settings of their own, but belong to the connection.
OTHER_VARIABLES = frozenset({"GLIDEMQ_PASSWORD_FILE", "GLIDEMQ_EMBEDDED"})
# What Kubernetes injects for a Service that happens to be named glidemq or glidemq-something.
_SERVICE_LINK = re.compile(r"GLIDEMQ_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")


@dataclass(frozen=True, slots=True)
class Source:
    """Values of one origin, by setting name; `labels` says how their author wrote each name."""

    title: str
    values: Mapping[str, Any]
    labels: Mapping[str, str]
    # Names that no setting has, in full sentences.
    problems: tuple[str, ...] = ()
    directory: Path | None = None


def from_arguments(arguments: Mapping[str, Any], known: Collection[str]) -> Source:
    """Values of a command line; None means "not given"."""
    unknown = [name for name in arguments if name not in known]
    return Source(
        "argument",
        {name: value for name, value in arguments.items() if value is not None and name in known},
        {name: "--" + name.replace("_", "-") for name in arguments},
        tuple(f"unknown setting {name!r}{did_you_mean(name, known)}" for name in unknown),
    )


def from_environment(environ: Mapping[str, str], known: Collection[str]) -> Source:
    """Every `GLIDEMQ_*` variable; an empty one counts as absent."""
    values: dict[str, str] = {}
    problems: list[str] = []
    for variable in sorted(environ):
        if not variable.startswith(VARIABLE_PREFIX) or not environ[variable].strip():
            continue
        name = variable.removeprefix(VARIABLE_PREFIX).lower()
        if name in known:
            values[name] = environ[variable]
        elif variable not in OTHER_VARIABLES and not _SERVICE_LINK.fullmatch(variable):
            everything = [VARIABLE_PREFIX + known_name.upper() for known_name in known] + sorted(
                OTHER_VARIABLES
            )
            problems.append(f"unknown variable {variable}{did_you_mean(variable, everything)}")
    labels = {name: VARIABLE_PREFIX + name.upper() for name in values}
    return Source("environment", values, labels, tuple(problems))


def from_pyproject(start: Path, known: Collection[str]) -> Source:
    """The table [tool.glidemq] of the nearest pyproject.toml, looking upwards from a directory."""
    path = next(
        (d / "pyproject.toml" for d in (start, *start.parents) if (d / "pyproject.toml").is_file()), None
    )
    if path is None:
        return Source("pyproject.toml", {}, {})
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).split("\n", 1)[0]
        raise ConfigurationError(f"cannot read {path}: {reason}") from None
    table = document.get("tool", {}).get("glidemq", {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: tool.glidemq must be a table")
    entries = cast("dict[str, Any]", table)
    values: dict[str, Any] = {}
    labels: dict[str, str] = {}
    problems: list[str] = []
    for key, value in entries.items():
        name = key.replace("-", "_")
        if name not in known:
            problems.append(f"{path}: unknown key {key!r} in [tool.glidemq]{did_you_mean(name, known)}")
            continue
        values[name] = value
        labels[name] = f"{path}: [tool.glidemq] {key}"
    return Source("pyproject.toml", values, labels, tuple(problems), path.parent)
