"""What an import leaves behind, found and named."""

from __future__ import annotations

import asyncio
import socket
import threading

import uvloop

from glidemq_supervisor.preload_inspection import leftovers, native_threads, open_sockets


def new_leftovers(before: list[str], sockets: frozenset[int]) -> list[str]:
    return [found for found in leftovers(sockets) if found not in before]


def test_thread_is_found_by_name() -> None:
    sockets = open_sockets()
    before = leftovers(sockets)
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="metrics-pusher")
    thread.start()
    try:
        assert new_leftovers(before, sockets) == ["a running thread 'metrics-pusher'"]
        assert "metrics-pusher" not in " ".join(native_threads())
    finally:
        release.set()
        thread.join()
    assert new_leftovers(before, sockets) == []


def test_event_loop_is_found_until_it_is_closed_and_its_own_sockets_are_not_counted_again() -> None:
    sockets = open_sockets()
    before = leftovers(sockets)
    loop = asyncio.SelectorEventLoop()
    assert new_leftovers(before, sockets) == ["an event loop (asyncio.unix_events._UnixSelectorEventLoop)"]
    loop.close()
    assert new_leftovers(before, sockets) == []


def test_uvloop_is_found() -> None:
    sockets = open_sockets()
    before = leftovers(sockets)
    loop = uvloop.new_event_loop()
    assert any("an event loop (uvloop" in found for found in new_leftovers(before, sockets))
    loop.close()


def test_connection_is_found_with_its_peer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sockets = open_sockets()
        before = leftovers(sockets)
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            found = new_leftovers(before, sockets)
            assert found == [f"an open connection to 127.0.0.1:{port} (descriptor {client.fileno()})"]
        assert new_leftovers(before, sockets) == []


def test_lazy_server_client_is_found_by_its_class() -> None:
    async def make() -> list[str]:
        from glide import GlideClient, GlideClientConfiguration, NodeAddress

        client = await GlideClient.create(
            GlideClientConfiguration([NodeAddress("127.0.0.1", 9)], lazy_connect=True)
        )
        found = leftovers(open_sockets())
        await client.close()
        return found

    assert "a Valkey client (glide.glide_client.GlideClient)" in asyncio.run(make())
