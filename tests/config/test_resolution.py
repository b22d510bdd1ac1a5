"""Which server is used when nothing, little or everything is configured."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from glidemq.config import ConnectionOptions, resolve_connection
from glidemq.errors import ConfigurationError

CANARY = "canary-91bc"


def test_the_argument_wins_over_the_environment() -> None:
    assert resolve_connection("valkey://a", environ={"GLIDEMQ_URL": "valkey://b"}).place == "valkey://a:6379"


def test_options_are_taken_as_they_are(tmp_path: Path) -> None:
    options = ConnectionOptions.from_url("valkey://a")
    environ = {"GLIDEMQ_PASSWORD_FILE": str(tmp_path / "missing"), "GLIDEMQ_EMBEDDED": "nonsense"}
    assert resolve_connection(options, environ=environ) is options


def test_the_environment_is_used_when_there_is_no_argument() -> None:
    assert resolve_connection(None, environ={"GLIDEMQ_URL": " valkey://b "}).place == "valkey://b:6379"


def test_a_malformed_variable_is_named_without_its_password() -> None:
    with pytest.raises(ConfigurationError, match=r"^GLIDEMQ_URL: ") as caught:
        resolve_connection(None, environ={"GLIDEMQ_URL": f"valkey://u:{CANARY}@h:99999"})
    assert CANARY not in str(caught.value)


def test_the_embedded_server_is_the_last_resort_and_said_aloud(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING, "glidemq"):
        options = resolve_connection(None, environ={"GLIDEMQ_URL": ""})
    assert options.embedded == str(tmp_path / ".glidemq")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(tmp_path / ".glidemq") in caplog.text
    assert not (tmp_path / ".glidemq").exists()  # nothing is started yet


def test_the_embedded_server_is_mentioned_once_per_process_and_directory(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        for _ in range(3):
            resolve_connection(None, environ={})
    assert [record.args[0] for record in caplog.records if record.args] == [
        str(tmp_path / name / ".glidemq") for name in ("a", "b")
    ]


def test_an_embedded_url_is_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    resolve_connection("embedded:///x", environ={})
    assert caplog.records == []


@pytest.mark.parametrize("value", ["0", "false", "no", "OFF"])
def test_the_embedded_server_can_be_forbidden(value: str) -> None:
    with pytest.raises(ConfigurationError, match="set GLIDEMQ_URL"):
        resolve_connection(None, environ={"GLIDEMQ_EMBEDDED": value})


def test_forbidding_the_fall_back_leaves_an_explicit_embedded_url_alone() -> None:
    assert resolve_connection("embedded:///x", environ={"GLIDEMQ_EMBEDDED": "0"}).embedded == "/x"


def test_a_nonsensical_switch_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="GLIDEMQ_EMBEDDED must be 0 or 1"):
        resolve_connection(None, environ={"GLIDEMQ_EMBEDDED": "perhaps"})


def test_relative_embedded_directories_are_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_connection("embedded://data", environ={}).embedded == str(tmp_path / "data")
    assert resolve_connection("embedded://~/data", environ={}).embedded == str(Path.home() / "data")


@pytest.mark.parametrize("content", [CANARY, f"{CANARY}\n", f"{CANARY}\r\nsecond line\n"])
@pytest.mark.parametrize("argument", ["valkey://u@h", None])
def test_the_password_is_read_from_its_file(tmp_path: Path, content: str, argument: str | None) -> None:
    (tmp_path / "password").write_text(content, newline="")
    environ = {"GLIDEMQ_PASSWORD_FILE": str(tmp_path / "password"), "GLIDEMQ_URL": "valkey://u@h"}
    options = resolve_connection(argument, environ=environ)
    assert (options.username, options.password) == ("u", CANARY)


def test_a_password_in_the_url_wins_over_the_file(tmp_path: Path) -> None:
    environ = {"GLIDEMQ_PASSWORD_FILE": str(tmp_path / "missing")}
    assert resolve_connection("valkey://u:own@h", environ=environ).password == "own"


@pytest.mark.parametrize("kind", ["missing", "empty", "binary", "directory"])
def test_a_password_file_that_is_no_use_is_named(tmp_path: Path, kind: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "directory").mkdir()
    with pytest.raises(ConfigurationError, match=rf"GLIDEMQ_PASSWORD_FILE: .*{kind}"):
        resolve_connection("valkey://h", environ={"GLIDEMQ_PASSWORD_FILE": str(tmp_path / kind)})
