---@meta moonring.fs
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.Directory
local Directory = {}

--- Closes it. Closing again does nothing.
function Directory:close() end

--- The next entry, without "." and "..", in the order of the filesystem.
---@return moonring.DirectoryEntry? entry nil at the end
---@return string? message
---@return string? code
function Directory:next() end

---@class moonring.File
---@field path string what it was opened by
---@field descriptor integer|false false once it has been closed
---@field position integer where reads and writes without an offset go on; ahead of what reading helpers have given
---@field has_offsets boolean false for pipes, terminals and the like
local File = {}

--- Tells the kernel how the file will be read (posix_fadvise(2)). length 0: to its end.
---@param advice "normal"|"random"|"sequential"|"will_need"|"dont_need"|"no_reuse"
---@param offset? integer
---@param length? integer
function File:advise(advice, offset, length) end

--- Reserves disk space for `length` bytes from `offset` on, so that writing there can't fail for want of it. mode
--- "extend" (default) lets the file grow to them, "keep_size" doesn't; "punch_hole" gives the space back and "zero"
--- keeps it, both leaving zeros (fallocate(2)).
---@param offset integer
---@param length integer
---@param mode? "extend"|"keep_size"|"punch_hole"|"zero"
---@return true? ok
---@return string? message
---@return string? code
function File:allocate(offset, length, mode) end

--- Sets its permissions, as fs.chmod does.
---@param permissions integer such as tonumber("644", 8)
function File:chmod(permissions) end

--- Sets its owner and group, as fs.chown does.
---@param owner? integer user's number; nil: unchanged
---@param group? integer
function File:chown(owner, group) end

--- Iterates over the rest of the file: `for buffer in file:chunks() do`. Ends with the file, also when that fails.
function File:chunks() end

--- Closes the file; never waits. What is under way goes on. Whether everything written has reached the disk is told by
--- sync alone. Closing again does nothing.
function File:close() end

--- The alignment that offsets, lengths and memory must have for a file that was opened with `direct`: what the kernel
--- says (6.1), or a page, which suits every disk.
---@return integer bytes
function File:direct_alignment() end

--- Iterates over the lines from the position on, without their ends (LF, or CR LF): `for line in file:lines() do`. A
--- failure of the system is raised.
---@param max? integer bytes of a line at the most, default 1 MiB
---@return fun(): string?
function File:lines(max) end

--- Takes an advisory lock on the whole file, which belongs to this open file (an open file description lock, fcntl(2)):
--- "exclusive" (default), or "shared" with other shared ones. Waits until it is free, asking again up to ten times a
--- second, since the kernel can't be asked to tell; with `wait` false it doesn't. The close of the file gives it back.
---@param kind? "shared"|"exclusive"
---@param wait_for_it? boolean default true
---@return boolean? locked false: somebody else has it
---@return string? message
---@return string? code
function File:lock(kind, wait_for_it) end

--- Reads what one call of the kernel gives. Without arguments: the next bytes, in a buffer that is lent until the next
--- read or the close of the file. With a number: up to so many, in a buffer that is the caller's. With a buffer: into
--- [position, limit) of it, whose position moves behind the bytes, and it is the one that is returned. With an offset
--- the file's position has no part in it, and reads may be under way together.
---@param target? integer|moonring.Buffer
---@param offset? integer bytes; default: at the file's position, which moves on
---@return moonring.Buffer? buffer nil at the end of the file
---@return string? message
---@return string? code the errno's name
function File:read(target, offset) end

--- Fills the `length` bytes of each iovec, one after the other, as far as one call goes (readv).
---@param list moonring.Iovec[]
---@param offset? integer
---@return integer? count bytes; nil at the end of the file
---@return string? message
---@return string? code
function File:read_iovecs(list, offset) end

--- Moves the file's position, from which read and write without an offset go on.
---@param offset integer bytes
function File:seek(offset) end

--- What is known of the file; see fs.stat.
---@return moonring.FileStatus? status
---@return string? message
---@return string? code
function File:stat() end

--- Waits until all that was written is on the disk (fsync); with `data_only`, without times that nobody needs for
--- finding it (fdatasync).
---@param data_only? boolean
---@return true? ok
---@return string? message
---@return string? code "EIO", "ENOSPC", "EDQUOT": what could not be written back, told once
function File:sync(data_only) end

--- Makes the file `length` bytes long; what is new reads as zeros.
---@param length integer
---@return true? ok
---@return string? message
---@return string? code
function File:truncate(length) end

--- Gives the lock back.
function File:unlock() end

--- Sets its times, as fs.utimes does.
---@param accessed? number seconds since 1970; nil: unchanged
---@param modified? number
function File:utimes(accessed, modified) end

--- Writes a string, the remaining bytes of a buffer (whose position moves behind what was written), or a chain (which
--- what was written leaves): all of it, in as many calls as it takes. A buffer must not be changed before write returns.
--- When that fails, or the wait is cancelled, a part may have been written; for a failure the fourth result says how
--- many bytes.
---@param data string|moonring.Buffer|moonring.Chain
---@param offset? integer bytes; default: at the file's position, which moves on; without meaning when it appends
---@return true? ok
---@return string? message
---@return string? code
---@return integer? written
function File:write(data, offset) end

--- Writes the `length` bytes of each iovec, one after the other (writev), as write does.
---@param list moonring.Iovec[]
---@param offset? integer
---@return true? ok
---@return string? message
---@return string? code
---@return integer? written
function File:write_iovecs(list, offset) end

---@class moonring.TemporaryDirectory
---@field path string
local TemporaryDirectory = {}

--- Removes it with all that is in it. Closing again does nothing.
---@return true? ok
---@return string? message
---@return string? code
function TemporaryDirectory:close() end

---@class moonring.TemporaryFile: moonring.File
---@field name? string|false its path, where it has one
local TemporaryFile = {}

--- Closes and removes it.
function TemporaryFile:close() end

--- Gives a file without a name one that is free; closing it doesn't remove that.
function TemporaryFile:link_to(path) end

--- Gives it a name for good; closing it doesn't remove it any more. What has this name is replaced.
---@param path string
---@return true? ok
---@return string? message
---@return string? code
function TemporaryFile:rename_to(path) end

---@class moonring.Watch
local Watch = {}

--- Iterates over the events: `for event in watch:changes() do`.
function Watch:changes() end

--- Ends the watch. Who waits for an event gets nil. Closing again does nothing.
function Watch:close() end

--- The next event. Waits for it.
---@return moonring.WatchEvent? event nil when the watch has been closed, or what it watched is gone
---@return string? message what went wrong, when it is nil for that reason
---@return string? code
function Watch:next() end

--- next as an operation for moonring.select.
---@return moonring.Operation
function Watch:next_op() end

---@class moonring.CopyOptions
---@field exclusive? boolean fail with "EEXIST" when the target is there
---@field durable? boolean on the disk when this returns
---@field progress? fun(bytes: integer) called after each piece with the bytes copied so far
local CopyOptions = {}

--- doesn't tell; fs.lstat does
---@class moonring.DirectoryEntry
---@field name string
---@field kind? "file"|"directory"|"link"|"fifo"|"socket"|"character device"|"block device" nil where the filesystem
local DirectoryEntry = {}

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
local FileStatus = {}

---@class moonring.MakeDirectoryOptions
---@field parents? boolean make what is missing above, and be content when it is there already
---@field permissions? integer cut by the umask; default tonumber("777", 8)
local MakeDirectoryOptions = {}

---@class moonring.OpenFlags
---@field read? boolean
---@field write? boolean
---@field create? boolean make it when it isn't there
---@field exclusive? boolean with create: fail with "EEXIST" when it is
---@field truncate? boolean make it empty
---@field append? boolean each write goes to the end, wherever that is by then
---@field direct? boolean past the page cache (O_DIRECT): memory, offsets and lengths aligned, see file:direct_alignment
---@field sync? boolean each write is on the disk when it returns
---@field data_sync? boolean the same without times
---@field no_follow? boolean fail with "ELOOP" when it is a link
---@field no_access_time? boolean reading doesn't change the access time; the owner only
local OpenFlags = {}

---@class moonring.TemporaryOptions
---@field directory? string where; default $TMPDIR, or /tmp
---@field prefix? string what its name begins with, default "moonring."
---@field named? boolean of a file: give it a name that others can open
local TemporaryOptions = {}

---@class moonring.WalkOptions
---@field follow? boolean go into what links lead to, each directory once; default false
---@field depth? integer levels below `path`, default 1000
local WalkOptions = {}

--- "moved" (within what is watched; from and to elsewhere it is "removed" and "created"), "unmounted", "overflow" (events
---  are missing), "error" (with message and code: a directory could not be watched)
---@class moonring.WatchEvent
---@field kind string "created", "changed" (each write), "written" (a writer has closed the file), "attributes", "removed",
---@field path? string
---@field from? string of "moved": the earlier path
---@field is_directory boolean
local WatchEvent = {}

---@class moonring.WatchOptions
---@field recursive? boolean all directories below as well, and those that will be made
local WatchOptions = {}

---@class moonring.WriteFileOptions
---@field atomic? boolean default true: readers see the old file or the new one, never a part, also when this fails
---@field durable? boolean on the disk when this returns, the name as well
---@field permissions? integer of a new file, default tonumber("666", 8) cut by the umask; one that is there keeps its own
local WriteFileOptions = {}

--- files, directories and watching them.
--- 
--- Every call is carried out by the ring or by a helper thread while other tasks run. What the system refuses is returned
--- as nil, message, code; misuse is raised. A call that is cancelled leaves at once: what the kernel has done by then
--- stays done, so a cancelled rename may have happened.
local module = {}

--- Whether this process may use the file so: any of "r", "w" and "x" together.
---@param path string
---@param how string
---@return boolean? may
---@return string? message
---@return string? code
function module.access(path, how) end

--- Sets who may do what with a file, as chmod(2).
---@param path string
---@param new_permissions integer such as tonumber("644", 8)
function module.chmod(path, new_permissions) end

--- Sets whose file it is, as chown(2).
---@param path string
---@param owner? integer user's number; nil: unchanged
---@param group? integer
---@param no_follow? boolean of a link itself
function module.chown(path, owner, group, no_follow) end

--- Copies a file's contents and permissions. The blocks are shared where the filesystem can (a reflink), else the kernel
--- copies, else this does.
---@param from string
---@param to string replaced in place when it is there
---@param options? moonring.CopyOptions
---@return integer? bytes
---@return string? message
---@return string? code
function module.copy(from, to, options) end

--- Whether there is something at the path. A link that leads nowhere is nothing.
---@param path string
---@return boolean? exists nil when that can't be found out
---@return string? message
---@return string? code
function module.exists(path) end

--- Iterates over the lines of a file, without their ends (LF, or CR LF): `for line in fs.lines(path) do`. A path is
--- opened, and closed at the end of the iteration, or with the scope when that is left before; of an open file it is
--- file:lines. A failure of the system is raised, since the iteration can't return it.
---@param source string|moonring.File
---@param max? integer bytes of a line at the most, default 1 MiB
---@return fun(): string?
function module.lines(source, max) end

--- Gives a file a second name, `path`. A link is not followed.
---@param existing string
---@param path string
function module.link(existing, path) end

--- The same of a link itself.
function module.lstat(path) end

--- Makes a directory.
---@param path string
---@param options? moonring.MakeDirectoryOptions
---@return true? ok
---@return string? message
---@return string? code
function module.make_directory(path, options) end

--- Opens a file. mode: as for io.open, "x" making a new one or failing, or a table of flags. A FIFO waits for the other
--- side, as other programs do; what is opened is closed on exec.
---@param path string
---@param mode? string|moonring.OpenFlags default "r"
---@param new_permissions? integer of a new file, cut by the umask; default tonumber("666", 8)
---@return moonring.File? file
---@return string? message
---@return string? code
function module.open(path, mode, new_permissions) end

--- Opens a directory for reading its entries one by one.
---@param path string
---@return moonring.Directory? directory
---@return string? message
---@return string? code
function module.open_directory(path) end

--- The entries of a directory, sorted by name.
---@param path string
---@return moonring.DirectoryEntry[]? entries
---@return string? message
---@return string? code
function module.read_directory(path) end

--- The whole file as a buffer of the caller's, position 0.
--- ```lua
--- local fs = require "moonring.fs"
--- 
--- local contents = assert(fs.read_file "/proc/sys/kernel/ostype")
--- assert(contents:to_string() == "Linux\n")
--- contents:release()
--- ```
---@param path string
---@param max? integer bytes at the most; more is refused with "EFBIG"
---@return moonring.Buffer? contents
---@return string? message
---@return string? code
function module.read_file(path, max) end

--- What a symbolic link says.
---@param path string
---@return string? target
---@return string? message
---@return string? code
function module.read_link(path) end

--- The absolute path without links, "." and "..". All of it must be there.
---@param path string
---@return string? path
---@return string? message
---@return string? code
function module.real_path(path) end

--- Removes an empty directory.
function module.remove_directory(path) end

--- Removes a directory with all that is in it, or a file. Links are removed and never followed, also when somebody
--- exchanges a directory for one meanwhile: each level is reached from the open directory above it. What is gone
--- already is no failure, except for `path` itself.
---@param path string
---@return true? ok
---@return string? message what stopped it; the rest stays
---@return string? code
function module.remove_tree(path) end

--- Gives a file another name, in one step that everybody sees done or not done. how: "replace" (default) what is there,
--- "no_replace" (fails with "EEXIST"), or "exchange" the two.
---@param from string
---@param to string
---@param how? "replace"|"no_replace"|"exchange"
---@return true? ok
---@return string? message
---@return string? code "EXDEV": not on the same filesystem
function module.rename(from, to, how) end

--- What is known of a file: a table with kind, size, permissions, times, owner and more.
---@param path string
---@return moonring.FileStatus? status
---@return string? message
---@return string? code
function module.stat(path) end

--- Makes a symbolic link at `path` that says `target`.
---@param target string
---@param path string
function module.symlink(target, path) end

--- A new directory, permissions 700, that is removed with all that is in it when it is closed.
---@param options? moonring.TemporaryOptions
---@return moonring.TemporaryDirectory? directory
---@return string? message
---@return string? code
function module.temporary_directory(options) end

--- A new file for reading and writing, permissions 600, that is gone when it is closed: `scope:own(fs.temporary_file())`.
---@param options? moonring.TemporaryOptions
---@return moonring.TemporaryFile? file
---@return string? message
---@return string? code
function module.temporary_file(options) end

--- Removes a name of a file, or a link itself.
---@param path string
---@return true? ok
---@return string? message
---@return string? code
function module.unlink(path) end

--- Sets when it was read and written last, as utimensat(2).
---@param path string
---@param accessed? number seconds since 1970; nil: unchanged
---@param modified? number
---@param no_follow? boolean of a link itself
function module.utimes(path, accessed, modified, no_follow) end

--- Iterates over all that is below a directory: `for path, entry in fs.walk(path) do`. A directory comes before what is
--- in it. Links are not followed unless that is asked for, and then a directory is gone into once, so a loop of links
--- ends. For a directory that can't be read an entry comes that has `message` and `code`.
---@param path string
---@param options? moonring.WalkOptions
---@return fun(): string?, moonring.DirectoryEntry?
function module.walk(path, options) end

--- Watches files and directories; see moonring.fs.watch.
---@param path string
---@param options? moonring.WatchOptions
---@return moonring.Watch? watch
---@return string? message
---@return string? code
function module.watch(path, options) end

--- Writes a string, the remaining bytes of a buffer, or a chain as the whole of a file. By default into a new one in the
--- same directory that then takes its name.
---@param path string
---@param data string|moonring.Buffer|moonring.Chain
---@param options? moonring.WriteFileOptions
---@return true? ok
---@return string? message
---@return string? code
function module.write_file(path, data, options) end

return module
