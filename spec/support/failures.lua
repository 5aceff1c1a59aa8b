-- How calls fail, for assertions about it.

local errors = require "moonring.errors"
local assert = require "luassert"

local M = {}

--- The code of a failure that is returned: the third of nil, message, code.
function M.code_of(_, _, code)
  return code
end

--- Runs fn(...), which must raise. Returns the error's code, or the error when it has none.
function M.raised(fn, ...)
  local ok, failure = pcall(fn, ...)
  assert.is_false(ok)
  return errors.is(failure) and failure.code or failure
end

--- Runs fn(...), which must raise an error of that code with the text in its message.
function M.refused(code, text, fn, ...)
  local ok, failure = pcall(fn, ...)
  assert.is_false(ok)
  assert.is_true(errors.is(failure, code), tostring(failure))
  assert.is_truthy(failure.message:find(text, 1, true), failure.message)
end

return M
