"""What an import may pull in: the server client costs half a second, and a thread does not survive a fork."""

from __future__ import annotations

import subprocess
import sys


def imported_by(statements: str) -> set[str]:
    """The top-level modules in memory after these statements in a fresh, single-threaded interpreter."""
    script = f"""
import sys, threading
{statements}
assert threading.active_count() == 1, threading.enumerate()
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_every_public_name_does_not_import_the_server_client() -> None:
    modules = imported_by("import glidemq\nfor name in glidemq.__all__: getattr(glidemq, name)")
    assert "glidemq" in modules
    assert not modules & {"glide", "glide_shared", "glide_sync"}


def test_the_supervisor_s_own_imports_hold_no_event_loop_and_no_client() -> None:
    modules = imported_by("import glidemq_supervisor.cli, glidemq_supervisor.supervisor")
    assert not modules & {"glide", "glide_shared", "uvloop", "asyncio", "orjson", "msgpack", "zstandard"}


def test_what_an_actor_process_imports_does_not_import_the_server_client() -> None:
    modules = imported_by("import glidemq.process.actor_process")
    assert not modules & {"glide", "glide_shared", "glide_sync"}


def test_the_gateway_does_not_import_any_app() -> None:
    modules = imported_by(
        "import glidemq.process.gateway\n"
        "assert not [name for name in sys.modules if name.startswith('glidemq.examples')]\n"
        "assert 'glidemq.app' not in sys.modules"
    )
    assert "glidemq" in modules
