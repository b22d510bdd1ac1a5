"""One typed command per function of the server library, with the same stem as its Lua file."""
