"""A driven queue whose jobs belong to ordering groups."""

from __future__ import annotations

from typing import Any

from tests.lua.driven_queue import DrivenQueue

KEY = "k"


class GroupedQueue(DrivenQueue):
    """Adds to groups and looks at them; whatever does not say which group means `KEY`."""

    @staticmethod
    def extra(
        key: str = KEY,
        *,
        concurrency: int | None = None,
        rate: tuple[int, int] | None = None,
        bucket: tuple[int, int] | None = None,
        cost: int | None = None,
    ) -> dict[str, Any]:
        """rate: starts and milliseconds; bucket: millitokens and millitokens a second; cost: millitokens."""
        ordering: dict[str, Any] = {"key": key}
        if concurrency is not None:
            ordering["concurrency"] = concurrency
        if rate is not None:
            ordering["rate_max"], ordering["rate_duration_ms"] = rate
        if bucket is not None:
            ordering["tb_capacity"], ordering["tb_refill"] = bucket
        return {"ordering": ordering} if cost is None else {"ordering": ordering, "cost": cost}

    def join(self, count: int = 1, *, own: dict[str, Any] | None = None, **settings: Any) -> list[str]:
        """Add `count` jobs to a group, `own` being their further options. Returns their ids."""
        row = self.row(**(own or {}), extra=self.extra(**settings))
        status, ids, _ = self.enqueue(*[row] * count)
        assert status == b"ok"
        return [job_id.decode() for job_id in ids]

    def group(self, key: str = KEY) -> dict[str, int]:
        """The group's hash without fields of this library's own."""
        stored = self.client.hgetall(self.key(f"group:{key}"))
        return {name.decode(): int(value) for name, value in stored.items() if not name.startswith(b"x-py:")}

    def active(self, key: str = KEY) -> int:
        """Slots that are held."""
        return self.group(key).get("active", 0)

    def next_seq(self, key: str = KEY) -> int:
        return self.group(key)["nextSeq"]

    def parked(self, key: str = KEY) -> list[str]:
        """The parked jobs in their order."""
        return [member.decode() for member in self.client.zrange(self.key(f"groupq:{key}"), 0, -1)]

    def wakes(self) -> dict[str, int]:
        """The groups that wait for a time."""
        return {key: int(at) for key, at in self.members("ratelimited").items()}

    def work_off(self, *, slots: int = 4, limit: int = 200) -> list[str]:
        """Start and complete, letting the time pass that the library asks for; the ids in the order of starts."""
        order: list[str] = []
        done: list[Any] = []
        for _ in range(limit):
            stepped = self.step(slots, complete=[self.completion(job) for job in done])
            assert all(code == 1 for code in stepped.outcomes)
            order += stepped.ids
            done = stepped.started
            if not done and not stepped.more:
                if stepped.next_due < 0:
                    return order
                self.pass_time(max(stepped.next_due - self.now, 0))
        raise AssertionError(f"not at an end after {limit} steps: {order}")
