"""The order of a graph's nodes: nobody before those it depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glidemq.errors import CycleError, ValidationError

Dependencies = Mapping[str, Sequence[str]]
"""Node name -> the names that it depends on, in the order in which the nodes were given."""


def dependencies_of(nodes: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What each node depends on, each name once.

    Raises ValidationError: a name that is given twice, or dependencies that are no list of names.
    """
    found: dict[str, list[str]] = {}
    for node in nodes:
        if not isinstance(node, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - users err
            raise ValidationError(f"a DAG node must be a mapping, not {type(node).__name__}")
        name, deps = node.get("name"), node.get("deps")
        if not isinstance(name, str) or not name:
            raise ValidationError(f"a DAG node needs a name, a non-empty string, not {name!r:.40}")
        if name in found:
            raise ValidationError(f"Duplicate node name: {name}")
        if isinstance(deps, str) or not isinstance(deps or (), Sequence):
            raise ValidationError(f'deps of DAG node "{name}" must be a list of names')
        found[name] = list(dict.fromkeys(deps or ()))
    return found


def validate_dag(nodes: Iterable[Mapping[str, Any]]) -> None:
    """Check a graph as `FlowProducer.add_dag` does.

    nodes: mappings with `name` and `deps`.
    Raises ValidationError: "Duplicate node name: …", 'Node "…" depends on unknown node "…"'; CycleError.
    """
    topo_sort(nodes)


def topo_sort(nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of a graph's nodes, each after those it depends on; else in the order given.

    Raises as `validate_dag` does.
    """
    dependencies = dependencies_of(nodes)
    for name, deps in dependencies.items():
        for dep in deps:
            if dep not in dependencies:
                raise ValidationError(f'Node "{name}" depends on unknown node "{dep}"')
    return sorted(dependencies, key=levels_of(dependencies).__getitem__)


def levels_of(dependencies: Dependencies) -> dict[str, int]:
    """Node name -> the length of the longest way down from it: 0 for those that depend on nobody. Raises CycleError."""
    levels: dict[str, int] = {}
    for start in dependencies:
        path = {start: iter(dependencies[start])}  # each depends on the next one
        while path:
            name, left = next(reversed(path.items()))
            missing = next((dep for dep in left if dep not in levels), None)
            if missing is None:
                levels[name] = 1 + max((levels[dep] for dep in dependencies[name]), default=-1)
                del path[name]
            elif missing in path:
                names = list(path)
                raise CycleError([*names[names.index(missing) :], missing])
            else:
                path[missing] = iter(dependencies[missing])
    return levels
