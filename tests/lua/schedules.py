"""The schedulers of a driven queue: set up and ticked through the library, or written as Node writes them."""

from __future__ import annotations

import json
from typing import Any

from glidemq.commands.fire_schedulers import FireSchedulersCommand, SchedulerTick
from glidemq.options.cron import next_cron_run
from tests.lua.driven_queue import DrivenQueue

TOKEN = "0123456789abcdef"


class Schedules:
    """Every method is one call at the driven queue's time, or a plain read or write."""

    def __init__(self, driven: DrivenQueue) -> None:
        self.driven = driven

    @property
    def now(self) -> int:
        return self.driven.now

    # -- setting up

    def upsert(self, name: str, **members: Any) -> dict[str, Any]:
        """`upsert("s", every=300, template={...})`; returns the entry as stored."""
        status, raw = self.try_upsert(name, **members)
        assert status == "ok", status
        stored: dict[str, Any] = json.loads(raw)
        return stored

    def try_upsert(self, name: str, **members: Any) -> tuple[str, Any]:
        """The reply's status, and what follows it."""
        template = members.pop("template", {})
        entry = {**members, "iterationCount": 0, "template": template}
        timing: dict[str, Any] = {}
        if "pattern" in members:
            after = max(self.now, members.get("startDate", 0)) - 1
            timing = {
                "first_run": next_cron_run(members["pattern"], members.get("tz"), after) or False,
                "asked_at": self.now,
            }
        reply = self.driven.call("upsert_scheduler", name=name, entry=dump(entry), **timing)
        return reply[0].decode(), reply[1] if len(reply) > 1 else None

    def write(self, name: str, entry: dict[str, Any] | str) -> None:
        """Store an entry with a plain command."""
        text = entry if isinstance(entry, str) else dump(entry)
        self.driven.client.hset(self.driven.key("schedulers"), name, text)

    def remove(self, name: str) -> str:
        status: bytes = self.driven.call("remove_scheduler", name=name)[0]
        return status.decode()

    def end_unseen(self, job_id: str, state: str, ended_at: int) -> None:
        """As expiry or revocation by Node leave a run: an ended job is in no set of those to come.

        One that is in both is being retried by hand: Node writes that set before the state.
        """
        client, key = self.driven.client, self.driven.key
        client.zrem(key("scheduled"), job_id)
        client.zadd(key(state), {job_id: ended_at})
        client.hset(key(f"job:{job_id}"), mapping={"state": state, "finishedOn": ended_at})

    # -- ticking

    def tick_once(
        self, *, token: str = TOKEN, lock_ms: int = 1000, limit: int = 100, following: Any = ()
    ) -> SchedulerTick:
        """One call."""
        reply = self.driven.call(
            "fire_schedulers", token=token, lock_ms=lock_ms, limit=limit, following=list(following)
        )
        return FireSchedulersCommand("", token=token, lock_ms=lock_ms, limit=limit).parse_reply(reply)

    def tick(self, *, token: str = TOKEN, limit: int = 100) -> list[tuple[str, str]]:
        """A whole tick, cron patterns followed: the (scheduler, job id) that fired."""
        fired: list[tuple[str, str]] = []
        tick = self.tick_once(token=token, limit=limit)
        while True:
            assert tick.busy_ms is None
            fired += [(name.decode(), job_id.decode()) for name, job_id in tick.fired]
            if not tick.wanted and not 0 <= tick.next_look_ms <= tick.now_ms:
                return fired
            following = [
                slot.followed_by(
                    next_cron_run(slot.pattern.decode(), slot.tz.decode() if slot.tz else None, tick.now_ms)
                )
                for slot in tick.wanted
            ]
            tick = self.tick_once(token=token, limit=limit, following=following)

    def tick_at(self, now: int) -> list[tuple[str, str]]:
        """A whole tick at a time."""
        self.driven.now = now
        return self.tick()

    # -- looking

    def text(self, name: str) -> str | None:
        stored: bytes | None = self.driven.client.hget(self.driven.key("schedulers"), name)
        return None if stored is None else stored.decode()

    def entry(self, name: str) -> dict[str, Any]:
        text = self.text(name)
        assert text is not None, f"there is no scheduler {name}"
        entry: dict[str, Any] = json.loads(text)
        return entry

    def next_run(self, name: str) -> int:
        next_run: int = self.entry(name)["nextRun"]
        return next_run

    def looks(self) -> dict[str, float]:
        return self.driven.members("x-py:schedulers")

    def lock(self) -> str | None:
        holder: bytes | None = self.driven.client.get(self.driven.key("schedulers:lock:__tick__"))
        return None if holder is None else holder.decode()

    def take_lock(self, token: str = "feedfacefeedface") -> None:
        self.driven.client.set(self.driven.key("schedulers:lock:__tick__"), token, px=60_000)

    def drop_lock(self) -> None:
        self.driven.client.delete(self.driven.key("schedulers:lock:__tick__"))


def dump(value: Any) -> str:
    """JSON as JavaScript writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
