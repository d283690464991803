-- wrk: notifications over the general route, each with another number; and with a key of that
-- number, if the first argument names a member for it. The others: how many keys, the first number.
dofile(debug.getinfo(1, "S").source:match("@(.*/)") .. "summary.lua")

local template = '{"type": "notification", "payload": {"email": "johndoe@example.com", '
  .. '"message": "Your submission %d was received."}'
local keys, number

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"

function init(arguments)
  if arguments[1] ~= "none" then
    template = template .. ', "' .. arguments[1] .. '": "account-%d"'
  end
  template = template .. "}"
  keys, number = tonumber(arguments[2]), tonumber(arguments[3])
end

function request()
  number = (number + 1) % keys
  return wrk.format(nil, nil, nil, template:format(number, number))
end
