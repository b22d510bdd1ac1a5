-- Estimate: the most that one run of a job will use, as the job's options or its processor state it: {tokens, cost},
-- each a number (all together), a table {category: number} (what it does not name is not used), or false (nothing said).
-- An upper bound in a budget's terms is derived from it for each of the budget's axes that it says something about.
local Estimate = {}

local TOKENS, TOKENS_BY_CATEGORY, COST = "estimatedTokens", "x-py:estimatedTokens", "x-py:estimatedCost"

local function amount(value)
  return type(value) == "number" and value >= 0 and value < math.huge and value or nil
end

-- A part as it counts; nil where it makes no sense.
local function part(value)
  if type(value) ~= "table" then
    return amount(value)
  end
  local amounts = {}
  for category, number in pairs(value) do
    if type(category) ~= "string" then
      return nil
    end
    amounts[category] = amount(number)
  end
  return amounts
end

local function states(opts, name)
  return string.find(opts, '"' .. name .. '"', 1, true) ~= nil
end

-- What a job's options state, completed by what its processor states: `assumed`, an estimate or nil. False: nothing.
function Estimate.of(opts, assumed)
  local tokens, cost
  if opts and (states(opts, TOKENS) or states(opts, COST)) then
    local ok, decoded = pcall(cjson.decode, opts)
    decoded = ok and type(decoded) == "table" and decoded or {}
    tokens, cost = part(decoded[TOKENS_BY_CATEGORY]) or part(decoded[TOKENS]), part(decoded[COST])
  end
  tokens, cost = tokens or assumed and assumed.tokens, cost or assumed and assumed.cost
  return (tokens or cost) and { tokens = tokens or false, cost = cost or false } or false
end

local function makes_sense(value)
  if type(value) ~= "table" then
    return not value or amount(value) ~= nil
  end
  for category, number in pairs(value) do
    if type(category) ~= "string" or not amount(number) then
      return false
    end
  end
  return true
end

-- Why this is no estimate, or nil; it may be absent.
function Estimate.fault(estimate)
  if not estimate then
    return nil
  elseif type(estimate) ~= "table" then
    return "the estimate must be a table"
  end
  for _, name in ipairs({ "tokens", "cost" }) do
    if not makes_sense(estimate[name]) then
      return "the estimate of " .. name .. " must be a number of at least 0, or map texts to such"
    end
  end
  return nil
end

-- A weight that is none, or below 0, is 1.
function Estimate.weight(weights, category)
  local weight = weights[category] or 1
  return weight >= 0 and weight or 1
end

-- A report whose categories all weigh nothing counts by its plain total, and any report within `amounts` may come.
local function most_weighted(amounts, weights)
  local weighted, weightless = 0, 0
  for category, number in pairs(amounts) do
    local weight = Estimate.weight(weights, category)
    weighted = weighted + number * weight
    weightless = weightless + (weight == 0 and number or 0)
  end
  return math.max(weighted, weightless)
end

-- The most that a run with this estimate adds to what an axis counts; nil if the estimate says nothing about it.
-- A plain number of tokens counts as weighted.
function Estimate.on(estimate, axis, weights)
  local stated = estimate and estimate[axis.unit] or nil
  if type(stated) == "table" then
    if axis.category then
      return stated[axis.category] or 0
    end
    return most_weighted(stated, axis.unit == "tokens" and weights or {})
  elseif axis.category and stated ~= 0 then
    return nil -- how a total falls into categories is anybody's guess, unless there is none
  end
  return stated
end
