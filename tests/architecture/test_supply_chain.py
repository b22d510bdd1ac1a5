"""What is installed is pinned by hash; where it comes from is the machine's business, not the project's."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
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


def locked(name: str) -> dict[str, str]:
    """Package -> version of a lock file, every line of which must carry a hash."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    versions: dict[str, str] = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            pinned = re.match(r"([\w.-]+)==(\S+)(?: ;[^#]*?)?\s+--hash=sha256:[0-9a-f]{64}", line)
            assert pinned is not None, line
            versions[pinned[1].lower()] = pinned[2]
    return versions


def names_of(requirements: Iterable[str]) -> set[str]:
    return {re.split(r"[\[<>=;\s]", requirement)[0].lower() for requirement in requirements}


def test_every_declared_dependency_is_pinned_by_hash() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    everything = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    assert names_of(everything) <= set(locked("requirements-dev.lock"))
    assert names_of(project["dependencies"]) <= set(locked("requirements.lock"))


def test_a_deployment_gets_the_versions_that_the_tests_ran_with() -> None:
    assert locked("requirements.lock").items() <= locked("requirements-dev.lock").items()


def test_every_node_package_of_the_benchmarks_is_pinned_without_a_download_address() -> None:
    lock = json.loads((ROOT / "bench/node/package-lock.json").read_text())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert "node_modules/bullmq" in packages
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not [name for name, package in packages.items() if "resolved" in package]
