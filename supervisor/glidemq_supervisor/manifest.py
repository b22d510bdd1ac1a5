"""What the app serves, as its probe has found it: reading it, and comparing two of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args

from glidemq.config import RuntimeConfig
from glidemq.config.pools import DEFAULT_POOL, PoolSize
from glidemq.config.suggestion import did_you_mean
from glidemq.errors import ConfigurationError
from glidemq.process_spec import Crew, Role

Manifest = Mapping[str, Any]


def served_here(config: RuntimeConfig, manifest: Manifest) -> Manifest:
    """The manifest without the queues of pools that other hosts serve: `--pool slow=0`.

    Raises:
        ConfigurationError: there is no such pool, or nothing is left.
    """
    elsewhere = {pool for pool, size in config.pool if size == 0}
    if not elsewhere:
        return manifest
    pools = sorted({queue.get("pool", DEFAULT_POOL) for queue in manifest["queues"]})
    for pool in sorted(elsewhere):
        _check_is_pool(pool, pools, manifest)
    queues = [queue for queue in manifest["queues"] if queue.get("pool", DEFAULT_POOL) not in elsewhere]
    if manifest["queues"] and not queues:
        raise ConfigurationError(f"--pool leaves nothing of {manifest['app']} to be served here")
    return {**manifest, "queues": queues}


def _check_is_pool(pool: str, pools: Sequence[str], manifest: Manifest) -> None:
    if pool not in pools:
        raise ConfigurationError(
            f"--pool {pool}: no processor of {manifest['app']} runs in a pool of this name"
            f"{did_you_mean(pool, pools)}; its pools are {', '.join(pools)}"
        )


def crews_of(manifest: Manifest) -> list[Crew]:
    """The kinds of actors that the app needs, each with a set of processes of its own."""
    crews = {Crew(queue.get("pool", DEFAULT_POOL), queue["role"]) for queue in manifest["queues"]}
    return sorted(
        crews, key=lambda crew: (crew.pool != DEFAULT_POOL, crew.pool, get_args(Role).index(crew.role))
    )


def sizes_of(config: RuntimeConfig, manifest: Manifest, cores: int) -> dict[Crew, int]:
    """How many processes each crew is to have: `--pool`, else what the app says, else `--procs`.

    cores: what "auto" means.

    Raises:
        ConfigurationError: `--pool` names a pool that has no processors.
    """
    crews = crews_of(manifest)
    served = sorted({crew.pool for crew in crews})
    given: dict[str, PoolSize] = {
        pool: size for pool, size in config.pool if size != 0
    }  # others are not served here
    for pool in given:
        _check_is_pool(pool, served, manifest)
    declared = manifest.get("pools", {})
    sizes: dict[Crew, int] = {}
    for crew in crews:
        size = given.get(crew.pool) or declared.get(crew.pool) or config.procs
        sizes[crew] = cores if size == "auto" else size
    return sizes


def describe(manifest: Manifest) -> str:
    """The queues in one line, for the log."""
    return ", ".join(
        f"{queue['name']} ({Crew(queue.get('pool', DEFAULT_POOL), queue['role']).label})"
        for queue in manifest["queues"]
    )


def why_unservable(manifest: Manifest) -> str | None:
    """What makes it pointless to start, as a sentence; None if nothing does."""
    if not manifest["queues"]:
        return f'{manifest["app"]} has no processors: decorate a function with @app.processor("queue")'
    for queue in manifest["queues"]:
        if queue["role"] == "sync" and queue["concurrency"] > 1:
            return (
                f"processor of queue {queue['name']!r}{_place_of(queue)}: concurrency={queue['concurrency']} on a "
                "plain def, which runs one job at a time in each actor process: --procs or the procs of a pool "
                "say how many run at once; or make it an async def"
            )
    return None


def _place_of(queue: Mapping[str, Any]) -> str:
    return f", {queue['function']}" if "function" in queue else ""


def with_server_of(config: RuntimeConfig, manifest: Manifest) -> RuntimeConfig:
    """The configuration with the server that the app names, where nothing else has named one.

    Raises ConfigurationError when the app's URL cannot be one.
    """
    url = manifest.get("url")
    return dataclasses.replace(config, url=url) if config.url is None and url else config


def why_not_reloadable(laid_out: Collection[Crew], new: Manifest) -> str | None:
    """Why a running supervisor cannot change over to `new`, as a sentence; None if it can.

    laid_out: the crews that have memory. A crew that an earlier reload has left without processors is one of them.
    """
    added = set(crews_of(new)).difference(laid_out)
    if added:
        return (
            f"the app now has {' and '.join(sorted(crew.label for crew in added))} processors, for which no memory "
            "was laid out: restart the supervisor to run them"
        )
    return None


def merged(current: Manifest, new: Manifest) -> Manifest:
    """What the gateway must know while old and new actors run side by side.

    A queue that the new app no longer serves stays known, so that what its last actors finish can be
    reported; nothing is fetched from a queue that no actor serves.
    """
    names = {queue["name"] for queue in new["queues"]}
    kept = [queue for queue in current["queues"] if queue["name"] not in names]
    return {**new, "queues": [*new["queues"], *kept]}
