"""The configuration guide names every setting and variable, with the defaults that hold."""

from __future__ import annotations

import dataclasses
import re

from glidemq.config.connection_url import QUERY_MEMBERS, SCHEMES
from glidemq.config.runtime_config import SETTINGS, RuntimeConfig
from glidemq.config.sources import OTHER_VARIABLES
from glidemq_supervisor.cli import build_parser
from tests.architecture.repository import ROOT

GUIDE = (ROOT / "deploy/docs/configuration.md").read_text()
# Defaults that depend on something else, in words.
DERIVED = {"import_path": "see below", "max_procs": "2 x `procs`"}


def documented_defaults() -> dict[str, str]:
    section = GUIDE.partition("## Settings")[2].partition("## Connection")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", section, re.MULTILINE))


def test_every_argument_is_listed_and_no_other() -> None:
    section = GUIDE.partition("## Settings")[2].partition("```")[0]
    options = {option for action in build_parser()._actions for option in action.option_strings}
    settings = {"--" + name.replace("_", "-") for name in SETTINGS}
    assert set(re.findall(r"`(--[\w-]+)`", section)) == options & settings


def shown(value: object) -> str:
    if value is None or value == ():
        return "none"
    text = (
        str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else value
    )
    return f"`{text}`"


def test_every_setting_is_documented_in_order_with_its_default() -> None:
    defaults = {field.name: shown(field.default) for field in dataclasses.fields(RuntimeConfig)}
    expected = {name: DERIVED.get(name, defaults[name]) for name in SETTINGS}
    assert documented_defaults() == expected
    assert list(documented_defaults()) == list(expected)


def test_every_scheme_variable_and_parameter_is_documented() -> None:
    section = GUIDE.partition("## Connection")[2]
    for name in (*(f"{scheme}://" for scheme in SCHEMES), *OTHER_VARIABLES, "GLIDEMQ_URL", *QUERY_MEMBERS):
        assert f"`{name}" in section, name
