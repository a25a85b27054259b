-- The script of wrk for one round; wrk.ts writes the plan and reads the report. wrk runs it in one
-- thread, so that there is one state.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } bench_time;
  int clock_gettime(int clock, bench_time *time);
]]
local CLOCK_MONOTONIC = 1
local clock = ffi.new("bench_time[1]")

local function now_ms()
  ffi.C.clock_gettime(CLOCK_MONOTONIC, clock)
  return tonumber(clock[0].seconds) * 1000 + tonumber(clock[0].nanoseconds) / 1000000
end

local threads = {}
function setup(thread)
  table.insert(threads, thread)
end

-- done() reads these, so that they must be global.
answered, first_ms, last_ms, fault = 0, 0, 0, ""

local wanted, queue, head, tail, budget = {}, {}, 1, 0, nil
local before, member, same_request = nil, nil, nil

-- wrk calls this before each request. When no request is left, the connection waits until the end.
local promised = 0
local function wait_ms()
  if tail - head + 1 <= promised then return 60000 end
  promised = promised + 1
  return 0
end

-- The plan: lines of a word, a tab and a text.
function init(args)
  for line in io.lines(args[#args]) do
    local word, text = line:match("^(%S+)\t(.*)$")
    if word == "method" then wrk.method = text
    elseif word == "path" then wrk.path = text
    elseif word == "header" then
      local name, value = text:match("^([^:]+): (.*)$")
      wrk.headers[name] = value
    elseif word == "wanted" then table.insert(wanted, text)
    elseif word == "body" then wrk.body = text
    elseif word == "queued" then
      tail = tail + 1
      queue[tail] = text
    elseif word == "budget" then budget = tonumber(text)
    elseif word == "before" then before = text
    elseif word == "member" then member = '"' .. text .. '":"([^"]+)"'
    end
  end
  if tail == 0 then same_request = wrk.format() end
  if budget ~= nil then delay = wait_ms end
end

-- wrk calls this once for a request that it does not send.
local is_looked_at = false

function request()
  if not is_looked_at then
    is_looked_at = true
    return same_request or wrk.format(nil, nil, nil, queue[head])
  end
  if first_ms == 0 then first_ms = now_ms() end
  if same_request ~= nil then return same_request end
  local body = queue[head] or ""
  queue[head] = nil
  head = head + 1
  promised = promised - 1
  if budget == nil then
    tail = tail + 1
    queue[tail] = body
  end
  return wrk.format(nil, nil, nil, body)
end

function response(status, headers, body)
  local seen = ""
  if status < 200 or status > 299 then seen = "status " .. status end
  for _, text in ipairs(wanted) do
    if seen == "" and body:find(text, 1, true) == nil then seen = "wrong answer" end
  end
  if seen ~= "" then
    if fault == "" then fault = seen .. ": " .. body:sub(1, 200):gsub("%s+", " ") end
    wrk.thread:stop()
    return
  end
  answered = answered + 1
  last_ms = now_ms()
  if member ~= nil then
    tail = tail + 1
    queue[tail] = before .. (body:match(member) or "")
  end
  if budget ~= nil and answered >= budget then wrk.thread:stop() end
end

function done(summary, latency, requests)
  local thread = threads[1]
  io.write("report\n")
  io.write(string.format("requests\t%d\n", thread:get("answered")))
  io.write(string.format("elapsed\t%.3f\n", thread:get("last_ms") - thread:get("first_ms")))
  local text = thread:get("fault")
  if text ~= "" then io.write("fault\t" .. text .. "\n") end
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  if errors > 0 then io.write(string.format("fault\t%d connection errors\n", errors)) end
  -- The latency at each permille of the requests.
  for share = 1, 1000 do io.write(string.format("latency\t%.3f\n", latency:percentile((share - 0.5) / 10) / 1000)) end
end
