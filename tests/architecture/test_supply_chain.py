"""What is installed is pinned by hash; where it comes from is the machine's business, not the project's."""

from __future__ import annotations

import json
import re
import tomllib
from itertools import chain
from pathlib import Path

from tests.architecture.repository import ROOT, repository_files

URL = re.compile(r"\b(?:https?|git\+\w+|ssh)://[^\s\"'<>)\]`,]+")
# Hosts that are documentation, or this machine. A host to download from is never among them.
KNOWN_HOSTS = frozenset({"www.apache.org", "opencollective.com", "127.0.0.1", "localhost"})
# Reserved for examples and tests.
RESERVED_SUFFIXES = (".example", ".invalid", ".test", ".internal", "example.com", "example.org")


def text_of(file: Path) -> str:
    return file.read_bytes().decode("utf-8", errors="replace")


def host_of(url: str) -> str:
    return re.split(r"[/?#]", url.partition("://")[2])[0].rpartition("@")[2].partition(":")[0]


def test_no_file_names_a_host_to_download_from() -> None:
    strangers = {
        f"{file.relative_to(ROOT)}: {url}"
        for file in repository_files()
        for url in URL.findall(text_of(file))
        if (host := host_of(url)) not in KNOWN_HOSTS and not host.endswith(RESERVED_SUFFIXES)
    }
    assert strangers == set()


def test_every_python_package_is_pinned_by_hash() -> None:
    text = (ROOT / "requirements-dev.lock").read_text().replace("\\\n", " ")
    requirements = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert len(requirements) > 30
    for requirement in requirements:
        assert re.match(r"[\w.-]+==\S+(?: ;.*)?\s+--hash=sha256:[0-9a-f]{64}", requirement), requirement


def test_the_lock_covers_every_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    names = {re.split(r"[\[<>=;\s]", requirement)[0].lower() for requirement in declared}
    locked = re.findall(r"^([\w.-]+)==", (ROOT / "requirements-dev.lock").read_text(), re.MULTILINE)
    assert names <= {name.lower() for name in locked}


def test_every_node_package_of_the_benchmarks_is_pinned_without_a_download_address() -> None:
    lock = json.loads((ROOT / "bench/node/package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert "node_modules/bullmq" in packages
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not [name for name, package in packages.items() if "resolved" in package]
