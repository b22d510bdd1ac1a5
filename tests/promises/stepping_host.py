"""One host of several that serve a queue at once: a process of its own that takes and finishes jobs as fast as it can.

`python -m tests.promises.stepping_host <socket> <queue> <consumer> <jobs> <share>` runs until `jobs` jobs have
completed on all hosts together, then prints what it saw as JSON. `share` of what it holds after a step it gives back.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

import valkey

from glidemq.commands.command import pack, unpack

WITHIN_S = 60.0
MOST_SLOTS = 4


class SteppingHost:
    """Takes up to four jobs at a time, finishes some of them and gives others back, at random.

    Owns: its connection. Stops when all jobs have completed, or after a minute.
    """

    def __init__(self, client: valkey.Valkey, queue: str, consumer: str, given_back: float) -> None:
        self._client = client
        self._meta = f"glide:{{{queue}}}:meta"
        self._completed = f"glide:{{{queue}}}:completed"
        self._consumer = consumer
        self._given_back = given_back
        self._random = random.Random(consumer)
        self._held: list[list[Any]] = []
        self._steps = 0
        self.most_active = 0
        self.finished: list[str] = []

    def run(self, jobs: int) -> None:
        deadline = time.monotonic() + WITHIN_S
        while self._client.zcard(self._completed) < jobs and time.monotonic() < deadline:
            self._step(self._take_some(0.5))
            self.most_active = max(self.most_active, self._call("get_counts")[1][b"active"])
            self._give_back(self._take_some(self._given_back))

    def _call(self, function: str, **arguments: Any) -> list[Any]:
        reply: list[Any] = unpack(
            self._client.fcall(f"gmq_{function}", 1, self._meta, pack({"v": 1, **arguments}))
        )
        assert reply[0] == b"ok", reply
        return reply

    def _take_some(self, share: float) -> list[list[Any]]:
        taken = [job for job in self._held if self._random.random() < share]
        self._held = [job for job in self._held if job not in taken]
        return taken

    def _step(self, done: list[list[Any]]) -> None:
        self._steps += 1
        _, _, outcomes, activations, _ = self._call(
            "step",
            consumer=self._consumer,
            cell=self._consumer,
            run=f"{self._consumer}-{self._steps}",
            complete=[[*job, "null", False] for job in done],
            slots=self._random.randint(1, MOST_SLOTS),
            ahead=self._random.randint(0, MOST_SLOTS),
            claimed=[],
            max_bytes=1 << 20,
        )
        assert outcomes == [1] * len(done)
        self.finished += [job[0].decode() for job in done]
        self._held += [[job[1], job[2], job[6], job[3]] for job in activations]

    def _give_back(self, jobs: list[list[Any]]) -> None:
        rows = [[*job, False] for job in jobs]
        _, _, codes = self._call("release", consumer=self._consumer, rows=rows, max_crashes=3)
        assert codes == [1] * len(rows)


def main() -> None:
    socket, queue, consumer, jobs, share = sys.argv[1:]
    client = valkey.Valkey(unix_socket_path=socket, socket_timeout=10)
    host = SteppingHost(client, queue, consumer, float(share))
    host.run(int(jobs))
    client.close()
    sys.stdout.write(json.dumps({"most_active": host.most_active, "finished": host.finished}))


if __name__ == "__main__":
    main()
