-- System calls that specs need to make descriptors of every kind. What a scope is given it closes.

local ffi = require "ffi"

ffi.cdef [[
int pipe2(int *, int);
int socketpair(int, int, int, int *);
int open(const char *, int, ...);
int close(int);
int dup(int);
int fcntl(int, int, ...);
int mkfifo(const char *, unsigned int);
int posix_openpt(int);
int grantpt(int);
int unlockpt(int);
char *ptsname(int);
int socket(int, int, int);
int bind(int, const void *, unsigned int);
int listen(int, int);
int getsockname(int, void *, unsigned int *);
]]

local C = ffi.C

local M = { O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_NOCTTY = 256, O_NONBLOCK = 2048 }

local function pair_of(make)
  local fds = ffi.new("int[2]")
  assert(make(fds) == 0)
  return fds[0], fds[1]
end

--- The reading and the writing end of a pipe.
function M.pipe()
  return pair_of(function(fds) return C.pipe2(fds, 0x80000) end)
end

--- Two Unix stream sockets that are connected to each other.
function M.socketpair(kind)
  return pair_of(function(fds) return C.socketpair(1, (kind or 1) + 0x80000, 0, fds) end)
end

function M.open(path, flags)
  local fd = C.open(path, flags + 0x80000)
  assert(fd >= 0, path)
  return fd
end

--- A FIFO that does not exist yet.
function M.fifo()
  local path = os.tmpname()
  os.remove(path)
  assert(C.mkfifo(path, 384) == 0)
  return path
end

--- Master and terminal of a new pseudo-terminal.
function M.terminal()
  local master = C.posix_openpt(M.O_RDWR + M.O_NOCTTY)
  assert(master >= 0 and C.grantpt(master) == 0 and C.unlockpt(master) == 0)
  return master, M.open(ffi.string(C.ptsname(master)), M.O_RDWR + M.O_NOCTTY)
end

--- A TCP socket on 127.0.0.1 that listens and never accepts; its queue has room for one connection. Returns its port, too.
function M.deaf_listener()
  local fd = C.socket(2, 0x80001, 0)
  local name, length = ffi.new("uint8_t[16]", { 2, 0, 0, 0, 127, 0, 0, 1 }), ffi.new("unsigned int[1]", 16)
  assert(C.bind(fd, name, 16) == 0 and C.listen(fd, 0) == 0 and C.getsockname(fd, name, length) == 0)
  return fd, name[2] * 256 + name[3]
end

M.close, M.dup = C.close, C.dup

--- The flags of an open file (F_GETFL).
function M.flags(fd)
  return C.fcntl(fd, 3)
end

function M.is_open(fd)
  return C.fcntl(fd, 1) >= 0
end

function M.is_close_on_exec(fd)
  return C.fcntl(fd, 1) == 1
end

--- The number of descriptors that are open.
function M.count()
  local count = 0
  for fd = 0, 2047 do
    if M.is_open(fd) then count = count + 1 end
  end
  return count
end

return M
