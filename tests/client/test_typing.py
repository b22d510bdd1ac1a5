"""Users' type checkers are content with what the documents show, and catch the usual mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import glidemq

SAMPLES = sorted(Path(__file__).parent.glob("typing_samples*.py"))
ROOT = Path(__file__).resolve().parents[2]
# Told where the package is, since checkers cannot follow the import hook of an editable installation.
PACKAGE_PARENT = Path(glidemq.__file__).resolve().parents[1]


def test_mypy_strict_accepts_the_samples(tmp_path: Path) -> None:
    settings = ["--config-file=", "--strict", "--warn-unreachable", "--follow-imports=silent"]
    check = [sys.executable, "-m", "mypy", *settings, f"--cache-dir={tmp_path}", *map(str, SAMPLES)]
    environment = {**os.environ, "MYPYPATH": str(PACKAGE_PARENT)}
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pyright_strict_accepts_the_samples(tmp_path: Path) -> None:
    settings = {
        "include": ["typing_samples*.py"],
        "extraPaths": [str(PACKAGE_PARENT)],
        "typeCheckingMode": "strict",
        "reportUnnecessaryTypeIgnoreComment": True,
        "enableTypeIgnoreComments": False,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    for samples in SAMPLES:
        (tmp_path / samples.name).write_text(samples.read_text())
    check = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
