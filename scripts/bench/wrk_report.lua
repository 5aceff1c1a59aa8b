-- For wrk: prints the numbers of a run on one line that compare.lua reads. With the argument N after "--", every
-- request call sends N pipelined requests; wrk counts each response, and takes the latency of the whole group. With
-- "browser" behind it the requests have the header fields of a browser's navigation, 12 with Host; with "file" they are for
-- /files/mebibyte.

local BROWSER = {
  ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
  ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
  ["Accept-Language"] = "en-US,en;q=0.5",
  ["Accept-Encoding"] = "gzip, deflate, br, zstd",
  ["Connection"] = "keep-alive",
  ["Upgrade-Insecure-Requests"] = "1",
  ["Sec-Fetch-Dest"] = "document",
  ["Sec-Fetch-Mode"] = "navigate",
  ["Sec-Fetch-Site"] = "none",
  ["Cookie"] = "session=0123456789abcdef0123456789abcdef; theme=dark",
  ["Priority"] = "u=0, i",
}

function init(arguments)
  local depth = tonumber(arguments[1]) or 1
  if arguments[2] == "browser" then
    for name, value in pairs(BROWSER) do
      wrk.headers[name] = value
    end
  end
  local group = string.rep(wrk.format("GET", arguments[2] == "file" and "/files/mebibyte" or "/"), depth)
  request = function()
    return group
  end
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("result requests=%d seconds=%.6f p50_us=%.1f p99_us=%.1f errors=%d\n", summary.requests,
    summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
