-- version: the version of this library, asked before the first call of a connection.
-- Moves:  nothing
-- Keys:   none
-- Args:   none
-- Reply:  integer
-- Errors: none
-- Events: none
redis.register_function({
  function_name = Library.PREFIX .. "version",
  flags = { "no-writes", "allow-stale" },
  callback = function()
    return LIBRARY_VERSION
  end,
})
