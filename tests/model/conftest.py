"""The server library, as the tests of its commands use it."""

from tests.lua.conftest import call, library

__all__ = ["call", "library"]
