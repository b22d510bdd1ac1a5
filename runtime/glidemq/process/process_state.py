"""What the kernel says about another process."""

from __future__ import annotations

from pathlib import Path


def is_stopped(pid: int) -> bool:
    """True when the process is stopped by a signal (state T) or traced (t); False when it runs or is gone."""
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    # The state follows the command name, which may itself hold spaces and brackets.
    return status[status.rfind(b")") + 2 : status.rfind(b")") + 3] in (b"T", b"t")
