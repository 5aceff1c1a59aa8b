-- Turns the rounds of the comparison into medians and tables.

local report = {}

function report.quantile(values, share)
  if #values == 0 then
    return nil
  end
  local sorted = { unpack(values) }
  table.sort(sorted)
  local place = 1 + (#sorted - 1) * share
  local low, high = sorted[math.floor(place)], sorted[math.ceil(place)]
  return low + (high - low) * (place % 1)
end

local function median(rounds, field)
  local values = {}
  for _, round in pairs(rounds) do
    values[#values + 1] = round[field]
  end
  return report.quantile(values, 0.5)
end

local function show(format, value)
  return value and format:format(value) or "-"
end

-- The CPU per request of a target divided by the yardstick's in the same round: the median, and its range.
local function ratio(rounds, base)
  local values = {}
  for number, round in pairs(rounds) do
    if base[number] then
      values[#values + 1] = round.cpu_us / base[number].cpu_us
    end
  end
  local middle = report.quantile(values, 0.5)
  if not middle then
    return "-", "-"
  end
  return ("%.2f"):format(middle), ("%.2f-%.2f"):format(report.quantile(values, 0), report.quantile(values, 1))
end

-- `cells[target]` maps round numbers to measurements; returns rows of strings, in the order of `targets`.
local function rows_of(load, targets, cells)
  local work, base = load.work or "request", load.base or "floor"
  local rows = { { "target", work == "MiB" and "MiB/s" or work .. "s/s", "CPU us/" .. work, "user", "system", "p50 us",
    "p99 us", "peak MiB", "CPU / " .. base, "range" } }
  for _, target in ipairs(targets) do
    local rounds = cells[target.name]
    if rounds and next(rounds) then
      local middle, range = ratio(rounds, cells[base] or {})
      rows[#rows + 1] = { target.name, show("%.0f", median(rounds, "rate")), show("%.2f", median(rounds, "cpu_us")),
        show("%.2f", median(rounds, "user_us")), show("%.2f", median(rounds, "system_us")),
        show("%.0f", median(rounds, "p50_us")), show("%.0f", median(rounds, "p99_us")),
        show("%.1f", median(rounds, "peak_mib")), middle, range }
    end
  end
  return rows
end

-- An aligned table; `markdown` adds its bars and the rule under the header.
local function format_rows(rows, markdown)
  local widths, lines = {}, {}
  for _, row in ipairs(rows) do
    for column, text in ipairs(row) do
      widths[column] = math.max(widths[column] or 3, #text)
    end
  end
  local separator = markdown and " | " or "  "
  for number, row in ipairs(rows) do
    local parts = {}
    for column, text in ipairs(row) do
      parts[column] = ((column == 1 and "%-" or "%") .. widths[column] .. "s"):format(text)
    end
    local line = table.concat(parts, separator)
    lines[#lines + 1] = markdown and "| " .. line .. " |" or line
    if markdown and number == 1 then
      local rule = {}
      for column, width in ipairs(widths) do
        rule[column] = ("-"):rep(width - 1) .. (column == 1 and "-" or ":")
      end
      lines[#lines + 1] = "| " .. table.concat(rule, " | ") .. " |"
    end
  end
  return table.concat(lines, "\n")
end

-- The whole result as text: a section per load. `loads` carry name, title and kind, and what is
-- counted (work) and compared with (base) where that is not requests and the floor; `results[load.name]` the cells.
function report.format(loads, targets, results, notes, markdown)
  local parts = { table.concat(notes, markdown and "\n\n" or "\n") }
  for _, load in ipairs(loads) do
    local rows = rows_of(load, targets[load.kind], results[load.name])
    if #rows > 1 then
      parts[#parts + 1] = (markdown and "### " or "") .. load.title .. "\n" .. (markdown and "\n" or "")
        .. format_rows(rows, markdown)
    end
  end
  return table.concat(parts, "\n\n") .. "\n"
end

-- Replaces what stands between the two marks in a file.
function report.replace_section(path, text)
  local BEGIN, END = "<!-- table -->", "<!-- /table -->"
  local file = assert(io.open(path))
  local content = file:read("*a")
  file:close()
  local _, after_begin = content:find(BEGIN, 1, true)
  local before_end = content:find(END, after_begin or 1, true)
  assert(after_begin and before_end, path .. " has no section between " .. BEGIN .. " and " .. END)
  file = assert(io.open(path, "w"))
  file:write(content:sub(1, after_begin), "\n", text, content:sub(before_end))
  file:close()
end

return report
