"""Rules of messengers: they read letters, deliver them late, twice or never, and look after parents."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from glidemq.commands.command import unpack
from tests.lua.budgets import FUNCTIONS
from tests.model.flows.books import FlowBooks
from tests.model.flows.kin import FlowQueue, Page
from tests.model.flows.producers import picks, somewhere, where
from tests.model.moves import ENDED

# Letters have the server's time, which is ahead of the model's.
LATER_MS = 2**41

TOLD, ALIVE, MISSING = 1, 2, 3


class Post(FlowBooks):
    """Letters between queues."""

    @precondition(lambda self: any(self.letters.values()))
    @rule(
        queue=somewhere,
        limit=st.sampled_from([100, 100, 2]),
        crash=st.sampled_from([False, False, True]),
        order=st.booleans(),
    )
    def carry(self, queue: int, limit: int, crash: bool, order: bool) -> None:
        """crash: the messenger dies after some deliveries, before it clears anything."""
        for home in self.some(queue):
            self.the_server_agrees()  # what the deliveries before have posted
            self.carry_from(home, limit, crash, order)

    def carry_from(
        self, queue: FlowQueue, limit: int = 100, crash: bool = False, order: bool = False
    ) -> None:
        page = self.read_page(queue, limit)
        groups = self.addressed(page)
        if order:
            groups.reverse()
        for kind, to, letters in groups[: len(groups) // 2] if crash else groups:
            self.deliver(kind, to, letters)
        if not crash:
            self.clear(page)

    @precondition(lambda self: any(self.letters.values()) and len(self.pages) < 5)
    @rule(queue=where, limit=st.sampled_from([100, 3]))
    def read_and_freeze(self, queue: int, limit: int) -> None:
        page = self.read_page(self.queues[queue], limit)
        if page.letters:
            self.pages.append(page)

    @precondition(lambda self: self.pages)
    @rule(pick=picks)
    def thaw(self, pick: int) -> None:
        """Deliver what was read long ago."""
        self.deliver_page(self.pages.pop(pick % len(self.pages)))

    def deliver_page(self, page: Page) -> None:
        for kind, to, letters in self.addressed(page):
            self.deliver(kind, to, letters)
        self.clear(page)

    def read_page(self, queue: FlowQueue, limit: int) -> Page:
        reply = queue.call("read_outbox", limit=limit, after="", min_age_ms=0, now=LATER_MS)
        assert reply[0] == b"ok"
        return Page(queue, [(entry[0], entry[1], entry[2], entry[3]) for entry in reply[1]])

    @staticmethod
    def addressed(page: Page) -> list[tuple[bytes, bytes, list[bytes]]]:
        """One call for each kind and queue."""
        groups: dict[tuple[bytes, bytes], list[bytes]] = {}
        for _, kind, to, body in page.letters:
            groups.setdefault((kind, to), []).append(body)
        return [(kind, to, bodies) for (kind, to), bodies in groups.items()]

    def deliver(self, kind: bytes, to: bytes, bodies: list[bytes]) -> None:
        queue = self.prefixes[to.decode()]
        rows = [unpack(body) for body in bodies]
        if kind == b"child":
            self.hear_children(queue, [[_text(value) for value in row] for row in rows])
        else:
            assert queue.call(FUNCTIONS[kind], rows=rows)[0] == b"ok"

    def clear(self, page: Page) -> None:
        if page.letters:
            assert page.queue.call("clear_outbox", entries=[letter[0] for letter in page.letters])[0] == b"ok"

    # -- parents that have waited for long

    def look_after_parents_of(self, queue: FlowQueue) -> None:
        status, due = queue.call("check_parents", limit=100)
        assert status == b"ok"
        for parent_id in due:
            self.look_after(queue, parent_id.decode())

    def look_after(self, queue: FlowQueue, parent_id: str) -> None:
        page = queue.call("get_children", id=parent_id, cursor="0")
        if page[0] == b"missing":
            return
        assert page[2] == b"0"
        awaited = [name.decode() for name, done, _, _ in page[1] if not done]
        kin = self.kin.get(parent_id)
        if kin is not None:
            assert set(awaited) == kin.awaited - kin.done
        missing = [name for name in awaited if self.ask(queue, parent_id, name) == MISSING]
        if missing:
            self.hear_children(queue, [[parent_id, name, "missing", False] for name in missing])

    def ask(self, queue: FlowQueue, parent_id: str, name: str) -> int:
        """Have a child tell its parent once more; the code."""
        prefix, _, child_id = name.rpartition(":")
        row = [child_id, queue.key("").removesuffix(":"), parent_id]
        status, [code], _ = self.prefixes[prefix].call("tell_again", rows=[row])
        assert status == b"ok"
        child = self.kin.get(child_id)
        state = self.prefixes[prefix].state(child_id)  # it may have ended since the last picture
        assert code == (MISSING if child is None else TOLD if state in ENDED else ALIVE)
        if child is not None and state in ENDED:
            self.tell(child, parent_id, "completed" if state == "completed" else child.means)
        found: int = code
        return found


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
