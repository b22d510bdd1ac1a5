"""The command as a user types it: what it says, on which stream, with which status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

APP = """\
from glidemq import App

app = App()

@app.processor("thumbnails")
def thumbnail(job):
    return 1

@app.processor("inference", concurrency=5)
async def infer(job):
    return 2
"""

PLAIN = "from glidemq import App\napp = App()\n"

PYPROJECT = """\
[tool.glidemq]
app = "shop:app"
procs = 3
drain_timeout = "20m"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with an app, as a user has it, and no pyproject.toml above it."""
    (tmp_path / "shop.py").write_text(APP)
    return tmp_path


def run(place: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GLIDEMQ_")}
    return subprocess.run(
        [sys.executable, "-m", "glidemq_supervisor", *arguments],
        cwd=place, env={**clean, **environment}, capture_output=True, text=True, timeout=60,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def only_line_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error of a refused start."""
    assert done.returncode == 2, done
    (line,) = done.stderr.splitlines()
    return line


def test_without_an_app_it_says_the_three_ways_to_name_one(place: Path) -> None:
    line = only_line_of(run(place))
    assert "module:app" in line
    assert "GLIDEMQ_APP" in line
    assert "[tool.glidemq]" in line


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["shop:app", "--prcs", "2"], "unrecognized arguments: --prcs 2"),
        (["shop:app", "--procs", "0"], "--procs must be auto or an integer from 1 to 1024, not 0"),
        (["shop:app", "--procs", "many"], "--procs must be auto or an integer from 1 to 1024, not 'many'"),
        (["shop:app", "--log-format", "xml"], "--log-format must be text or json, not 'xml'"),
        (["shop:app", "--drain-timeout", "soon"], "--drain-timeout must look like 30"),
        (["shop:app", "--url", "http://127.0.0.1"], "http"),
        (["shop"], "app must look like package.module:app"),
        (["--procs"], "expected one argument"),
    ],
)
def test_bad_options_are_refused_in_one_line(place: Path, arguments: list[str], expected: str) -> None:
    assert expected in only_line_of(run(place, *arguments))


@pytest.mark.parametrize("arguments", [["shop:app"], ["check", "shop:app"], ["--print-config"]])
def test_password_in_the_url_argument_is_refused_and_not_repeated(place: Path, arguments: list[str]) -> None:
    done = run(place, *arguments, "--url", "valkey://u:hunter2@127.0.0.1:9")
    line = only_line_of(done)
    assert "GLIDEMQ_PASSWORD_FILE" in line
    assert "GLIDEMQ_URL" in line
    assert "hunter2" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("app", "source", "expected"),
    [
        ("nowhere:app", "", "nowhere"),
        ("broken:app", "import no_such_package\n", "no_such_package"),
        ("broken:app", "def (:\n", "broken"),
        ("broken:other", "x = 1\n", "other"),
        ("broken:x", "x = 1\n", "broken"),
        ("broken:app", PLAIN, "@app.processor"),
        ("broken:app", f"{PLAIN}@app.processor('q', concurrency=2)\ndef f(job): ...\n", "queue 'q', f (/"),
        ("broken:app", "raise SystemExit(7)\n", "broken"),
        ("broken:app", "import os; os.kill(os.getpid(), 11)\n", "broken:app"),
    ],
)
def test_app_that_cannot_be_served_is_named_in_one_line(
    place: Path, app: str, source: str, expected: str
) -> None:
    (place / "broken.py").write_text(source)
    done = run(place, app, "--url", "valkey://127.0.0.1:9")
    line = only_line_of(done)
    assert expected in line
    assert "Traceback" not in done.stderr


def test_print_config_shows_values_and_sources_with_secrets_redacted(place: Path) -> None:
    (place / "pyproject.toml").write_text(PYPROJECT)
    done = run(place, "--print-config", "--procs", "2", GLIDEMQ_URL="valkey://u:hunter2@127.0.0.1:9")
    assert done.returncode == 0
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert rows["procs"].split()[1:] == ["2", "argument"]
    assert rows["drain_timeout"].split()[1] == "1200"
    assert "pyproject.toml" in rows["drain_timeout"]
    assert rows["kill_grace"].split()[1:] == ["5", "default"]
    assert "hunter2" not in done.stdout + done.stderr


def test_check_imports_the_app_and_shows_the_layout_without_a_server(place: Path) -> None:
    done = run(place, "check", "shop:app", "--procs", "2", "--url", "valkey://127.0.0.1:9")
    assert done.returncode == 0, done.stderr
    assert "app: shop:app serves thumbnails (sync), inference (async)" in done.stdout
    assert "cell 0: 1 gateway, 2 sync, 2 async actors at the start (room for 8 in all)" in done.stdout


def test_server_that_the_app_names_is_used_where_nothing_else_names_one(place: Path) -> None:
    (place / "shop.py").write_text(APP.replace("App()", 'App("valkey://u:hunter2@10.1.2.3:77")'))
    done = run(place, "check", "shop:app")
    assert done.returncode == 0, done.stderr
    assert "10.1.2.3:77" in done.stdout.split("server: ")[1].splitlines()[0]
    assert "hunter2" not in done.stdout + done.stderr
    assert not (place / ".glidemq").exists()
    done = run(place, "check", "shop:app", GLIDEMQ_URL="valkey://127.0.0.1:9")
    assert "127.0.0.1:9" in done.stdout.split("server: ")[1].splitlines()[0]


def test_layout_that_cannot_work_is_refused_before_anything_starts(place: Path) -> None:
    line = only_line_of(
        run(place, "shop:app", "--procs", "1", "--cells", "2", "--url", "valkey://127.0.0.1:9")
    )
    assert "--cells 2 needs at least as many actor processes" in line


def test_check_of_a_broken_app_fails(place: Path) -> None:
    (place / "broken.py").write_text("import no_such_package\n")
    done = run(place, "check", "broken:app", "--url", "valkey://127.0.0.1:9")
    assert done.returncode == 2
    assert "no_such_package" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_version(place: Path) -> None:
    done = run(place, "--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "glidemq")
