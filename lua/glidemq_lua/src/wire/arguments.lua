-- Arguments: one msgpack map per call, read by name, checked before anything is written.
local Arguments = {}

function Arguments.parse(packed)
  local ok, args = pcall(cmsgpack.unpack, packed or "")
  if not ok or type(args) ~= "table" then
    return nil
  end
  return args
end

-- The first fault as text, or nil. `spec` maps a name to its Lua type; a leading "?" makes it optional.
function Arguments.fault(args, spec)
  for name, wanted in pairs(spec) do
    local value = args[name]
    local optional = string.sub(wanted, 1, 1) == "?"
    if optional then
      wanted = string.sub(wanted, 2)
    end
    if value == nil or (optional and value == false) then
      if not optional then
        return name .. " is missing"
      end
    elseif type(value) ~= wanted then
      return name .. " must be a " .. wanted
    end
  end
  return nil
end

-- The first fault of a list of positional rows, or nil. `types` holds one Lua type per column; "?" allows false.
function Arguments.row_fault(rows, types)
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
  end
  return nil
end
