-- JsonText: the members of a JSON object as they are written. What somebody stored must survive the change of one
-- number in it: decoding and encoding again would reorder members, turn empty arrays into objects and round numbers.
local JsonText = {}

-- The position behind the string that starts at `at`, or nil.
local function after_string(text, at)
  local behind = string.match(text, '^"[^"\\]*"()', at)
  if behind then
    return behind
  end
  while true do
    at = string.find(text, '["\\]', at + 1)
    if not at then
      return nil
    elseif string.sub(text, at, at) == '"' then
      return at + 1
    end
    at = at + 1
  end
end

-- The position behind the value that starts at `at`, or nil.
local function after_value(text, at)
  local first = string.sub(text, at, at)
  if first == '"' then
    return after_string(text, at)
  elseif first ~= "{" and first ~= "[" then
    return string.match(text, "^[%w%.%+%-]+()", at)
  end
  local depth = 0
  repeat
    local found, here
    here, at, found = string.find(text, '(["{}%[%]])', at)
    if not here then
      return nil
    elseif found == '"' then
      at = after_string(text, here)
      if not at then
        return nil
      end
    else
      depth = depth + ((found == "{" or found == "[") and 1 or -1)
      at = at + 1
    end
  until depth == 0
  return at
end

-- The text that a JSON string stands for, or nil.
function JsonText.string(raw)
  if not raw or string.sub(raw, 1, 1) ~= '"' then
    return nil
  elseif not string.find(raw, "\\", 1, true) then
    return string.sub(raw, 2, -2)
  end
  local ok, decoded = pcall(cjson.decode, "[" .. raw .. "]")
  return ok and decoded[1] or nil
end

-- The number that a JSON number stands for, or nil.
function JsonText.number(raw)
  return raw and string.find(raw, "^%-?%d") and tonumber(raw) or nil
end

-- A whole number as Node writes it; `..` would use an exponent from 1e14 on.
function JsonText.whole(number)
  return string.format("%.0f", number)
end

-- name -> its value's text, and name -> {first, last} position of it; nil when `text` is no object. What stands
-- inside a value is only looked at as far as finding its end takes.
function JsonText.members(text)
  local members, places = {}, {}
  local at = string.match(text, "^%s*{%s*()")
  if at and string.find(text, "^}%s*$", at) then
    return members, places
  end
  while at do
    local behind = string.sub(text, at, at) == '"' and after_string(text, at)
    local name = behind and JsonText.string(string.sub(text, at, behind - 1))
    local first = name and string.match(text, "^%s*:%s*()", behind)
    local after = first and after_value(text, first)
    if not after then
      return nil
    end
    members[name], places[name] = string.sub(text, first, after - 1), { first, after - 1 }
    if string.find(text, "^%s*}%s*$", after) then
      return members, places
    end
    at = string.match(text, "^%s*,%s*()", after)
  end
  return nil
end

-- `text` with some members set: `changes` is {{name, the value's text}, ...}. New ones follow the others in the order
-- given; everything else stays as it is, byte for byte. `places` are those of the object's members.
function JsonText.with(text, places, changes)
  local present, appended = {}, {}
  for _, change in ipairs(changes) do
    local place = places[change[1]]
    if place then
      present[#present + 1] = { place[1], place[2], change[2] }
    else
      appended[#appended + 1] = '"' .. change[1] .. '":' .. change[2]
    end
  end
  table.sort(present, function(a, b)
    return a[1] > b[1]
  end)
  for _, piece in ipairs(present) do
    text = string.sub(text, 1, piece[1] - 1) .. piece[3] .. string.sub(text, piece[2] + 1)
  end
  if #appended > 0 then
    local separator = next(places) and "," or ""
    text = string.match(text, "^(.*)}%s*$") .. separator .. table.concat(appended, ",") .. "}"
  end
  return text
end
