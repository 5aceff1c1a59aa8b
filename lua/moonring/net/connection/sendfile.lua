-- moonring.net.connection.sendfile: files as output of a connection.
--
-- What is in the page cache goes from there to a TCP socket without a copy. The rest is read piece by piece, because
-- sendfile would wait for the disk, and the loop with it; so is everything where sendfile has no use: pipes, Unix
-- sockets, descriptors that others own, too.

local native = require "moonring.native"
local errors = require "moonring.errors"
local core = require "moonring.net.connection.core"
local writing = require "moonring.net.connection.writing"

local C = native.C
local Connection, refuse_closed = core.Connection, core.refuse_closed

local EOPNOTSUPP = -95
-- Bytes of a file that are looked for in the page cache and queued at once, and those that are read at once.
local QUEUE_BYTES, READ_BYTES = 1048576, 131072

-- Queues a piece for sendfile. Result: the bytes queued on the connection and those of the piece; false where that can't be;
-- nil, message, code.
local function send_piece(self, descriptor, at, left)
  local count = math.min(QUEUE_BYTES, left)
  if self.sends_no_files or C.mr_file_is_cached(descriptor, at, count) == 0 then return false end
  local queued = C.mr_connection_write_file(self.handle, self.slot, descriptor, at, count)
  if queued == EOPNOTSUPP then
    self.sends_no_files = true
    return false
  end
  if queued < 0 then return errors.world(queued, "write_file") end
  return queued, count
end

-- Reads a piece and queues it. The same results, but for false.
local function copy_piece(self, file, at, left)
  local piece, message, code = file:read(math.min(READ_BYTES, left), at)
  if not piece then
    if message then return nil, message, code end
    return nil, ("write_file: %s has become shorter"):format(file.path), "ENODATA"
  end
  local count = piece:remaining()
  if not self.slot then -- closed by somebody else meanwhile
    piece:release()
    refuse_closed "write_file"
  end
  local queued
  queued, message, code = self:queue(piece)
  piece:release()
  if not queued then return nil, message, code end
  return queued, count
end

--- Queues bytes of an open file for sending. On TCP what is in the page cache is not copied (sendfile(2)): where the file is
--- written to meanwhile, the new bytes may be what is sent. Waits while too much is queued, and when that is cancelled the
--- error tells of the bytes as write's does. The file may be closed afterwards.
---@param file moonring.File one that has offsets; its position stays where it is
---@param offset? integer bytes from its beginning; default 0
---@param length? integer bytes; default: up to its end
---@return true? ok
---@return string? message
---@return string? code "ENODATA": the file is shorter than that, and what it had has been queued; "EMFILE"
function Connection:write_file(file, offset, length)
  if not self.slot then refuse_closed "write_file" end
  if type(file) ~= "table" or not file.descriptor_of then
    errors.raise("argument", "connection:write_file: a file of fs.open is needed, not a %s", type(file))
  end
  local at = offset or 0
  errors.check_offset("connection:write_file", "an offset", at)
  if length == nil then
    local status, message, code = file:stat()
    if not status then return nil, message, code end
    length = math.max(status.size - at, 0)
  end
  errors.check_offset("connection:write_file", "a length", length)
  local left = length
  while left > 0 do
    if not self.slot then refuse_closed "write_file" end
    local queued, count, code = send_piece(self, file:descriptor_of "write_file", at, left)
    if queued == false then
      queued, count, code = copy_piece(self, file, at, left)
    end
    if not queued then return nil, count, code end
    at, left = at + count, left - count
    if queued > self.write_high then
      local ok, message
      ok, message, code = writing.drain_written(self, length, left)
      if not ok then return nil, message, code end
    end
  end
  return true
end
