"""Log lines of all processes of the runtime: text or JSON, one line a record, never with a secret."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Literal

LogFormat = Literal["text", "json"]

_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CREDENTIALS = re.compile(
    r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)(?P<user>[^\s:/@?#]*):[^\s/?#]*@", re.IGNORECASE
)

_process_label = "supervisor"


def set_process_label(label: str) -> None:
    """Name this process in its log lines, e.g. "actor 0.3"; to be called once, after the fork."""
    global _process_label
    _process_label = label


def set_up_logging(log_format: LogFormat, level: str) -> None:
    """Log everything of `level` and above to standard error, for this process and those forked from it.

    The root logger is configured, so that what user code logs in an actor process appears in the same form.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class HeldLogLines(logging.Handler):
    """Keeps the records of the time before the format of the log is known. Stops when: let go."""

    def __init__(self) -> None:
        super().__init__()
        self._records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)

    def let_go(self) -> None:
        """Log what was held, through the handlers that are set up by now."""
        logging.getLogger().removeHandler(self)
        for record in self._records:
            logging.getLogger(record.name).handle(record)
        self._records.clear()


def hold_log_lines() -> HeldLogLines:
    """Keep what is logged until `let_go`: loading the configuration, which says how to log, may log."""
    held = HeldLogLines()
    logging.getLogger().addHandler(held)
    return held


def redact(text: str) -> str:
    """Hide the password of every URL in `text`: the last defence, for texts that come from elsewhere."""
    return _CREDENTIALS.sub(r"\g<scheme>\g<user>:***@", text)


class TextFormatter(logging.Formatter):
    """`2026-01-31 12:00:00.123 INFO    [actor 0.3 812] text`, times in local time."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).isoformat(sep=" ", timespec="milliseconds")
        who = f"[{_process_label} {record.process}]"
        line = f"{when} {record.levelname:<7} {who} {redact(_one_line(record.getMessage()))}"
        details = _details(self, record)
        return f"{line}\n{redact(details)}" if details else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line; `extra={…}` members are carried along."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC)
        members: dict[str, object] = {
            "time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "process": _process_label,
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        members.update(
            (name, value) for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES
        )
        details = _details(self, record)
        if details:
            members["traceback"] = details
        return redact(json.dumps(members, ensure_ascii=False, default=str))


def _one_line(message: str) -> str:
    """Keep a message that contains line breaks from posing as several records."""
    return message.replace("\r", "\\r").replace("\n", "\\n")


def _details(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    parts: list[str] = []
    if record.exc_info and record.exc_info[0] is not None:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return "\n".join(parts)
