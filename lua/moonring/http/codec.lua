--- HTTP/1.1 as bytes in, decisions out (RFC 9110 and 9112), in both directions: opens no socket, never waits, has no clock.
--
-- This is the door; the rooms are in codec/. A reader calls read_request or read_response until the head is there,
-- then, where head.has_body says so, body:begin(head) and body:next(buffer) until that returns 0. Every one of them
-- answers nil while it wants more bytes behind those that are left in the buffer, and false, status, message for what
-- has to be refused; then nothing behind it can be trusted and the connection is closed. The answers don't depend on
-- the pieces the bytes come in.
--
-- A writer is anything with reserve(bytes) and commit(bytes), such as a connection.

local head = require "moonring.http.codec.head"
local request = require "moonring.http.codec.request"
local response = require "moonring.http.codec.response"
local body = require "moonring.http.codec.body"
local format = require "moonring.http.codec.format"
local write = require "moonring.http.codec.write"
local limits = require "moonring.http.codec.limits"
local target = require "moonring.http.codec.target"
local cookie = require "moonring.http.codec.cookie"

return {
  --- What messages are bounded by unless the caller says otherwise.
  limits = limits.defaults,
  merge_limits = limits.merge,
  --- Reason phrases by status code.
  reasons = require "moonring.http.codec.status",

  new_head = head.new,
  read_request = request.read,
  read_response = response.read,
  is_interim = response.is_interim,
  new_body = body.new,
  view_of = body.view_of,

  write_response = format.write_response,
  write_response_head = write.response_head,
  write_interim = write.interim,
  write_request = write.request_head,
  write_chunk = write.chunk,
  chunk_line = write.chunk_line,
  write_last_chunk = write.last_chunk,
  --- Answers `Expect: 100-continue` (RFC 9110 section 15.2.1).
  continue = "HTTP/1.1 100 Continue\r\n\r\n",
  set_date = format.set_date,
  join_fields = format.join_fields,
  date = format.date,
  is_bodiless = format.is_bodiless,
  is_token = format.is_token,

  percent_decode = target.percent_decode,
  percent_encode = target.percent_encode,
  split_target = target.split,
  parse_pairs = target.parse_pairs,
  format_pairs = target.format_pairs,
  first_values = target.first_values,
  values_of = target.values_of,
  parse_cookies = cookie.parse,
  format_cookie = cookie.format,
}
