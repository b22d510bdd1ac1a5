-- JsonValue: numbers and small objects as JSON text. cjson writes 14 digits and an exponent from 1e14 on; what is
-- written here reads back as the same number.
local JsonValue = {}

-- The shortest text that reads back as this number; whole numbers without exponent.
function JsonValue.number(value)
  if value == math.floor(value) and math.abs(value) < 2 ^ 63 then
    return string.format("%.0f", value)
  end
  for digits = 15, 16 do
    local text = string.format("%." .. digits .. "g", value)
    if tonumber(text) == value then
      return text
    end
  end
  return string.format("%.17g", value)
end

-- An object of numbers, its names in alphabetical order; `{}` when there are none.
function JsonValue.numbers(values)
  local names = {}
  for name in pairs(values) do
    names[#names + 1] = name
  end
  table.sort(names)
  for index, name in ipairs(names) do
    names[index] = cjson.encode(name) .. ":" .. JsonValue.number(values[name])
  end
  return "{" .. table.concat(names, ",") .. "}"
end

-- An array of texts.
function JsonValue.texts(values)
  local parts = {}
  for index, value in ipairs(values) do
    parts[index] = cjson.encode(value)
  end
  return "[" .. table.concat(parts, ",") .. "]"
end

-- The numbers of an object's text; what is none, or no object, is left out.
function JsonValue.read_numbers(text)
  local ok, decoded = pcall(cjson.decode, text or "")
  local values = {}
  if ok and type(decoded) == "table" then
    for name, value in pairs(decoded) do
      if type(name) == "string" and type(value) == "number" and value == value and math.abs(value) < math.huge then
        values[name] = value
      end
    end
  end
  return values
end
