-- Copies a file by several tasks that read and write at offsets of their own, with a progress bar.
--   moonring examples/file_copy.lua from to
local moonring = require "moonring"
local fs = require "moonring.fs"

local TASKS, PIECE = 8, 1048576
local from, to = arg[1], arg[2]
if not to then error("usage: moonring examples/file_copy.lua from to", 0) end

moonring.scope(function(scope)
  local source = scope:own(assert(fs.open(from)))
  local target = scope:own(assert(fs.open(to, "w")))
  local size = assert(source:stat()).size
  local next_offset, copied, start = 0, 0, moonring.now()

  local function draw()
    local part = size > 0 and copied / size or 1
    io.stderr:write(("\r[%-40s] %3.0f %%  %.0f MiB/s "):format(("="):rep(math.floor(part * 40)), part * 100,
      copied / 1048576 / math.max(moonring.now() - start, 0.001)))
  end

  -- A read may give fewer bytes than asked for: the rest of the piece is read again.
  local function copy_piece(piece, offset, stop)
    while offset < stop do
      piece:reset_for_write():set_limit(stop - offset)
      assert(source:read(piece, offset), "the file has become shorter")
      local count = piece.position
      assert(target:write(piece:reset_for_read(), offset))
      offset, copied = offset + count, copied + count
    end
  end

  local function copy_pieces()
    local piece = scope:allocate(PIECE)
    while next_offset < size do
      local offset = next_offset
      next_offset = math.min(offset + PIECE, size)
      copy_piece(piece, offset, next_offset)
    end
  end

  local bar = moonring.every(0.1, draw)
  moonring.scope(function(workers)
    for _ = 1, TASKS do
      workers:spawn(copy_pieces)
    end
  end)
  bar:cancel()
  assert(target:sync())
  draw()
  io.stderr:write "\n"
  print(("%d bytes copied"):format(copied))
end)
