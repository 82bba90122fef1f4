-- Asks Tollgate whether a request may pass: the action `lua.tollgate`.
--
-- Its argument is the address of the gate. 200 passes, with who it is in the request; what Tollgate refuses is refused in its
-- words; anything else is 503, so that nobody passes who was not let through.

-- What a gateway tells the API. The client's own are removed before this script runs.
local introduction = {
    "x-tollgate-user-id", "x-tollgate-key-id", "x-tollgate-workspace-id", "x-tollgate-consumer-id", "x-tollgate-scopes",
    "x-tollgate-key-retires-at", "x-tollgate-plan",
}
-- What a refused client is told.
local explanation = {
    "content-type", "www-authenticate", "retry-after", "ratelimit", "ratelimit-policy", "x-request-id", "cache-control",
}

-- The first value of a header. HAProxy counts them from 0.
local function first(headers, name)
    return headers and headers[name] and headers[name][0]
end

-- Every value of a header, as the client of HAProxy takes them: two credentials must arrive as two.
local function all(headers, name)
    local values, at = {}, 0
    while headers[name] and headers[name][at] do
        values[at + 1] = headers[name][at]
        at = at + 1
    end
    return values
end

local function ask(txn, gate)
    local headers = txn.http:req_get_headers()
    return core.httpclient():get {
        url = gate,
        timeout = 10000,
        headers = {
            ["authorization"] = all(headers, "authorization"),
            ["x-api-key"] = all(headers, "x-api-key"),
            -- What a client says of its own address is worth nothing.
            ["x-forwarded-for"] = { txn.f:src() },
        },
    }
end

local function refuse(txn, status, headers, body)
    local reply = txn:reply { status = status }
    for _, name in ipairs(explanation) do
        local value = first(headers, name)
        if value then
            reply:add_header(name, value)
        end
    end
    reply:set_body(body or "")
    txn:done(reply)
end

core.register_action("tollgate", { "http-req" }, function(txn, gate)
    local called, answer = pcall(ask, txn, gate)
    local status = called and answer and answer.status or 0
    if status >= 400 and status < 500 then
        return refuse(txn, status, answer.headers, answer.body)
    end
    if status ~= 200 then
        txn:Warning("tollgate does not answer")
        return refuse(txn, 503)
    end
    for _, name in ipairs(introduction) do
        local value = first(answer.headers, name)
        if value then
            txn.http:req_set_header(name, value)
        end
    end
    local limits, policy = first(answer.headers, "ratelimit"), first(answer.headers, "ratelimit-policy")
    if limits and policy then
        txn:set_var("txn.tollgate_limits", limits)
        txn:set_var("txn.tollgate_policy", policy)
    end
end, 1)
