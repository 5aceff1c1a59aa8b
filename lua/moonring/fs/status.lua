-- moonring.fs.status: what the system knows of a file, as a table. Internal; fs.stat, fs.lstat and file:stat give it.

local native = require "moonring.native"
local call = require "moonring.call"
local common = require "moonring.fs.common"

local C, ffi = native.C, native.ffi
local band = bit.band

local M = {}

-- The file's type in its mode, stat(2).
local kinds = {
  [0x1000] = "fifo", [0x2000] = "character device", [0x4000] = "directory", [0x6000] = "block device", [0x8000] = "file",
  [0xa000] = "link", [0xc000] = "socket",
}

---@class moonring.FileStatus
---@field kind "file"|"directory"|"link"|"fifo"|"socket"|"character device"|"block device"
---@field size integer bytes
---@field permissions integer the lower twelve bits of the mode
---@field modified number seconds since 1970, as all times here
---@field accessed number
---@field changed number of the data or of what is known of it
---@field created? number where the filesystem knows it
---@field owner integer user's number
---@field group integer
---@field links integer names that it has
---@field device integer|ffi.cdata* with inode, what makes two paths the same file
---@field inode integer|ffi.cdata* a number where that is exact, else uint64_t
---@field allocated integer bytes on the disk
---@field block_bytes integer what reading and writing does well with
---@field direct_alignment integer bytes, for direct files; 0: impossible, or not known

local function exact(value)
  return value < 9007199254740992ULL and tonumber(value) or value
end

local function known(value)
  if value == value then return value end
end

local found = ffi.new "mr_file_status"

local function to_table()
  return {
    kind = kinds[band(found.mode, 0xf000)] or "unknown",
    size = found.size,
    permissions = band(found.mode, 4095),
    modified = found.modified,
    accessed = found.accessed,
    changed = found.changed,
    created = known(found.created),
    owner = found.owner,
    group = found.group,
    links = found.links,
    device = exact(found.device),
    inode = exact(found.inode),
    allocated = found.blocks * 512,
    block_bytes = found.block_bytes,
    direct_alignment = math.max(found.direct_memory_alignment, found.direct_offset_alignment),
  }
end

--- The status of `path` relative to `directory`, or of `directory` itself when it is "".
function M.of(what, directory, path, flags, name)
  local handle = call.begin(what)
  local slot = C.mr_call_stat(handle, directory, path, flags)
  local result = call.wait_keeping(slot, what, name)
  if result >= 0 then C.mr_call_status(handle, slot, found) end
  call.finish(slot)
  if result < 0 then return common.failed(result, "stat", name) end
  return to_table()
end

--- A string that is the same for the same file.
function M.identity(of)
  return tostring(of.device) .. ":" .. tostring(of.inode)
end

return M
