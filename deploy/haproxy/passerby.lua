-- Asks Passerby about each request (HAProxy 2.6 or newer; see haproxy.cfg beside this file).
--
--   http-request lua.passerby URL-OF-VERIFY
--
-- sets txn.passerby_status (0 if Passerby did not answer) and, if it let the request through, the X-Passerby-* headers
-- for the site and txn.passerby_cookie for the visitor; if not, txn.passerby_reason. What follows from the status is the configuration's business.

-- For Passerby's http.request_timeout (10 s) and a little more.
local TIMEOUT_MS = 15000

-- Of one connection, or of a body that is not sent along.
local NOT_SENT = {
    ["connection"] = true, ["content-encoding"] = true, ["content-length"] = true, ["content-type"] = true,
    ["expect"] = true, ["http2-settings"] = true, ["keep-alive"] = true, ["proxy-authorization"] = true,
    ["proxy-connection"] = true, ["te"] = true, ["trailer"] = true, ["transfer-encoding"] = true, ["upgrade"] = true,
}

local FOR_THE_SITE = {
    "x-passerby-user", "x-passerby-anonymous", "x-passerby-assertion", "x-passerby-meter-used",
    "x-passerby-meter-limit", "x-passerby-meter-remaining", "x-passerby-meter-resets",
}

-- HAProxy counts values from 0, and its client wants them from 1.
local function list(values)
    local from_one = {}
    for index = 0, #values do
        from_one[index + 1] = values[index]
    end
    return from_one
end

local function check(txn, url)
    txn:set_var("txn.passerby_status", 0)

    local headers = {}
    for name, values in pairs(txn.http:req_get_headers()) do
        if not NOT_SENT[name] then
            headers[name] = list(values)
        end
    end
    -- Without one the client would name itself, and a visitor who hides the browser's name is a machine.
    headers["user-agent"] = headers["user-agent"] or { "" }
    headers["x-forwarded-method"] = { txn.sf:method() }
    headers["x-forwarded-uri"] = { txn.sf:pathq() }

    local answer = core.httpclient():get({ url = url, headers = headers, timeout = TIMEOUT_MS })
    if not answer or not answer.status then
        return
    end
    txn:set_var("txn.passerby_status", answer.status)
    if answer.status ~= 204 then
        local reason = answer.headers["x-passerby-reason"]
        txn:set_var("txn.passerby_reason", reason and reason[0] or "")
        return
    end
    for _, name in ipairs(FOR_THE_SITE) do
        local values = answer.headers[name]
        if values then
            txn.http:req_set_header(name, values[0])
        end
    end
    local cookie = answer.headers["set-cookie"]
    if cookie then
        txn:set_var("txn.passerby_cookie", cookie[0])
    end
end

core.register_action("passerby", { "http-req" }, check, 1)
