-- For wrk: prints the numbers of a run on one line that compare.lua reads. With the argument N after "--", every
-- request call sends N pipelined requests; wrk counts each response, and takes the latency of the whole group.

function init(arguments)
  local depth = tonumber(arguments[1]) or 1
  local group = string.rep(wrk.format("GET", "/"), depth)
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
