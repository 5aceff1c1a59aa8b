---@meta moonring.digest
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

--- digests by OpenSSL, and random bytes.
local module = {}

--- The digest of a string, or of a buffer's remaining bytes, as a string of bytes.
---@param algorithm string as OpenSSL names it: "SHA256", "SHA1", "MD5" ...
---@param data string|moonring.Buffer
---@return string
function module.digest(algorithm, data) end

--- `count` unpredictable bytes of the kernel's generator.
---@param count integer
---@return string
function module.random(count) end

return module
