-- moonring.digest: digests by OpenSSL, and random bytes.

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.buffer.core"

local C, ffi = native.C, native.ffi

local M = {}

local out = ffi.new("uint8_t[?]", C.MR_DIGEST_BYTES_MAX)

--- The digest of a string, or of a buffer's remaining bytes, as a string of bytes.
---@param algorithm string as OpenSSL names it: "SHA256", "SHA1", "MD5" ...
---@param data string|moonring.Buffer
---@return string
function M.digest(algorithm, data)
  if type(algorithm) ~= "string" then
    errors.raise("argument", "digest: the algorithm is a name such as \"SHA256\", not a %s", type(algorithm))
  end
  local from, length = core.operand("digest", data)
  local size = C.mr_digest(algorithm, from, length, out)
  if size == -22 then errors.raise("argument", "digest: OpenSSL knows no algorithm %s", algorithm) end
  if size < 0 then
    errors.raise("ELIBACC", "digest: OpenSSL's libcrypto can't be loaded; install the package libssl3")
  end
  return ffi.string(out, size)
end

--- `count` unpredictable bytes of the kernel's generator.
---@param count integer
---@return string
function M.random(count)
  core.check_length("random", count)
  if count > 1048576 then errors.raise("argument", "random: at most 1 MiB at once, not %.0f bytes", count) end
  local bytes = ffi.new("uint8_t[?]", math.max(count, 1))
  local result = C.mr_random(bytes, count)
  if result < 0 then
    local _, message, code = errors.world(result, "random")
    errors.raise(code, "%s", message)
  end
  return ffi.string(bytes, count)
end

return M
