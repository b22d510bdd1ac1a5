"""The deployment files start what there is, with options and variables that there are, and leave time to drain."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from glidemq.config import load_runtime_config
from glidemq.config.runtime_config import SETTINGS
from glidemq.config.sources import OTHER_VARIABLES
from glidemq_supervisor.cli import build_parser
from tests.architecture.repository import ROOT, repository_files
from tests.docs.document import PAGES

DEPLOY = ROOT / "deploy"
DAEMONSET = (DEPLOY / "kubernetes/daemonset.yaml").read_text()
SERVICE = (DEPLOY / "systemd/glidemq.service").read_text()
DOCKERFILE = (DEPLOY / "docker/Dockerfile").read_text()
VARIABLES = {f"GLIDEMQ_{name.upper()}" for name in SETTINGS} | OTHER_VARIABLES
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


def kubernetes_commands() -> list[list[str]]:
    return [json.loads(match) for match in re.findall(r"^ +args: (\[.*\])$", DAEMONSET, re.MULTILINE)]


def service_command() -> list[str]:
    match = re.search(r"^ExecStart=(.+)$", SERVICE, re.MULTILINE)
    assert match is not None
    return shlex.split(match[1])[1:]


def docker_command() -> list[str]:
    match = re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert match is not None
    command: list[str] = json.loads(match[1])
    return command


def settings_of(command: list[str], environment: dict[str, str], directory: Path) -> Any:
    """The configuration that this command would run with."""
    arguments = vars(build_parser().parse_args([word for word in command if word != "check"]))
    given = {name: value for name, value in arguments.items() if name in SETTINGS}
    return load_runtime_config(given, environ=environment, directory=directory).config


def service_environment(tmp_path: Path) -> dict[str, str]:
    pairs = re.findall(r"^Environment=(\w+)=(.*)$", SERVICE, re.MULTILINE)
    (tmp_path / "valkey-password").write_text("secret\n")
    return {name: value.replace("%d", str(tmp_path)) for name, value in pairs}


def kubernetes_environment(tmp_path: Path) -> dict[str, str]:
    pairs = re.findall(r'^ +- name: (GLIDEMQ_\w+)\n +value: "?([^"\n]+)"?$', DAEMONSET, re.MULTILINE)
    (tmp_path / "password").write_text("secret\n")
    return {name: value.replace("/run/secrets/glidemq", str(tmp_path)) for name, value in pairs}


def test_the_service_and_its_time_to_drain_fit_the_command_line(tmp_path: Path) -> None:
    config = settings_of(service_command(), service_environment(tmp_path), tmp_path)
    assert config.app == "yourapp.jobs:app"
    assert config.connection.tls
    stop_s = re.search(r"^TimeoutStopSec=(\d+)$", SERVICE, re.MULTILINE)
    assert stop_s is not None and int(stop_s[1]) >= config.drain_timeout + config.kill_grace
    start_s = re.search(r"^TimeoutStartSec=(\d+)$", SERVICE, re.MULTILINE)
    assert start_s is not None and int(start_s[1]) > config.start_timeout


def test_the_pod_and_its_time_to_drain_fit_the_command_line(tmp_path: Path) -> None:
    check, run = kubernetes_commands()
    assert check == ["check"]
    config = settings_of(run, kubernetes_environment(tmp_path), tmp_path)
    assert (config.app, config.procs, config.log_format) == ("yourapp.jobs:app", "auto", "json")
    grace_s = re.search(r"^ +terminationGracePeriodSeconds: (\d+)$", DAEMONSET, re.MULTILINE)
    assert grace_s is not None and int(grace_s[1]) >= config.drain_timeout + config.kill_grace


def test_the_image_s_command_fits_the_command_line(tmp_path: Path) -> None:
    config = settings_of(docker_command(), {"GLIDEMQ_URL": "valkey://127.0.0.1:9"}, tmp_path)
    assert (config.procs, config.log_format) == ("auto", "json")
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    missing = [name for line in copied for name in line.split() if not (ROOT / name).exists()]
    assert missing == []


def test_every_deployment_forbids_the_embedded_server() -> None:
    assert 'GLIDEMQ_EMBEDDED\n              value: "0"' in DAEMONSET
    assert "Environment=GLIDEMQ_EMBEDDED=0" in SERVICE
    assert "GLIDEMQ_EMBEDDED=0" in DOCKERFILE


def test_every_variable_that_a_page_or_a_deployment_file_names_exists() -> None:
    pages = [*PAGES, *(file for file in repository_files() if file.is_relative_to(DEPLOY))]
    unknown = {
        f"{page.relative_to(ROOT)}: {name}"
        for page in pages
        for name in re.findall(r"\bGLIDEMQ_[A-Z][A-Z_]*\b", page.read_text())
        if name not in VARIABLES
    }
    assert unknown == set()


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CHANGELOG.md", ROOT / "ARCHITECTURE.md"], ids=lambda page: page.stem
)
def test_every_link_of_the_page_leads_to_a_file(page: Path) -> None:
    broken = [
        target
        for target in LINK.findall(FENCED.sub("", page.read_text()))
        if not (page.parent / target).exists()
    ]
    assert broken == []
