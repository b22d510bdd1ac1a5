"""The server side of glidemq: Lua sources, and the bundle that a client loads into Valkey."""

from glidemq_lua.bundle import LIBRARY_NAME, LIBRARY_VERSION, library_source

__all__ = ["LIBRARY_NAME", "LIBRARY_VERSION", "library_source"]
