"""What the app serves, as its probe has found it: reading it, and comparing two of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args

from glidemq.config import RuntimeConfig
from glidemq.process_spec import Role

Manifest = Mapping[str, Any]


def roles_of(manifest: Manifest) -> list[Role]:
    """The kinds of actors that the app needs, each with a set of processes of its own."""
    roles = {queue["role"] for queue in manifest["queues"]}
    return [role for role in get_args(Role) if role in roles]


def describe(manifest: Manifest) -> str:
    """The queues in one line, for the log."""
    return ", ".join(f"{queue['name']} ({queue['role']})" for queue in manifest["queues"])


def why_unservable(manifest: Manifest) -> str | None:
    """What makes it pointless to start, as a sentence; None if nothing does."""
    if not manifest["queues"]:
        return f'{manifest["app"]} has no processors: decorate a function with @app.processor("queue")'
    return None


def with_server_of(config: RuntimeConfig, manifest: Manifest) -> RuntimeConfig:
    """The configuration with the server that the app names, where nothing else has named one.

    Raises ConfigurationError when the app's URL cannot be one.
    """
    url = manifest.get("url")
    return dataclasses.replace(config, url=url) if config.url is None and url else config


def why_not_reloadable(current: Manifest, new: Manifest) -> str | None:
    """Why a running supervisor cannot change over to `new`, as a sentence; None if it can."""
    added = set(roles_of(new)) - set(roles_of(current))
    if added:
        return (
            f"the app now has {' and '.join(sorted(added))} processors, for which no memory was laid out: "
            "restart the supervisor to run them"
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
