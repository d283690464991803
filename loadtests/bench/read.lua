-- wrk: the status of a random task. All requests are made at the start, so Lua only picks one.
dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "summary.lua")

local requests = {}

function init(arguments)
  math.randomseed(os.time())
  for task_id in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("GET", "/status/" .. task_id)
  end
end

function request()
  return requests[math.random(#requests)]
end
