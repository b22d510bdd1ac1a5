"""A small library of our own, so that connections are tested whatever the real one can do."""

from __future__ import annotations

from glidemq.commands.command import pack
from glidemq.connection.library_loader import ServerLibrary

NAME = "glidemq_py"


def library(version: int = 1, *, extra: str = "") -> ServerLibrary:
    """A library of a given version, with `extra` Lua at its end."""
    source = f"""#!lua name={NAME}
local function define(name, callback, flags)
  redis.register_function{{function_name = 'gmq_' .. name, callback = callback, flags = flags or {{}}}}
end
define('version', function() return {version} end, {{'no-writes'}})
define('echo', function(keys, args) return args[1] end, {{'allow-oom'}})
define('increment', function(keys, args) return tostring(redis.call('INCR', keys[1])) end, {{'allow-oom'}})
define('store', function(keys, args) redis.call('SET', keys[1], args[1]); return 'ok' end)
define('refuse', function(keys, args) return redis.error_reply(args[1]) end)
define('append', function(keys, args) redis.call('RPUSH', keys[1], args[1]); return 'ok' end)
define('since', function(keys, args)
  if tonumber(args[1]) > {version} then return cmsgpack.pack({{'library_outdated', {version}}}) end
  return 'version {version}'
end)
define('spin', function(keys, args)  -- args[1]: millions of turns, about 5 ms each; TIME stands still in here
  local turns = tonumber(args[1]) * 1000000
  for _ = 1, turns do end
  return 'ok'
end)
{extra}
"""
    return ServerLibrary(NAME, version, source)


ARGUMENT = pack({"v": 1})
