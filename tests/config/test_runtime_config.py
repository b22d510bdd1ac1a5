"""The runtime's configuration: its defaults, what it refuses, and where its values come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from glidemq.config import LoadedConfig, RuntimeConfig, load_runtime_config
from glidemq.errors import ConfigurationError

CANARY = "canary-52de"
NOWHERE: dict[str, str] = {"GLIDEMQ_URL": "valkey://h"}
Load = Callable[..., LoadedConfig]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load from arguments, variables and the text of a [tool.glidemq] table."""

    def run(
        arguments: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        table: str | None = None,
    ) -> LoadedConfig:
        if table is not None:
            (tmp_path / "pyproject.toml").write_text(f"[project]\nname = 'x'\n[tool.glidemq]\n{table}\n")
        below = tmp_path / "src" / "deep"
        below.mkdir(parents=True, exist_ok=True)
        return load_runtime_config(arguments, environ={**NOWHERE, **(environ or {})}, directory=below)

    return run


def test_the_defaults_are_the_documented_ones() -> None:
    config = RuntimeConfig(environ=NOWHERE)
    assert (config.drain_timeout, config.kill_grace, config.beat, config.block) == (30.0, 5.0, 0.5, 1.0)
    assert (config.promotion_interval, config.stalled_interval, config.lock_duration) == (0.25, 30.0, 30.0)
    assert (config.max_stalled_count, config.max_crashes) == (1, 3)
    assert (config.restart_intensity, config.restart_window) == (5, 30.0)
    assert (config.restart_backoff, config.restart_backoff_max) == (0.1, 10.0)
    assert (config.max_ring_wait, config.prefix, config.procs, config.cells) == (
        0.02,
        "glide",
        "auto",
        "auto",
    )
    assert (config.max_jobs, config.max_age, config.max_rss) == (None, None, None)


def test_the_connection_follows_from_the_url() -> None:
    assert RuntimeConfig(url="valkey://a", environ=NOWHERE).connection.place == "valkey://a:6379"
    assert RuntimeConfig(environ=NOWHERE).connection.place == "valkey://h:6379"


def test_it_is_frozen_and_never_shows_a_password() -> None:
    config = RuntimeConfig(url=f"valkey://u:{CANARY}@h", environ={})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.pin = True  # type: ignore[misc]
    assert CANARY not in repr(config)
    assert CANARY not in str(config)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"app": "module"}, "package.module:app"),
        ({"app": "a b:c"}, "package.module:app"),
        ({"procs": 0}, "auto or an integer from 1 to 1024"),
        ({"procs": "many"}, "auto or an integer"),
        ({"procs": True}, "auto or an integer"),
        ({"procs": 2.0}, "auto or an integer"),
        ({"cells": "per_core"}, "auto, per-core or an integer"),
        ({"pin": "yes"}, "true or false"),
        ({"lock_duration": 30_000}, "if milliseconds were meant, give 30"),
        ({"block": 5000}, "if milliseconds were meant, give 5"),
        ({"block": 0}, "between 0.01 and 10"),
        ({"stalled_interval": 30_000}, "if milliseconds"),
        ({"promotion_interval": 1000}, "if milliseconds"),
        ({"drain_timeout": -1}, "between 0"),
        ({"drain_timeout": "30"}, "timedelta"),
        ({"max_crashes": 0}, "from 1"),
        ({"max_rss": 1000}, "at least 16777216 bytes"),
        ({"max_rss": "1GB"}, "number of bytes"),
        ({"recycle_jitter": 1}, "0 to 0.9"),
        ({"log_format": "jsn"}, "did you mean 'json'"),
        ({"log_level": "verbose"}, "debug, info, warning or error"),
        ({"prefix": "a{b}"}, "no braces"),
        ({"prefix": ""}, "no braces"),
        ({"url": "redis://h"}, "use valkey://"),
    ],
)
def test_values_that_cannot_work_are_refused(members: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        RuntimeConfig(**members, environ=NOWHERE)


def test_long_durations_are_accepted_where_they_make_sense_and_as_timedelta() -> None:
    config = RuntimeConfig(
        drain_timeout=3600,
        max_age=86_400,
        lock_duration=timedelta(hours=1),  # type: ignore[arg-type]
        environ=NOWHERE,
    )
    assert (config.drain_timeout, config.max_age, config.lock_duration) == (3600.0, 86_400.0, 3600.0)


def test_a_copy_of_a_configuration_keeps_its_long_durations() -> None:
    long = timedelta(hours=1)
    config = RuntimeConfig(lock_duration=long, environ=NOWHERE)  # type: ignore[arg-type]
    copy = dataclasses.replace(config, pin=True, environ=NOWHERE)
    assert (copy.lock_duration, copy.pin) == (3600.0, True)


def test_an_argument_wins_over_a_variable_over_the_file_over_the_default(load: Load) -> None:
    table = "procs = 2\nblock = 2\nbeat = 2"
    loaded = load({"procs": "8"}, {"GLIDEMQ_PROCS": "4", "GLIDEMQ_BLOCK": "4"}, table)
    config, sources = loaded.config, loaded.sources
    assert (config.procs, config.block, config.beat, config.kill_grace) == (8, 4.0, 2.0, 5.0)
    assert sources["procs"] == "argument"
    assert sources["block"] == "environment"
    assert sources["beat"].endswith("pyproject.toml")
    assert sources["kill_grace"] == "default"


def test_arguments_that_were_not_given_are_none(load: Load) -> None:
    assert load({"procs": None, "pin": None}, {"GLIDEMQ_PROCS": "4"}).config.procs == 4


def test_an_empty_variable_counts_as_absent(load: Load) -> None:
    assert load({}, {"GLIDEMQ_PROCS": " "}).config.procs == "auto"


def test_texts_are_read_by_the_kind_of_their_setting(load: Load) -> None:
    variables = {
        "GLIDEMQ_PROCS": "AUTO", "GLIDEMQ_CELLS": "per-core", "GLIDEMQ_PIN": "yes", "GLIDEMQ_PRELOAD": "0",
        "GLIDEMQ_LOCK_DURATION": "20m", "GLIDEMQ_BLOCK": "500ms", "GLIDEMQ_MAX_RSS": "512MiB",
        "GLIDEMQ_RECYCLE_JITTER": "0.2", "GLIDEMQ_LOG_FORMAT": "JSON", "GLIDEMQ_MAX_JOBS": "1000",
    }  # fmt: skip
    config = load({}, variables).config
    assert (config.procs, config.cells, config.pin, config.preload) == ("auto", "per-core", True, False)
    assert (config.lock_duration, config.block, config.max_rss) == (1200.0, 0.5, 512 << 20)
    assert (config.recycle_jitter, config.log_format, config.max_jobs) == (0.2, "json", 1000)


@pytest.mark.parametrize(
    ("text", "size"), [("16777216", 1 << 24), ("64MB", 64_000_000), ("1.5 GiB", 3 << 29), ("64m", 64_000_000)]
)
def test_sizes(load: Load, text: str, size: int) -> None:
    assert load({"max_rss": text}).config.max_rss == size


def test_file_values_may_be_typed_or_texts_and_keys_hyphenated(load: Load) -> None:
    config = load(table="lock-duration = '20m'\nmax_rss = '1GiB'\npin = true\nprocs = 3").config
    assert (config.lock_duration, config.max_rss, config.pin, config.procs) == (1200.0, 1 << 30, True, 3)


def test_the_nearest_pyproject_counts_even_without_a_table(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.glidemq]\nprocs = 7\n")
    inner = tmp_path / "inner"
    inner.mkdir()
    assert load_runtime_config(environ=NOWHERE, directory=inner).config.procs == 7
    (inner / "pyproject.toml").write_text("[project]\nname = 'inner'\n")
    assert load_runtime_config(environ=NOWHERE, directory=inner).config.procs == "auto"


def test_all_problems_are_reported_at_once_in_their_authors_words(load: Load) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(
            {"procs": "zero", "lock_duration": "30000"},
            {"GLIDEMQ_BLOCK": "soon", "GLIDEMQ_BOCK": "1"},
            "kil_grace = 1\nbeat = 'x'",
        )
    problems = str(caught.value).split("\n")
    assert len(problems) == 6
    assert "unknown variable GLIDEMQ_BOCK (did you mean 'GLIDEMQ_BLOCK'?)" in problems
    assert any(
        "unknown key 'kil_grace' in [tool.glidemq] (did you mean 'kill_grace'?)" in p for p in problems
    )
    assert any(p.startswith("--procs must be auto") for p in problems)
    assert any(p.startswith("--lock-duration is in seconds, and 30000 is over 8 hours") for p in problems)
    assert any("write 90m or 2h for long ones" in p for p in problems)
    assert any(p.startswith("GLIDEMQ_BLOCK must look like") for p in problems)
    assert any("[tool.glidemq] beat must look like" in p for p in problems)


def test_an_unknown_argument_is_refused(load: Load) -> None:
    with pytest.raises(ConfigurationError, match=r"unknown setting 'proc' .did you mean 'procs'"):
        load({"proc": 1})


@pytest.mark.parametrize(
    "variable",
    ["GLIDEMQ_SERVICE_HOST", "GLIDEMQ_SERVICE_PORT", "GLIDEMQ_PORT", "GLIDEMQ_PORT_6379_TCP_ADDR",
     "GLIDEMQ_DASHBOARD_SERVICE_PORT_HTTP", "GLIDEMQ_DASHBOARD_PORT_80_TCP", "GLIDEMQ_PASSWORD_FILE"],
)  # fmt: skip
def test_variables_of_kubernetes_and_of_the_connection_are_no_mistakes(
    load: Load, variable: str, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("x")
    load({}, {variable: str(tmp_path / "password")})


def test_variables_of_others_are_none_of_our_business(load: Load) -> None:
    load({}, {"GLIDE_PROCS": "x", "PROCS": "y"})


@pytest.mark.parametrize(
    ("content", "reason"), [("not toml [", "cannot read"), ("[tool]\nglidemq = 1", "table")]
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: str, reason: str) -> None:
    (tmp_path / "pyproject.toml").write_text(content)
    with pytest.raises(
        ConfigurationError, match=rf"pyproject.toml.*{reason}|{reason}.*pyproject.toml"
    ) as caught:
        load_runtime_config(environ=NOWHERE, directory=tmp_path)
    assert "\n" not in str(caught.value)


def test_a_password_on_the_command_line_is_refused_without_being_repeated(load: Load) -> None:
    with pytest.raises(ConfigurationError, match=r"GLIDEMQ_PASSWORD_FILE.*GLIDEMQ_URL") as caught:
        load({"url": f"valkey://u:{CANARY}@h"})
    assert str(caught.value).startswith("--url must not hold a password")
    assert CANARY not in str(caught.value)


def test_a_user_without_a_password_on_the_command_line_is_fine(load: Load, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(CANARY)
    loaded = load({"url": "valkey://u@h"}, {"GLIDEMQ_PASSWORD_FILE": str(tmp_path / "password")})
    assert loaded.config.connection.password == CANARY
    assert CANARY not in loaded.format_table()


def test_a_password_in_a_file_that_may_be_committed_is_warned_of(load: Load) -> None:
    loaded = load_without_url(load, f"url = 'valkey://u:{CANARY}@h'")
    assert [w for w in loaded.warnings if "holds a password" in w]
    assert CANARY not in " ".join(loaded.warnings)


def load_without_url(load: Load, table: str) -> LoadedConfig:
    return load({}, {"GLIDEMQ_URL": ""}, table)


def test_the_table_shows_every_setting_with_its_source_and_no_secret(load: Load) -> None:
    loaded = load({"procs": 3}, {"GLIDEMQ_URL": f"valkey://u:{CANARY}@h"})
    rows = {row.name: row for row in loaded.describe()}
    assert set(rows) == {"connection"} | {
        field.name for field in dataclasses.fields(RuntimeConfig) if field.name != "connection"
    }
    assert (rows["procs"].value, rows["procs"].source) == ("3", "argument")
    assert (rows["url"].value, rows["url"].source) == ("valkey://***@h", "environment")
    assert rows["connection"].value == "valkey://u:***@h:6379"
    table = loaded.format_table()
    assert CANARY not in table
    assert len(table.split("\n")) == len(rows)


def test_the_app_of_a_file_is_imported_from_beside_it_and_others_from_here(
    load: Load, tmp_path: Path
) -> None:
    assert load({}, {}, "app = 'shop.jobs:app'").config.import_path == str(tmp_path)
    here = str(tmp_path / "src" / "deep")
    assert load({"app": "jobs:app"}, {}, "app = 'shop.jobs:app'").config.import_path == here
    assert load({}, {"GLIDEMQ_APP": "jobs:app"}).config.import_path == here
    assert load({"import_path": "/elsewhere"}).config.import_path == "/elsewhere"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"lock_duration": 1, "stalled_interval": 1}, "may lose leases"),
        ({"stalled_interval": 300}, "wait that long"),
        ({"restart_backoff": 20}, "is used instead"),
        ({"procs": 4, "max_procs": 2}, "is below procs"),
        ({"max_age": 10}, "draining"),
        ({"url": "valkeys://h?tls_insecure=1"}, "anybody can pose"),
    ],
)
def test_odd_but_legal_combinations_are_warned_of(load: Load, arguments: dict[str, Any], reason: str) -> None:
    warnings = load(arguments).warnings
    assert len(warnings) == 1
    assert reason in warnings[0]


def test_the_defaults_warn_of_nothing(load: Load) -> None:
    assert load().warnings == ()
