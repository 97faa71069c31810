-- What wrk sends, and what it makes of the answers; see `Wrk.plan` in generators.py for the plan.

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

local function block(file)
   return file:read(tonumber(file:read("*l")))
end

function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   local answers, count = file:read("*l"):match("(%d+) (%d+)")
   expected, requests, statuses = {}, {}, {}
   for _ = 1, tonumber(answers) do
      local status, text = block(file):match("^(%d+) (.*)$")
      expected[tonumber(status)] = text
   end
   for number = 1, tonumber(count) do
      requests[number] = block(file)
   end
   file:close()
   pause_ms = tonumber(arguments[2])
   if pause_ms == 0 then
      delay = nil
   end
   wrong, next_request = 0, 0
end

function request()
   next_request = next_request % #requests + 1
   return requests[next_request]
end

function delay()
   return math.random(0, 2 * pause_ms)
end

function response(status, headers, body)
   statuses[status] = (statuses[status] or 0) + 1
   local text = expected[status]
   if text == nil or not body:find(text, 1, true) then
      wrong = wrong + 1
   end
end

function done(summary, latency, requests)
   local wrong, counts = 0, {}
   for _, thread in ipairs(threads) do
      wrong = wrong + thread:get("wrong")
      for status, count in pairs(thread:get("statuses")) do
         counts[status] = (counts[status] or 0) + count
      end
   end
   local statuses, percentiles = {}, {}
   for status, count in pairs(counts) do
      table.insert(statuses, string.format('"%d": %d', status, count))
   end
   for _, percent in ipairs({50, 90, 99, 99.9}) do
      table.insert(percentiles, string.format('"%g": %g', percent, latency:percentile(percent)))
   end
   local errors = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
   io.write(string.format(
      '\n{"requests": %d, "seconds": %g, "wrong": %d, "errors": %d, "statuses": {%s}, "latency_us": {%s}}\n',
      summary.requests, summary.duration / 1e6, wrong, errors,
      table.concat(statuses, ", "), table.concat(percentiles, ", ")
   ))
end
