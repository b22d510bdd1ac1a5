-- Axes: what the hash of a budget limits, each thing an axis {field of the hash that counts it, most, unit ("tokens" or
-- "cost"), category (nil: all together)}, and how usage counts on them.
local Axes = {}

local TOKENS, COST = "usedTokens", "usedCost"

-- Sums of fractions miss their decimal value by a little: ten times 0.1 is not more than 1.
local BLUR = 1e-12

function Axes.number(text)
  local value = tonumber(text)
  return value and value == value and math.abs(value) < math.huge and value or 0
end

-- A limit of 0 is none, as in Node.
function Axes.of(hash)
  local axes = {}
  local function add(counter, unit, total, by_category)
    local most = Axes.number(total)
    if most > 0 then
      axes[#axes + 1] = { field = counter, most = most, unit = unit }
    end
    for category, limit in pairs(JsonValue.read_numbers(by_category)) do
      if limit > 0 then
        axes[#axes + 1] = { field = counter .. ":" .. category, most = limit, unit = unit, category = category }
      end
    end
  end
  add(TOKENS, "tokens", hash.maxTotalTokens, hash.maxTokens)
  add(COST, "cost", hash.maxTotalCost, hash.maxCosts)
  return axes
end

function Axes.is_above(value, most)
  return value > most * (1 + BLUR)
end

-- Against what an axis allows.
function Axes.is_nothing(value, most)
  return value <= most * BLUR
end

-- Usage by the fields that count it; where weights leave nothing, the plain total counts.
function Axes.amounts(weights, usage)
  local amounts, weighted = {}, 0
  for category, value in pairs(usage.tokens) do
    weighted = weighted + value * Estimate.weight(weights, category)
    amounts[TOKENS .. ":" .. category] = value
  end
  for category, value in pairs(usage.costs) do
    amounts[COST .. ":" .. category] = value
  end
  amounts[TOKENS] = weighted > 0 and weighted or usage.total_tokens
  amounts[COST] = usage.total_cost
  return amounts
end
