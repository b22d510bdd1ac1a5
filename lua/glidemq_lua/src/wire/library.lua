-- Library: how a command becomes a server function, and what every call has in common.
local Library = {}

Library.PREFIX = "gmq_"

-- Called with the queue's keys and the time at the end of each call that has changed jobs; `keys.changed` are their ids.
function Library.after_changes(_, _) end

-- Registers `gmq_<stem>`. `handler(keys, args, now)` gets the queue's keys, the checked arguments and the time in
-- epoch ms, and returns a packed reply. `spec` is an Arguments.checks table. Flags: a command that lets a full
-- server drain is "allow-oom"; one that only reads is "no-writes".
function Library.command(stem, flags, spec, handler)
  local checks -- made at the first call: while a library loads, Lua's own functions are out of reach
  redis.register_function({
    function_name = Library.PREFIX .. stem,
    flags = flags,
    callback = function(key_names, argv)
      local args = Arguments.parse(argv[1])
      if not args then
        return Replies.bad_argument("the argument is not a msgpack map")
      end
      if type(args.v) == "number" and args.v > LIBRARY_VERSION then
        return Replies.pack("library_outdated", LIBRARY_VERSION)
      end
      checks = checks or Arguments.checks(spec)
      local fault = Arguments.fault(args, checks)
      if fault then
        return Replies.bad_argument(fault)
      end
      local keys = Keys.of(key_names[1])
      local now = Clock.now_ms(args)
      local reply = handler(keys, args, now)
      if keys.changed[1] then
        Library.after_changes(keys, now)
      end
      return reply
    end,
  })
end
