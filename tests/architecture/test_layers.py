"""Imports go downward only, as the contracts in pyproject.toml say, and the contracts can be broken."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.architecture.repository import PACKAGE_TREES, ROOT, repository_files

LINT_IMPORTS = "from importlinter.cli import lint_imports_command as run; run()"

# One line per contract that breaks it, and the file it goes into.
OFFENCES = {
    "layers": ("runtime/glidemq/errors.py", "import glidemq.commands.command"),
    "roots": ("runtime/glidemq/clock.py", "import glidemq_supervisor.cli"),
    "library-source": ("runtime/glidemq/clock.py", "import glidemq_lua"),
    "supervisor-is-alone": ("supervisor/glidemq_supervisor/signals.py", "import glidemq.connection"),
    "supervisor-has-no-loop": ("supervisor/glidemq_supervisor/signals.py", "import asyncio"),
    "one-server-client": ("runtime/glidemq/clock.py", "import glide"),
    "no-code-from-payloads": ("runtime/glidemq/clock.py", "import pickle"),
}


def lint(root: Path) -> subprocess.CompletedProcess[str]:
    trees = ":".join(str(root / tree) for tree in PACKAGE_TREES)
    return subprocess.run(
        [sys.executable, "-c", LINT_IMPORTS, "--no-cache", "--no-logo"],
        cwd=root,
        env={"PYTHONPATH": trees, "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )


def contracts() -> dict[str, str]:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {
        contract["id"]: contract["name"] for contract in configuration["tool"]["importlinter"]["contracts"]
    }


def test_every_import_contract_is_kept() -> None:
    checked = lint(ROOT)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_import_contract_notices_its_offence(tmp_path: Path) -> None:
    for file in repository_files():
        if file.suffix == ".py" and file.relative_to(ROOT).parts[0] in PACKAGE_TREES:
            copy = tmp_path / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    assert set(OFFENCES) == set(contracts())
    for path, line in OFFENCES.values():
        with (tmp_path / path).open("a") as file:
            file.write(f"\n{line}\n")

    checked = lint(tmp_path)

    broken = set(re.findall(r"^(.+?) BROKEN", checked.stdout, re.MULTILINE))
    assert broken == set(contracts().values()), checked.stdout + checked.stderr
