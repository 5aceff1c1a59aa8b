-- What the fuzzer holds of the HTTP codec: every way of cutting an input gives the same answers, nothing is read
-- outside of it (the sanitizer watches), and no input raises an error.
--
-- The first byte of an input chooses what reads it, the second how it is cut.

local codec = require "moonring.http.codec"
local conditions = require "moonring.http.codec.conditions"
local cookies = require "moonring.http.client.cookies"
local parameters = require "moonring.http.codec.parameters"
local urls = require "moonring.http.client.url"
local transcript = require "spec.support.http_transcript"

local SMALL = codec.merge_limits("fuzz", { line_bytes = 64, head_bytes = 160, field_count = 4, target_bytes = 24,
  body_bytes = 48, chunk_extension_bytes = 8, trailer_bytes = 40 })
local SMALL_PARTS = { part_count = 2, part_head_bytes = 64, part_bytes = 32 }
local SOMEWHERE = assert(urls.parse "http://a.example/one/two?three")
local METHODS = { "GET", "HEAD", "CONNECT", "POST" }

local function random_cuts(text, seed)
  local offsets, at = {}, 0
  while true do
    seed = (seed * 1103515245 + 12345) % 2147483648
    at = at + math.floor(seed / 65536) % 9 + (seed % 7 == 0 and 20 or 0)
    if at >= #text then return transcript.cut(text, offsets) end
    if at > 0 then offsets[#offsets + 1] = at end
  end
end

local function read_alike(read, text, seed)
  local whole = read { text }
  for how, pieces in pairs { bytes = transcript.bytes(text), cuts = random_cuts(text, seed) } do
    local cut = read(pieces)
    if cut ~= whole then error(("%s:\n%s\n\nin one piece:\n%s"):format(how, cut, whole), 0) end
  end
  return whole
end

-- Texts that no split concerns: they must not raise, and what was written must be read back.
local function read_texts(text)
  local pairs_ = codec.parse_pairs(text)
  if pairs_ and #pairs_ > 0 then
    local again = codec.parse_pairs(codec.format_pairs(pairs_))
    assert(#again == #pairs_, "pairs were lost")
    for i = 1, #pairs_ do
      assert(again[i] == pairs_[i], "pairs have changed")
    end
  end
  codec.parse_cookies(text)
  codec.split_target(text)
  parameters.parse(text)
  conditions.parse_ranges(text, 100)
  conditions.parse_date(text)
  conditions.parse_cookie_date(text)
  local jar = cookies.new()
  jar:store(SOMEWHERE, text, 0)
  jar:field_for(SOMEWHERE, 0)
  local url = urls.parse(text)
  if url then assert(urls.format(assert(urls.parse(urls.format(url)))) == urls.format(url), "a URL has changed") end
  urls.resolve(SOMEWHERE, text)
  assert(codec.percent_decode(codec.percent_encode(text)) == text, "percent-encoding has changed a text")
  return ""
end

--- Called for each input. Returns the transcript, whose lines guide the fuzzer; raises for a finding.
return function(input)
  if #input < 2 then return "" end
  local choice, seed, text = input:byte(1), input:byte(2), input:sub(3)
  local kind = choice % 5
  local limits = choice >= 128 and SMALL or nil
  if kind == 0 or kind == 1 then
    return read_alike(function(pieces) return transcript.of("request", pieces, limits) end, text, seed)
  elseif kind == 2 then
    local method = METHODS[math.floor(choice / 5) % 4 + 1]
    return read_alike(function(pieces) return transcript.of("response", pieces, limits, method) end, text, seed)
  elseif kind == 3 then
    local part_limits = limits and SMALL_PARTS
    return read_alike(function(pieces) return transcript.of_parts(pieces, part_limits) end, text, seed)
  end
  return read_texts(text)
end
