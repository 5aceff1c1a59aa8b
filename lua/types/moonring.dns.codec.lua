---@meta moonring.dns.codec
-- Made by scripts/reference from the comments in lua/moonring; what is changed here is lost.

---@class moonring.dns.Message
---@field id integer
---@field is_response boolean
---@field opcode integer 0 is a standard query
---@field rcode string "NOERROR", "NXDOMAIN" ..., or "RCODE23"
---@field is_authoritative boolean
---@field is_truncated boolean
---@field recursion_desired boolean
---@field recursion_available boolean
---@field is_authentic boolean
---@field checking_disabled boolean
---@field questions moonring.dns.Question[]
---@field answers moonring.dns.Record[]
---@field authorities moonring.dns.Record[]
---@field additionals moonring.dns.Record[] without the OPT record, which is `edns`
---@field edns? { size: integer, version: integer, wants_dnssec: boolean, options: { code: integer, data: string }[] }
local Message = {}

---@class moonring.dns.Question
---@field name string
---@field type string "A", "MX" ..., or "TYPE123" for one that has no name here
---@field class integer 1 is IN
local Question = {}

---@class moonring.dns.Record
---@field name string the owner
---@field type string
---@field class integer
---@field ttl integer seconds
---@field address? string A, AAAA
---@field target? string CNAME, NS, PTR, SRV
---@field exchange? string MX
---@field preference? integer MX
---@field priority? integer SRV
---@field weight? integer SRV
---@field port? integer SRV
---@field strings? string[] TXT, in their pieces; `text` is all of them together
---@field text? string TXT
---@field primary? string SOA, with mailbox, serial, refresh, retry, expire, minimum
---@field is_critical? boolean CAA, with tag and value
---@field data? string the bytes of a type that has no form here
local Record = {}

--- DNS messages, read and written. Opens no socket and never waits.
--- 
--- A message is a table: the header's fields, and lists of questions and of records. Names are in presentation form
--- (RFC 1035 section 5.1) without the dot at the end, the root is "."; a dot or backslash inside a label is written with
--- a backslash, any other unusual byte as \DDD. Case is kept as it came.
--- 
--- What comes from the network is never trusted: every length is checked against the message before it is used, and a
--- compression pointer must point to before the name that it is in, so following them ends. Bytes behind the last record
--- are not looked at. What can't be read is returned as nil, message, "FORMERR".
local module = {}

--- of every message
---@type any
module.HEADER_BYTES = nil

--- bytes of a message, over TCP
---@type any
module.MESSAGE_MAX = nil

--- Names of the response codes by number.
---@type table<integer, string>
module.RCODES = nil

--- Numbers of the types of records by name.
---@type table<string, integer>
module.TYPES = nil

--- what anybody takes over UDP (RFC 1035 section 4.2.1); EDNS tells of more
---@type any
module.UDP_BYTES = nil

--- Reads a message: the remaining bytes of a buffer, whose position stays, or a string.
---@param source moonring.Buffer|string
---@return moonring.dns.Message? message
---@return string? problem
---@return string? code "FORMERR"
function module.decode(source) end

--- Writes a message into a buffer at its position, which moves behind it. Absent fields have their usual values. What
--- doesn't fit into `max` bytes is left out, the last records first, and the message marked as truncated. Names are
--- compressed. Raises "argument" for what can't be written, with the buffer unchanged.
---@param message moonring.dns.Message
---@param target moonring.Buffer
---@param max? integer bytes, default: the buffer's remaining ones, 65535 at most
---@return boolean complete
function module.encode(message, target, max) end

--- The same as a new buffer, ready to be read or sent.
---@param message moonring.dns.Message
---@param max? integer bytes, default 65535
---@return moonring.Buffer encoded
---@return boolean complete
function module.encode_new(message, max) end

--- The beginning of an answer to a query: its id, question and flags.
---@param query moonring.dns.Message
---@return moonring.dns.Message
function module.reply_to(query) end

--- The number of a type that is given by its name; "TYPE65280" for one without. Raises when there is none.
function module.type_number(name) end

return module
