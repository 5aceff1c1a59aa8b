---@meta moonring
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.Cache
local Cache = {}

--- Takes all out.
function Cache:clear() end

--- How many entries there are, those included that are too old and that nobody has asked for.
---@return integer
function Cache:count() end

--- Takes a key out.
---@param key any
function Cache:delete(key) end

--- The value of a key; where there is none, what `load(key)` returns, which is kept. While one task waits in `load`
--- others that ask for the same key wait for its value: a popular key is looked for once. nil, message, code from `load` is
--- the answer to its own caller and isn't kept; the others then look themselves, one after the other, as they do when
--- `load` raises or its task is cancelled.
--- ```lua
--- local moonring, dns = require "moonring", require "moonring.dns"
--- 
--- local addresses = moonring.cache { size = 100, ttl = 60 }
--- local list, message = addresses:fetch("localhost", dns.resolve)
--- print(list and list[1], message)
--- ```
---@param key any not nil
---@param load fun(key: any): any, string?, string?
---@param ttl? number seconds, default: the cache's
---@return any? value
---@return string? message
---@return string? code
function Cache:fetch(key, load, ttl) end

--- The value of a key, and how many seconds ago it was set.
---@param key any
---@return any? value nil when there is none, or it is too old
---@return number? age
function Cache:get(key) end

--- Keeps a value. nil takes the key out.
---@param key any not nil
---@param value any
---@param ttl? number seconds, default: the cache's
function Cache:set(key, value, ttl) end

--- Counters since the beginning, and how many entries there are.
---@return { hits: integer, misses: integer, evicted: integer, count: integer }
function Cache:statistics() end

---@class moonring.Channel
local Channel = {}

--- Takes no more values. Receivers get what is in there, and then nil; senders that wait fail with "closed". Closing
--- again does nothing.
function Channel:close() end

--- How many values wait in it.
---@return integer
function Channel:count() end

--- Takes the next value. Waits while there is none.
---@return any? value nil when the channel has been closed and is empty
function Channel:receive() end

--- receive as an operation for moonring.select.
---@return moonring.Operation
function Channel:receive_op() end

--- Hands a value in. Waits while the channel is full.
---@param value any not nil
---@return true? ok nil when the channel has been closed, before or while this waited
---@return string? message
---@return string? code "closed"
function Channel:send(value) end

--- send as an operation for moonring.select.
---@return moonring.Operation
function Channel:send_op(value) end

--- Takes the next value if there is one. Never waits.
---@return any? value
---@return boolean is_open false when there will never be one again
function Channel:try_receive() end

--- Hands a value in if that is possible without waiting.
---@return boolean
function Channel:try_send(value) end

--- Iterates over the values until the channel is closed and empty: `for value in channel:values() do`.
function Channel:values() end

---@class moonring.Descriptor
local Descriptor = {}

--- Closes it. Closing again does nothing.
function Descriptor:close() end

--- Its number, which stays this object's to close.
---@return integer
function Descriptor:number() end

--- Makes a connection of it (moonring.net.connection, open). Afterwards it is the connection's.
---@param options? moonring.StreamOptions
---@return moonring.Connection? connection
---@return string? message
---@return string? code
function Descriptor:open(options) end

--- Its number, which is the caller's to close from now on.
---@return integer
function Descriptor:take() end

---@class moonring.Event
local Event = {}

--- Whether it has happened.
---@return boolean
function Event:is_set() end

--- From now on waiting waits again.
function Event:reset() end

--- Lets all go on who wait, and everybody who comes later.
function Event:set() end

--- Waits until it has happened.
function Event:wait() end

--- wait as an operation for moonring.select.
---@return moonring.Operation
function Event:wait_op() end

---@class moonring.Limiter
local Limiter = {}

--- Takes one, or `count`, if that is within the limit now. Never waits.
--- ```lua
--- local moonring = require "moonring"
--- 
--- local limiter = moonring.limiter { rate = 5, burst = 2 }
--- assert(limiter:try "192.0.2.1" and limiter:try "192.0.2.1")
--- local ok, seconds = limiter:try "192.0.2.1"
--- assert(not ok and seconds <= 0.2)
--- ```
---@param key? any whose limit it is, default: one for all
---@param count? number default 1
---@return boolean ok
---@return number seconds until there will be room, 0 when there was
function Limiter:try(key, count) end

--- Takes one, or `count`, and waits until that is within the limit. Who waits has his place: later ones wait behind him.
--- A cancelled wait doesn't give back what it has taken.
---@param key? any
---@param count? number default 1
---@return number seconds that this has waited
function Limiter:wait(key, count) end

---@class moonring.Operation
local Operation = {}

--- Waits for this operation. Returns its results.
function Operation:perform() end

--- An operation whose results are those of this one, handed through `fn`. It runs after the choice has been made.
---@param fn function
---@return moonring.Operation
function Operation:wrap(fn) end

---@class moonring.Pool
local Pool = {}

--- Lends one: an idle one, or a new one, or the next that is given back. The borrower gives it back with release.
---@return any? resource nil when a new one could not be opened
---@return string? message
---@return string? code
function Pool:acquire() end

--- acquire as an operation for moonring.select. It is chosen when there is a place for the borrower; checking an idle one
--- or opening a new one, which may wait, comes after the choice.
---@return moonring.Operation
function Pool:acquire_op() end

--- Closes the idle ones, and the lent ones as they are given back. Who waits gets the error "closed".
function Pool:close() end

--- Gives one back.
---@param resource any
---@param is_broken? boolean true: it is closed and not lent again
function Pool:release(resource, is_broken) end

--- How many are idle, lent, and wanted by tasks that wait.
---@return { idle: integer, lent: integer, waiting: integer }
function Pool:stats() end

--- Runs `fn(resource, ...)` with one and gives it back; when fn raises (a cancellation included) it is closed instead,
--- for nobody knows what state it is in. Returns what fn returns; nil, message, code when none could be opened.
---@param fn function
function Pool:use(fn, ...) end

---@class moonring.Scope
---@field is_open boolean
local Scope = {}

--- A buffer of `capacity` bytes that the scope releases when it ends.
---@param capacity integer bytes
---@return moonring.Buffer
function Scope:allocate(capacity) end

--- The same with the address of its first byte a multiple of `alignment`, a power of two.
---@param capacity integer bytes
---@param alignment integer
---@return moonring.Buffer
function Scope:allocate_aligned(capacity, alignment) end

--- Ends the scope's work: every wait in it and below it raises. `reason` is the error object they get. Again does
--- nothing, the first reason stays.
---@param reason? any
function Scope:cancel(reason) end

--- Whether the scope has been cancelled, and the reason: for code that computes for long between waits.
---@return any? reason
function Scope:cancelled() end

--- Ends the scope before its block does: cancels and waits for its child tasks, releases what it owns. Closing again
--- does nothing. Only the task of the scope can do that, and only when no scope within is open.
function Scope:close() end

--- Gives everything in this scope and below `seconds` together, from now: then it is cancelled with an error of code
--- "deadline". Set again it replaces the earlier one; math.huge takes it away. Of nested deadlines the nearest wins.
---@param seconds number
function Scope:deadline(seconds) end

--- Makes the scope the owner of anything with a close method. Returns it.
function Scope:own(resource, ...) end

--- Takes something out of the scope's hands: it is the caller's from then on, or, with `to`, another scope's. Returns it.
---@param resource any what own or allocate has returned
---@param to? moonring.Scope
function Scope:release(resource, to) end

--- Starts `fn(...)` as a child task of this scope.
---@param fn function
---@return moonring.Task
function Scope:spawn(fn, ...) end

--- The same with a resource that the new task owns, as `fn(resource)`.
---@param resource table anything with a close method
---@param fn function
---@return moonring.Task
function Scope:spawn_owning(resource, fn) end

---@class moonring.Semaphore
local Semaphore = {}

--- Takes a permit. Waits until there is one.
function Semaphore:acquire() end

--- acquire as an operation for moonring.select.
---@return moonring.Operation
function Semaphore:acquire_op() end

--- Gives a permit back.
function Semaphore:release() end

--- Takes a permit if one is free. Never waits.
---@return boolean
function Semaphore:try_acquire() end

--- How many tasks wait for a permit.
---@return integer
function Semaphore:waiting() end

--- Runs `fn(...)` with a permit, which is given back however that ends. Returns what it returns.
---@param fn function
function Semaphore:with(fn, ...) end

---@class moonring.Signal
local Signal = {}

--- Gives the signals back: when nobody else has subscribed to them, they do again what they did before. Those that have
--- come and were not taken are forgotten. Closing again does nothing.
function Signal:close() end

--- Iterates over the signals that come: `for name in moonring.signal("HUP"):each() do`. Ends when it is closed.
function Signal:each() end

--- Waits for one of the signals. Of several tasks that wait on one subscription, one gets it.
---@return string? name nil when the subscription has been closed
function Signal:wait() end

--- wait as an operation for moonring.select.
---@return moonring.Operation
function Signal:wait_op() end

---@class moonring.Stream
local Stream = {}

--- Iterates over the lines: `for line in connection:lines() do`. Ends with the stream, also when it fails.
---@param max? integer bytes of a line
function Stream:lines(max) end

--- Reads everything up to the end of the stream.
---@param max? integer bytes, default 16 MiB
---@return string? bytes "" when the stream is at its end already
---@return string? message
---@return string? code "EMSGSIZE": there is more; what came stays to be read
function Stream:read_all(max) end

--- Reads exactly `count` bytes. With a buffer of the caller's in its place, as many as remain in it, into it.
---@param count integer|moonring.Buffer
---@return string|moonring.Buffer|nil bytes nil alone when the stream ends before the first of them
---@return string? message
---@return string? code "EOF": it ended in between; what came stays to be read (but what is in the caller's buffer)
function Stream:read_exactly(count) end

--- Reads a line, which ends with LF; neither it nor a CR before it is returned. A last line without LF is none: the code
--- is "EOF" then, and read_all gives what there is of it.
---@param max? integer bytes of the line, default 65536
---@return string? line nil alone at the end of the stream
---@return string? message
---@return string? code "EMSGSIZE", "EOF"
function Stream:read_line(max) end

--- Reads up to the delimiter and returns what is before it; the delimiter is skipped.
---@param delimiter string
---@param max? integer bytes before it, default 65536
---@return string? text nil alone at the end of the stream
---@return string? message
---@return string? code "EMSGSIZE": it does not come within max bytes; "EOF": nor before the end of the stream
function Stream:read_until(delimiter, max) end

--- Drops the next `count` bytes.
---@param count integer
---@return true? ok nil alone when the stream ends before the first of them
---@return string? message
---@return string? code "EOF": it ended in between
function Stream:skip(count) end

---@class moonring.Task: moonring.Scope
---@field id integer
---@field name? string
local Task = {}

--- Whether its function, its children and the release of what it owned have ended.
---@return boolean
function Task:has_ended() end

--- Waits for its end. Returns, like pcall, true and what its function returned, or false and what it failed with
--- (which its scope gets as well). What is raised is the caller's own cancellation.
---@return boolean ok
---@return any ...
function Task:join() end

--- The task's end; its results are those of join.
---@return moonring.Operation
function Task:join_op() end

--- Gives the task a name for reports. Returns the task.
---@param name string
---@return moonring.Task
function Task:named(name) end

--- How it has ended, like pcall: true and what its function returned, or false and what it failed with.
function Task:outcome() end

---@class moonring.CacheOptions
---@field size? integer entries, default 1000
---@field ttl? number seconds that an entry is kept, default: until there are too many
local CacheOptions = {}

---@class moonring.LimiterOptions
---@field rate number per second
---@field burst? number how many at once after a pause, default: the rate, and 1 at least
---@field keys? integer how many are remembered, default 10000
local LimiterOptions = {}

---@class moonring.PoolOptions
---@field open fun(): any, string?, string? makes one; nil, message, code when that fails
---@field close? fun(resource: any) default: its close method
---@field check? fun(resource: any): boolean whether one that was idle may still be lent, default: always
---@field size? integer how many may exist, default 8
---@field idle? number seconds after which one that nobody wants is closed, default 60
local PoolOptions = {}

---@class moonring.RetryOptions
---@field attempts? integer how many in all, default: until the scope's deadline
---@field first? number seconds of the first pause, default 0.1
---@field most? number seconds of the longest pause, default 30
---@field factor? number by which a pause is longer than the one before, default 2
---@field jitter? number share of a pause that is left to chance, 0 to 1, default 0.5
---@field codes? string[] the codes after which it is tried again, default: any
---@field on_failure? fun(attempt: integer, message: string?, code: string?, pause: number) told before each pause
local RetryOptions = {}

---@class moonring.TaskReport
---@field id integer
---@field name string its name, or where its function was defined
---@field age number seconds since it was spawned
---@field state "running"|"ready"|"waiting"
---@field waiting_on? string
---@field waiting_seconds? number
---@field cancelled? string why it has been cancelled
---@field spawned_at? string the place that spawned it: "file:line"
---@field traceback string
---@field children moonring.TaskReport[]
local TaskReport = {}

--- tasks, scopes and time; memory by moonring.buffer, networks by moonring.net, HTTP by moonring.http.
local module = {}

--- Starts `fn(...)` as a task of the running task's innermost scope, `seconds` from now and never earlier. Until then
--- it costs a table and a timer; task:cancel() takes it back.
---@param seconds number
---@param fn function
---@return moonring.Task
function module.after(seconds, fn, ...) end

--- Makes a cache: values by key, for a time, and only so many.
---@param options? moonring.CacheOptions
---@return moonring.Cache
function module.cache(options) end

--- Makes a channel.
---@param capacity? integer values that wait in it for a receiver, default 0
---@return moonring.Channel
function module.channel(capacity) end

--- Raises when the running task's scope has been cancelled. Nothing can come to pass while a task computes, neither a
--- deadline nor a signal: code that computes for long gives way with moonring.sleep(0), which checks as well.
function module.check() end

--- An operation that is whichever of these comes first.
---@param ... moonring.Operation
---@return moonring.Operation
function module.choice(...) end

--- The task that runs now.
---@return moonring.Task?
function module.current() end

--- Makes an event that has not happened.
---@return moonring.Event
function module.event() end

--- Calls `fn(...)` every `seconds` in a task of the running task's innermost scope, until it returns false or the task
--- is cancelled. A call that takes longer than `seconds` lets the moments pass that fall into it.
---@param seconds number more than 0
---@param fn function
---@return moonring.Task
function module.every(seconds, fn, ...) end

--- Makes a limiter: so many per second, for each key by itself.
---@param options moonring.LimiterOptions
---@return moonring.Limiter
function module.limiter(options) end

--- Monotonic time in seconds, for measuring durations.
---@return number
function module.now() end

--- Makes a pool, which the running task's innermost scope owns.
---@param options moonring.PoolOptions
---@return moonring.Pool
function module.pool(options) end

--- Loads a module like require; its main chunk may wait. Another task that asks for it meanwhile waits for the same
--- loading.
---@param name string
---@return any module
function module.require(name) end

--- Calls `fn(...)` until it returns something else than nil or false, and returns that. When it has been tried often
--- enough, what it returned last is returned: nil, message, code. How long it may take in all is the deadline of the scope.
--- ```lua
--- local moonring, net = require "moonring", require "moonring.net"
--- 
--- local connection, message, code = moonring.retry({ attempts = 3, first = 0.01, codes = { "ECONNREFUSED" } },
---   net.connect, { port = 1 })
--- print(connection, message, code)
--- ```
---@param options moonring.RetryOptions
---@param fn function
function module.retry(options, fn, ...) end

--- Runs `fn(...)` as a task and the loop until it has ended; for programs that a stock luajit runs. Raises what the
--- task raises.
function module.run(fn, ...) end

--- Runs `fn(scope, ...)` in a new scope and returns what it returns. What the scope owns is released, last made
--- first, and its child tasks have ended, when this returns or raises.
--- ```lua
--- local moonring = require "moonring"
--- 
--- local sum = moonring.scope(function(scope)
---   scope:deadline(2)                       -- everything in here, together
---   local parts = moonring.channel(2)
---   scope:spawn(function() parts:send(20) end)
---   scope:spawn(function() parts:send(22) end)
---   return parts:receive() + parts:receive()
--- end)
--- assert(sum == 42)
--- ```
---@param fn fun(scope: moonring.Scope, ...): ...
function module.scope(fn, ...) end

--- Waits until one of several operations can be done, and does that one: `local name, value = moonring.select { reply
--- = connection:read_op(), late = moonring.sleep_op(2) }`. The others are as if they had never been asked for. When
--- several can be done at once, each gets its turn.
--- ```lua
--- local moonring = require "moonring"
--- 
--- local replies = moonring.channel(1)
--- moonring.spawn(function() replies:send "pong" end)
--- local what, reply = moonring.select { reply = replies:receive_op(), late = moonring.sleep_op(2) }
--- assert(what == "reply" and reply == "pong")
--- ```
---@param operations table<any, moonring.Operation>
---@return any name the key of the operation that was done
---@return any ... its results
function module.select(operations) end

--- Makes a semaphore with so many permits.
---@param permits? integer default 1
---@return moonring.Semaphore
function module.semaphore(permits) end

--- Runs `fn(...)` protected from the cancellation of what is around it, for at most `seconds`: for cleaning up that
--- has to wait. The cancellation is raised by the next wait after it.
---@param seconds number
---@param fn function
function module.shield(seconds, fn, ...) end

--- Subscribes to signals: `moonring.signal("HUP", "USR1")`. A scope may own the subscription; closing it gives the
--- signals back.
---@param ... string|integer names, with or without SIG, or numbers
---@return moonring.Signal
function module.signal(...) end

--- Waits for `seconds`, never less. 0 lets other tasks run.
---@param seconds number
function module.sleep(seconds) end

--- The moment `seconds` after the waiting begins.
---@param seconds number
---@return moonring.Operation
function module.sleep_op(seconds) end

--- Starts `fn(...)` as a task of the running task's innermost scope. It runs when its turn comes.
---@param fn function
---@return moonring.Task
function module.spawn(fn, ...) end

--- The loop's counters; see mr_loop_statistics in runtime/loop/loop.h. `memory` is a table of those of its memory, `tasks`
--- the number of tasks that have not ended.
---@return table
function module.stats() end

--- Standard error.
---@type moonring.Output
module.stderr = nil

--- Standard output.
---@type moonring.Output
module.stdout = nil

--- Every task that has not ended, as a tree: the tasks without a parent, each with its children.
---@return moonring.TaskReport[]
function module.tasks() end

--- Runs `fn(...)` with `seconds` of time, the waiting of its child tasks included, and returns what it returns. Raises
--- an error of code "deadline" when the time is over.
---@param seconds number
---@param fn function
function module.timeout(seconds, fn, ...) end

--- Seconds since 1970, by the system's clock, which may jump.
---@return number
function module.wall() end

--- Reports on standard error every task that computes or blocks for longer than `seconds` without waiting: at once that
--- it happens, and the task's name and traceback as soon as it leaves the compiled loop or the function of C that it is
--- in (in a stock luajit: when it waits next). Noticed within a quarter more than that. 0 ends the watch.
---@param seconds number
function module.watchdog(seconds) end

return module
