"""Writes token streams as fast as it can, from a process of its own, one token at a time in each stream.

python -m glidemq_bench.stream_writer --url URL --how worker      jobs of the queue "streams", by a `Worker`
python -m glidemq_bench.stream_writer --url URL --how xadd --streams 200 --tokens 500

With `xadd` each token is an XADD of its own through valkey-glide, as one would write it by hand: 200 in flight.
"""

from __future__ import annotations

import argparse
import asyncio

import uvloop
from glide import GlideClient, GlideClientConfiguration, NodeAddress

from glidemq import Worker
from glidemq_bench.workloads import TOKEN, put_out

PATIENCE_MS = 10_000  # a busy machine shall slow it down, not end it


async def write_by_hand(host: str, port: int, streams: int, tokens: int) -> None:
    """One XADD per token, each stream waiting for the one before."""
    client = await GlideClient.create(
        GlideClientConfiguration(
            [NodeAddress(host, port)], request_timeout=PATIENCE_MS, inflight_requests_limit=max(streams, 1000)
        )
    )

    async def write(stream: int) -> None:
        for _ in range(tokens):
            await client.xadd(f"by-hand:{stream}", [("t", TOKEN)])

    await asyncio.gather(*(write(stream) for stream in range(streams)))
    await client.close()


async def work(url: str, concurrency: int) -> None:
    """Process the queue's jobs until killed."""
    async with Worker("streams", put_out, connection=url, concurrency=concurrency):
        await asyncio.Event().wait()


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--how", choices=["worker", "xadd"], required=True)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=500)
    options = parser.parse_args()
    if options.how == "worker":
        uvloop.run(work(options.url, options.streams))
    else:
        host, _, port = options.url.removeprefix("valkey://").partition(":")
        uvloop.run(write_by_hand(host, int(port), options.streams, options.tokens))


if __name__ == "__main__":
    main()
