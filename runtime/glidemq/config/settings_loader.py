"""Puts the configuration together: argument before environment before pyproject.toml before default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glidemq.config.connection_url import has_password
from glidemq.config.resolution import PASSWORD_FILE_VARIABLE, URL_VARIABLE
from glidemq.config.runtime_config import SETTINGS, RuntimeConfig, shown_value, warnings_of
from glidemq.config.sources import Source, from_arguments, from_environment, from_pyproject
from glidemq.errors import ConfigurationError

DEFAULT_TITLE = "default"


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of the table that `--print-config` shows; never a secret."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration, where each value came from, and what looks odd about it."""

    config: RuntimeConfig
    sources: Mapping[str, str]
    warnings: tuple[str, ...]

    def describe(self) -> list[SettingRow]:
        """Every setting with value and source, secrets redacted; `connection` is what the URL led to."""
        shown = {name: shown_value(name, getattr(self.config, name)) for name in SETTINGS}
        rows = [SettingRow(name, value, self.sources[name]) for name, value in shown.items()]
        return [*rows, SettingRow("connection", str(self.config.connection), self.sources["url"])]

    def format_table(self) -> str:
        """`describe` as aligned text."""
        rows = self.describe()
        name_width = max(len(row.name) for row in rows)
        value_width = max(len(row.value) for row in rows)
        return "\n".join(
            f"{row.name:<{name_width}}  {row.value:<{value_width}}  {row.source}" for row in rows
        )


def load_runtime_config(
    arguments: Mapping[str, Any] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> LoadedConfig:
    """Collect the settings from all sources and check them together.

    `arguments` holds what the command line gave, by setting name, as texts or values; None means "not given".
    Raises ConfigurationError with one line per problem: all of them at once, in the words of whoever wrote
    them.
    """
    variables = os.environ if environ is None else environ
    start = (directory or Path.cwd()).absolute()
    sources = [
        from_arguments(arguments or {}, SETTINGS),
        from_environment(variables, SETTINGS),
        from_pyproject(start, SETTINGS),
    ]
    problems = [problem for source in sources for problem in source.problems]
    values: dict[str, Any] = {}
    origins: dict[str, str] = dict.fromkeys(SETTINGS, DEFAULT_TITLE)
    for name in SETTINGS:
        source = next((source for source in sources if name in source.values), None)
        if source is None:
            continue
        try:
            values[name] = _checked(name, source)
        except ConfigurationError as error:
            problems.append(str(error))
        origins[name] = source.title if source.directory is None else str(source.directory / source.title)
    if "import_path" not in values:
        # An app named in a file lies beside that file; one named by hand, where the hand is.
        named_in = next((source for source in sources if "app" in source.values), None)
        values["import_path"] = str((named_in and named_in.directory) or start)
    if problems:
        raise ConfigurationError("\n".join(problems))
    config = RuntimeConfig(**values, environ=variables)
    return LoadedConfig(config, origins, (*warnings_of(config), *_exposed_password(sources, variables)))


def _checked(name: str, source: Source) -> Any:
    kind, value, label = SETTINGS[name], source.values[name], source.labels[name]
    if name == "url" and source.title == "argument" and isinstance(value, str) and has_password(value):
        # Everybody on the host can read a command line.
        raise ConfigurationError(
            f"{label} must not hold a password: name a file that holds it in {PASSWORD_FILE_VARIABLE}, "
            f"or give the whole URL in {URL_VARIABLE}"
        )
    return kind.check(kind.read(value, label) if isinstance(value, str) else value, label)


def _exposed_password(sources: list[Source], environ: Mapping[str, str]) -> list[str]:
    for source in sources:
        url = source.values.get("url")
        if source.directory is not None and isinstance(url, str) and has_password(url):
            return [f"{source.labels['url']} holds a password: use {PASSWORD_FILE_VARIABLE} instead"]
    if environ.get(PASSWORD_FILE_VARIABLE) and has_password(environ.get(URL_VARIABLE, "")):
        return [f"{URL_VARIABLE} holds a password, so {PASSWORD_FILE_VARIABLE} is not used"]
    return []
