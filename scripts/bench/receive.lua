-- What a GiB costs the receiving process in CPU time, by the way its bytes reach a buffer of the reader's; run by
-- scripts/bench/receive. The measurement behind "connection:read(buffer) copies" in docs/decisions.md.
--
--   read()    the received slices, used where they are
--   read(b)   the same, copied into a buffer of the reader's
--   recv(2)   straight into that buffer by a blocking call, without any loop: what receiving there costs at least
--
-- The sender is a process of its own that sends as fast as it can. The ways take turns, so that a noisy machine is noisy
-- for all of them; each number is a median.

local ffi = require "ffi"
local moonring = require "moonring"
local net = require "moonring.net"
local buffer = require "moonring.buffer"

local GIB, BYTES, ROUNDS = 1073741824, 268435456, 7

if arg[1] then -- the sender
  local connection = assert(net.connect { port = tonumber(arg[1]) })
  local piece = buffer.allocate(262144):fill(97)
  while connection:write(piece:seek(0)) do end
  return
end

ffi.cdef [[
int socket(int, int, int);
int listen(int, int);
int accept4(int, void *, void *, int);
int getsockname(int, void *, unsigned *);
ssize_t recv(int, void *, size_t, int);
int close(int);
]]
local C = ffi.C
local AF_INET, SOCK_STREAM, SOCK_CLOEXEC = 2, 1, 0x80000

-- A socket accepted without moonring, and its sender.
local function accept_plainly(start_sender)
  local listener = C.socket(AF_INET, SOCK_STREAM + SOCK_CLOEXEC, 0)
  local name, length = ffi.new("uint8_t[16]"), ffi.new("unsigned[1]", 16)
  assert(C.listen(listener, 1) == 0 and C.getsockname(listener, name, length) == 0)
  local sender = start_sender(name[2] * 256 + name[3])
  local fd = C.accept4(listener, nil, nil, SOCK_CLOEXEC)
  assert(fd >= 0)
  C.close(listener)
  return fd, sender
end

local function start_sender(port)
  return assert(io.popen(("%s %s %d"):format(arg[-1], arg[0], port)))
end

local listener = assert(net.listen {})
local sender = start_sender(listener.port)
local connection = assert(listener:accept())
local fd, plain_sender = accept_plainly(start_sender)

local cases = { { name = "read()", run = function()
  local got = 0
  while got < BYTES do
    got = got + assert(connection:read()):remaining()
  end
end } }
for _, size in ipairs { 16384, 65536, 262144, 1048576 } do
  local target = buffer.allocate(size)
  cases[#cases + 1] = { name = ("read(b) of %4d KiB"):format(size / 1024), run = function()
    local got = 0
    while got < BYTES do
      got = got + assert(connection:read(target:reset_for_write())).position
    end
  end }
  cases[#cases + 1] = { name = ("recv(2) of %4d KiB"):format(size / 1024), against = #cases, run = function()
    local got, data = 0, target:pointer()
    while got < BYTES do
      local count = tonumber(C.recv(fd, data, size, 0))
      assert(count > 0)
      got = got + count
    end
  end }
end

for round = 1, ROUNDS do
  for _, case in ipairs(cases) do
    local before = os.clock()
    case.run()
    case[round] = (os.clock() - before) / BYTES * GIB
  end
end
connection:close(0)
C.close(fd)
moonring.sleep(0.01) -- a turn, in which the connection's end goes out: the sender waits for it
sender:close()
plain_sender:close()
listener:close()
for _, case in ipairs(cases) do
  table.sort(case)
  case.median = case[math.ceil(ROUNDS / 2)]
  local against = case.against and cases[case.against]
  print(("%-20s %5.0f ms of CPU for a GiB%s"):format(case.name, case.median * 1000, against
    and ("   %.2f of read(b)"):format(case.median / against.median) or ""))
end
