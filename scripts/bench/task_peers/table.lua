-- Makes the table of scripts/bench/tasks out of lines of round, peer, name and nanoseconds.

local names, values = {}, {} -- values[name][peer][round]
for line in io.lines((...)) do
  local round, peer, name, value = line:match("^(%d+)\t(%S+)\t([^\t]+)\t(%S+)$")
  if not values[name] then
    names[#names + 1] = name
    values[name] = {}
  end
  local of_peer = values[name][peer] or {}
  values[name][peer] = of_peer
  of_peer[tonumber(round)] = tonumber(value)
end

local function sorted(list)
  local copy = { unpack(list) }
  table.sort(copy)
  return copy
end

local function median(list)
  local copy = sorted(list)
  return copy[math.ceil(#copy / 2)]
end

local function ratio(name, peer)
  local ratios = {}
  for round, own in ipairs(values[name].moonring) do
    ratios[round] = own / values[name][peer][round]
  end
  local in_order = sorted(ratios)
  return ("%.2f (%.2f to %.2f)"):format(median(ratios), in_order[1], in_order[#in_order])
end

print(("%-22s %9s %9s %9s   %-22s %s"):format("ns each", "moonring", "cqueues", "luv", "moonring / cqueues",
  "moonring / luv"))
for _, name in ipairs(names) do
  local of = values[name]
  print(("%-22s %9.0f %9.0f %9.0f   %-22s %s"):format(name, median(of.moonring), median(of.cqueues), median(of.luv),
    ratio(name, "cqueues"), ratio(name, "luv")))
end
