"""The server library and a way to call its functions, as the tests of the functions have them."""

from tests.lua.conftest import call, library, queue

__all__ = ["call", "library", "queue"]
