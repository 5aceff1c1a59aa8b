-- moonring.net.sendfile: files as output of a connection.
--
-- Extends moonring.net.connection.
--
-- What is in the page cache goes from there to a TCP socket without a copy. The rest is read piece by piece, because
-- sendfile would wait for the disk, and the loop with it; so is everything where sendfile has no use: pipes, Unix
-- sockets, descriptors that others own, too.

local native = require "moonring.native"
local errors = require "moonring.errors"
local connections = require "moonring.net.connection"

local C = native.C
local Connection, refuse_closed = connections.Connection, connections.refuse_closed

local EOPNOTSUPP = -95
-- Bytes of a file that are looked for in the page cache and queued at once, and those that are read at once.
local QUEUE_BYTES, READ_BYTES = 1048576, 131072

local function check_number(name, value)
  if type(value) ~= "number" or value < 0 or value > 9007199254740992 or value % 1 ~= 0 then
    errors.raise("argument", "connection:write_file: %s is a whole number from 0 to 2^53, not %s", name, tostring(value))
  end
end

-- The piece by sendfile: true, or nil, message, code; false where that can't be.
local function send(self, descriptor, at, count)
  if self.sends_no_files or C.mr_file_is_cached(descriptor, at, count) == 0 then return false end
  local queued = C.mr_connection_write_file(self.handle, self.slot, descriptor, at, count)
  if queued == EOPNOTSUPP then
    self.sends_no_files = true
    return false
  end
  if queued < 0 then return errors.world(queued, "write_file") end
  if queued > self.write_high then return connections.drain_written(self, count, 0) end
  return true
end

-- The piece through memory.
local function copy(self, file, at, count)
  local last = at + count
  while at < last do
    local piece, message, code = file:read(math.min(READ_BYTES, last - at), at)
    if not piece then
      if message then return nil, message, code end
      return nil, ("write_file: %s has become shorter"):format(file.path), "ENODATA"
    end
    at = at + piece:remaining()
    local ok, failure
    ok, failure, message, code = pcall(self.write, self, piece)
    piece:release()
    if not ok then error(failure, 0) end
    if not failure then return nil, message, code end
  end
  return true
end

--- Queues bytes of an open file for sending. On TCP what is in the page cache is not copied (sendfile(2)): where the file is
--- written to meanwhile, the new bytes may be what is sent. Waits while too much is queued; the file may be closed afterwards.
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
  check_number("an offset", at)
  if length == nil then
    local status, message, code = file:stat()
    if not status then return nil, message, code end
    length = math.max(status.size - at, 0)
  end
  check_number("a length", length)
  local last = at + length
  while at < last do
    local count = math.min(QUEUE_BYTES, last - at)
    if not self.slot then refuse_closed "write_file" end
    local ok, message, code = send(self, file:descriptor_of "read", at, count)
    if ok == false then ok, message, code = copy(self, file, at, count) end
    if not ok then return nil, message, code end
    at = at + count
  end
  return true
end
