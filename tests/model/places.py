"""Where a job may stand, by its state, and what the counts of a queue must be."""

from __future__ import annotations

from collections import Counter

from tests.model.picture import Picture

PLACES = {
    "waiting": {"stream", "list", "delivered"},
    "active": {"delivered", "cell"},
    "delayed": {"scheduled"},
    "prioritized": {"scheduled"},
    "group-waiting": {"parked"},
    "waiting-children": {"parents"},
    "suspended": {"suspended"},
    "completed": {"completed"},
    "failed": {"failed"},
}
COUNTED = ("waiting", "active", "delayed", "prioritized", "completed", "failed", "suspended")


def places_of(picture: Picture) -> dict[str, list[str]]:
    """Everywhere each job stands."""
    places: dict[str, list[str]] = {}

    def stands(job_id: str, where: str) -> None:
        places.setdefault(job_id, []).append(where)

    for entry_id, job_id in picture.entries:
        stands(job_id, "delivered" if picture.holder(entry_id) else "stream")
    for ids in picture.lists.values():
        for job_id in ids:
            stands(job_id, "list")
    for name in ("scheduled", "completed", "failed", "suspended"):
        for job_id in picture.sets[name]:
            stands(job_id, name)
    for cell in picture.cells.values():
        for job_id in cell:
            stands(job_id, "cell")
    for ids in picture.parked.values():
        for job_id in ids:
            stands(job_id, "parked")
    for job_id in picture.sets["x-py:parents"]:
        # Who waits no more may be looked at once more.
        if picture.state(job_id) == "waiting-children":
            stands(job_id, "parents")
    return places


def counts_of(picture: Picture) -> dict[str, int]:
    """What get_counts must say."""
    states = Counter(job["state"] for job in picture.jobs.values())
    delivered = {job_id for entry_id, job_id in picture.entries if picture.holder(entry_id)}
    unstarted = sum(picture.state(job_id) == "waiting" for job_id in delivered)
    expected = {state: states[state] for state in COUNTED}
    expected["delayed"] += states["prioritized"]
    expected["waiting"] -= unstarted
    expected["active"] += unstarted
    return expected
