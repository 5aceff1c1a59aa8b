-- moonring.fs.file: an open file.
--
-- A read or write with an offset is one of its own: many may be under way, and none moves anything. Without an offset
-- they go on at the file's position, which is kept here and not in the kernel; one task at a time may do that. Pipes,
-- terminals and other files without offsets are read and written in the order in which that was asked for.
--
-- Native memory is handed to the kernel as it is, heap buffers and long strings, too, which are kept meanwhile. Short
-- strings are copied to native memory, and so is what goes to and from wrapped memory of the caller's, because nobody
-- knows how long that lives.
--
-- Files have the reading helpers of moonring.stream, which read ahead. Whoever else uses the position, by a write or a
-- list of iovecs, begins behind what they have given: what they hold goes back to the file, where it has offsets.

local core = require "moonring.fs.file.core"
local reading = require "moonring.fs.file.reading"
require "moonring.fs.file.writing"
require "moonring.fs.file.calls"

return { File = core.File, new = core.new, CHUNK = reading.CHUNK }
