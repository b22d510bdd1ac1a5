-- set_dead_letter_queue: name the queue that jobs go to which fail for good, or none.
-- Moves:  nothing
-- Keys:   meta
-- Args:   dead_letters [name, max_retries or false], or absent: from now on they only fail
-- Reply:  ["ok"]
-- Errors: bad_argument
-- Events: none
Library.command("set_dead_letter_queue", {}, { dead_letters = "?table" }, function(keys, args)
  local config = args.dead_letters or nil
  local fault = config and DeadLetters.fault(keys, config)
  if fault then
    return Replies.bad_argument(fault)
  elseif config then
    DeadLetters.configure(keys, config)
  else
    DeadLetters.forget(keys)
  end
  return Replies.pack("ok")
end)
