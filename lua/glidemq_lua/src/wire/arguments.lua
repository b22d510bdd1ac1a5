-- Arguments: one msgpack map per call, read by name, checked before anything is written.
local Arguments = {}

function Arguments.parse(packed)
  local ok, args = pcall(cmsgpack.unpack, packed or "")
  if not ok or type(args) ~= "table" then
    return nil
  end
  return args
end

-- A table of member name -> Lua type, made ready for Arguments.fault; a leading "?" makes a member optional.
function Arguments.checks(spec)
  local checks = {}
  for name, wanted in pairs(spec) do
    local optional = string.sub(wanted, 1, 1) == "?"
    checks[#checks + 1] = { name = name, wanted = optional and string.sub(wanted, 2) or wanted, optional = optional }
  end
  return checks
end

-- The first fault as text, or nil.
function Arguments.fault(args, checks)
  for index = 1, #checks do
    local check = checks[index]
    local value = args[check.name]
    if type(value) ~= check.wanted then
      if value == nil or value == false then
        if not check.optional then
          return check.name .. " is missing"
        end
      else
        return check.name .. " must be a " .. check.wanted
      end
    end
  end
  return nil
end

-- The first fault of a list of positional rows, or nil. `types` holds one Lua type per column; "?" allows false.
-- `fault_of(row)`, if given, judges what the types leave open.
function Arguments.row_fault(rows, types, fault_of)
  for number = 1, #rows do
    local row = rows[number]
    if type(row) ~= "table" then
      return "row " .. number .. " must be an array"
    end
    for column = 1, #types do
      local wanted = types[column]
      local value = row[column]
      if wanted ~= "any" and type(value) ~= wanted then
        local optional = string.sub(wanted, 1, 1) == "?"
        if not (optional and (value == false or type(value) == string.sub(wanted, 2))) then
          return "row " .. number .. ", column " .. column .. " must be a " .. wanted
        end
      end
    end
    local fault = fault_of and fault_of(row)
    if fault then
      return "row " .. number .. ": " .. fault
    end
  end
  return nil
end
