"""The bundled Valkey for zero-setup runs: a real valkey-server on a Unix socket, shared on a host."""

from __future__ import annotations

from glidemq.embedded.server import EmbeddedServer

__all__ = ["EmbeddedServer"]
