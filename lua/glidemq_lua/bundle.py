"""Joins the Lua sources into the one function library that `FUNCTION LOAD` takes."""

from __future__ import annotations

from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

LIBRARY_NAME = "glidemq_py"
# Grows by one with every change of behaviour. A client replaces an older library and leaves a newer one
# alone, so every version must go on serving the calls of the one before it (rolling deploys).
LIBRARY_VERSION = 1

# A structure file is one table, a local of the library, seen by the files after it: dependencies come first.
STRUCTURES = (
    "wire/keys",
    "wire/json_text",
    "wire/json_value",
    "wire/arguments",
    "wire/replies",
    "wire/clock",
    "wire/library",
    "job/states",
    "job/vectors",
    "job/restarts",
    "job/record",
    "job/lease",
    "job/lock",
    "job/retry",
    "queue/events",
    "queue/metrics",
    "queue/usage_buckets",
    "job/usage",
    "job/job_streams",
    "queue/retention",
    "queue/ready",
    "queue/delayed",
    "queue/lanes",
    "queue/active",
    "queue/revocations",
    "queue/rate",
    "queue/limits",
    "queue/token_window",
    "queue/token_gate",
    "queue/allotment",
    "queue/provider_limit",
    "queue/schedulers",
    "queue/dead_letters",
    "queue/replays",
    "queue/letters",
    "job/ending",
    "queue/token_bucket",
    "queue/group_window",
    "queue/group",
    "queue/turns",
    "queue/parking",
    "queue/groups",
    "queue/outbox",
    "flow/dependencies",
    "flow/news",
    "queue/settlement",
    "job/run",
    "queue/giving_back",
    "job/stall",
    "queue/suspension",
    "job/view",
    "queue/subscriptions",
    "queue/promotion",
    "flow/estimate",
    "flow/axes",
    "flow/budget",
    "flow/allowance",
    "queue/manual_retry",
    "queue/ordering",
    "queue/entries",
    "queue/deduplication",
    "queue/adding",
    "queue/scheduler_index",
    "queue/scheduler_runs",
    "queue/firing",
    "queue/intake",
    "queue/job_index",
    "queue/withdrawal",
    "queue/walk",
    "queue/listing",
    "queue/membership",
)


def _sources() -> Traversable:
    return resources.files("glidemq_lua") / "src"


def command_names() -> list[str]:
    """The stems of the command files, each the `gmq_<stem>` of one server function, in alphabetical order."""
    files = (entry.name for entry in (_sources() / "commands").iterdir())
    return sorted(name.removesuffix(".lua") for name in files if name.endswith(".lua"))


def source_of(stem: str) -> str:
    """The text of one source file, for example `queue/events` or `commands/step`."""
    return (_sources() / f"{stem}.lua").read_text(encoding="utf-8")


def _structure(stem: str) -> str:
    """A structure as a block: of its locals only the table, named after the file, is seen by the files after it."""
    table = "".join(word.capitalize() for word in stem.rpartition("/")[2].split("_"))
    declaration = f"local {table} = {{}}\n"
    source = source_of(stem)
    assert source.count(declaration) == 1, f"{stem}.lua must declare its table {table} once"
    block = source.replace(declaration, f"{table} = {{}}\n")
    return f"\nlocal {table}\ndo -- ==== {stem}.lua\n{block}end\n"


@cache
def library_source() -> str:
    """The whole library as one text, the same for the same sources.

    Every file is wrapped in a block of its own: Lua allows 200 locals in one chunk.
    """
    parts = [f"#!lua name={LIBRARY_NAME}\n", f"local LIBRARY_VERSION = {LIBRARY_VERSION}\n"]
    parts += [_structure(stem) for stem in STRUCTURES]
    parts += [
        f"\ndo -- ==== commands/{name}.lua\n{source_of(f'commands/{name}')}end\n" for name in command_names()
    ]
    return "".join(parts)
