"""Log lines: their two forms, and that no secret gets into either."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from glidemq_supervisor import logging_setup
from glidemq_supervisor.logging_setup import JsonFormatter, TextFormatter, redact


@pytest.fixture(autouse=True)
def untouched_root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "glidemq.x", "levelname": "INFO", "levelno": 20, "msg": message, "args": arguments, **extra}
    )
    made.process = 812
    made.created = 1_770_000_000.25
    return made


def test_text_line_says_when_who_and_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging_setup, "_process_label", "actor 0.3")
    line = TextFormatter().format(record("done %d", 7))
    assert line.endswith(" INFO    [actor 0.3 812] done 7")
    assert line[:4].isdigit()


def test_message_with_line_breaks_cannot_pose_as_two_records() -> None:
    assert TextFormatter().format(record("%s", "a\r\n2026-01-01 CRITICAL forged")).count("\n") == 0


def test_json_line_is_one_object_with_the_extra_members() -> None:
    line = JsonFormatter().format(record("done %d", 7, status={"pid": 9}))
    assert "\n" not in line
    members = json.loads(line)
    assert members["message"] == "done 7"
    assert members["level"] == "info"
    assert members["pid"] == 812
    assert members["status"] == {"pid": 9}
    assert members["time"] == "2026-02-02T02:40:00.250Z"


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_exception_is_carried_along(formatter: logging.Formatter) -> None:
    try:
        raise RuntimeError("at valkey://u:secret@h")
    except RuntimeError:
        line = formatter.format(record("broken", exc_info=sys.exc_info()))
    assert "RuntimeError: at valkey://u:***@h" in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("valkey://user:pa55@host:6379/0", "valkey://user:***@host:6379/0"),
        (
            "to valkeys+cluster://:pa:55@h and redis://a:b@c",
            "to valkeys+cluster://:***@h and redis://a:***@c",
        ),
        ("valkey://host:6379/0", "valkey://host:6379/0"),
        ("unix path /a:b@c", "unix path /a:b@c"),
    ],
)
def test_passwords_of_urls_are_hidden(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_lines_logged_before_the_format_is_known_are_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    held = logging_setup.hold_log_lines()
    logging.getLogger("glidemq.early").warning("too early")
    assert "too early" not in capsys.readouterr().err
    logging_setup.set_up_logging("json", "info")
    held.let_go()
    assert json.loads(capsys.readouterr().err)["message"] == "too early"


def test_level_applies_to_user_code_too(capsys: pytest.CaptureFixture[str]) -> None:
    logging_setup.set_up_logging("text", "warning")
    logging.getLogger("some.users.module").info("quiet")
    logging.getLogger("some.users.module").warning("loud")
    lines = capsys.readouterr().err
    assert "loud" in lines
    assert "quiet" not in lines
