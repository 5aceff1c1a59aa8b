--- Media types by the ending of a file's name: those of the web, from IANA's registry. Data, and how to look there.

local M = {}

local UTF8 = "; charset=utf-8"

---@type table<string, string>
M.by_ending = {
  html = "text/html" .. UTF8, htm = "text/html" .. UTF8, xhtml = "application/xhtml+xml", css = "text/css" .. UTF8,
  js = "text/javascript" .. UTF8, mjs = "text/javascript" .. UTF8, json = "application/json", map = "application/json",
  jsonld = "application/ld+json", webmanifest = "application/manifest+json", xml = "application/xml",
  atom = "application/atom+xml", rss = "application/rss+xml", txt = "text/plain" .. UTF8, text = "text/plain" .. UTF8,
  md = "text/markdown" .. UTF8, csv = "text/csv" .. UTF8, ics = "text/calendar" .. UTF8, vtt = "text/vtt" .. UTF8,
  lua = "text/plain" .. UTF8, log = "text/plain" .. UTF8, yaml = "application/yaml", yml = "application/yaml",
  svg = "image/svg+xml", png = "image/png", jpg = "image/jpeg", jpeg = "image/jpeg", gif = "image/gif",
  webp = "image/webp", avif = "image/avif", ico = "image/vnd.microsoft.icon", bmp = "image/bmp", tif = "image/tiff",
  tiff = "image/tiff", mp3 = "audio/mpeg", m4a = "audio/mp4", ogg = "audio/ogg", oga = "audio/ogg", opus = "audio/ogg",
  wav = "audio/wav", flac = "audio/flac", mp4 = "video/mp4", m4v = "video/mp4", webm = "video/webm", ogv = "video/ogg",
  mov = "video/quicktime", woff = "font/woff", woff2 = "font/woff2", ttf = "font/ttf", otf = "font/otf",
  pdf = "application/pdf", wasm = "application/wasm", zip = "application/zip", gz = "application/gzip",
  tgz = "application/gzip", tar = "application/x-tar", xz = "application/x-xz", zst = "application/zstd",
}

M.DEFAULT = "application/octet-stream"

--- The media type of a path.
---@param path string
---@return string
function M.of(path)
  local ending = path:match "%.([^./]+)$"
  return ending and M.by_ending[ending:lower()] or M.DEFAULT
end

--- Whether content of that type gets much smaller by compression.
---@param media_type string
---@return boolean
function M.is_compressible(media_type)
  return media_type:find "^text/" ~= nil or media_type:find "^application/[%w+.-]*json" ~= nil
    or media_type:find "^application/[%w+.-]*xml" ~= nil or media_type:find "^image/svg" ~= nil
    or media_type:find "^application/wasm" ~= nil or media_type:find "^font/[to]tf" ~= nil
    or media_type:find "^application/yaml" ~= nil
end

return M
