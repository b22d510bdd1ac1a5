"""The options `parent` and `parents`: which jobs wait for a new one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from glidemq.errors import ValidationError
from glidemq.options.names import check_job_id, check_queue_name
from glidemq.options.nested import unknown_name

MAX_PARENTS = 1000


class ParentJob(NamedTuple):
    """Where a parent is: the name of its queue, and its id there."""

    queue: str
    id: str


def parent_to_wire(value: object) -> dict[str, str]:
    """A parent as the options store it; ValidationError for what is none."""
    if isinstance(value, ParentJob):
        value = value._asdict()
    if not isinstance(value, Mapping):
        raise ValidationError(f"parent must be a ParentJob or a mapping with queue and id, not {value!r:.40}")
    given = cast("Mapping[str, Any]", value)
    for name in given:
        if name not in ParentJob._fields:
            raise unknown_name(name, list(ParentJob._fields), "field of parent")
    return {"queue": check_queue_name(given.get("queue")), "id": check_job_id(given.get("id"))}


def parents_to_wire(value: object) -> list[dict[str, str]]:
    """Several parents as the options store them; ValidationError for what is none."""
    if isinstance(value, (str, Mapping, ParentJob)) or not isinstance(value, Sequence) or not value:
        raise ValidationError(f"parents must be a list of parents, and not empty; not {value!r:.40}")
    given = cast("Sequence[object]", value)
    if len(given) > MAX_PARENTS:
        raise ValidationError(f"a job has at most {MAX_PARENTS} parents, not {len(given)}")
    return [parent_to_wire(parent) for parent in given]


def parent_from_wire(value: Any) -> ParentJob:
    """A stored parent; raises what makes no sense of it."""
    return ParentJob(str(value["queue"]), str(value["id"]))


def parents_from_wire(value: Any) -> list[ParentJob]:
    """Stored parents; raises what makes no sense of them."""
    return [parent_from_wire(parent) for parent in value]
