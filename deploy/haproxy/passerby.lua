-- Asks Passerby about each request (HAProxy 2.6 or newer; see haproxy.cfg beside this file).
--
--   http-request lua.passerby URL-OF-VERIFY
--
-- sets txn.passerby_status (0 if Passerby gave no answer) and, if it let the request through, the X-Passerby-* headers
-- for the site and txn.passerby_cookie for the visitor; if not, txn.passerby_reason, and txn.passerby_page if the meter has a
-- page. What follows from the status is the configuration's business.

-- For Passerby's http.request_timeout (10 s) and a little more.
local TIMEOUT_MS = 15000

-- All headers that Passerby reads, and what joins several of one name. The check sends these and no others, each once: the client
-- for Lua of HAProxy 2.6.12 broke when it was given all that a visitor sends.
local SENT = {
    ["authorization"] = ", ", ["cookie"] = "; ", ["host"] = ", ", ["purpose"] = ", ", ["sec-purpose"] = ", ",
    ["user-agent"] = " ", ["x-forwarded-for"] = ", ", ["x-forwarded-host"] = ", ", ["x-forwarded-proto"] = ", ",
    ["x-moz"] = ", ", ["x-passerby-meter"] = ", ", ["x-purpose"] = ", ",
}

-- What is sent has to fit into a buffer of HAProxy's (tune.bufsize, 16384), with some room for the rest.
local MOST_BYTES = 12000

local FOR_THE_SITE = {
    "x-passerby-user", "x-passerby-anonymous", "x-passerby-assertion", "x-passerby-meter-used",
    "x-passerby-meter-limit", "x-passerby-meter-remaining", "x-passerby-meter-resets", "x-passerby-meter-lifted",
}

-- What HAProxy itself answers where Passerby does not.
local OF_HAPROXY = { [502] = true, [503] = true, [504] = true }

-- HAProxy counts values from 0.
local function joined(values, between)
    local text = values[0]
    for index = 1, #values do
        text = text .. between .. values[index]
    end
    return text
end

local function check(txn, url)
    txn:set_var("txn.passerby_status", 500)

    local headers, bytes = {}, 0
    for name, values in pairs(txn.http:req_get_headers()) do
        if SENT[name] then
            headers[name] = { joined(values, SENT[name]) }
            bytes = bytes + #headers[name][1]
        end
    end
    -- Without one the client would name itself, and a visitor who hides the browser's name counts as a machine.
    headers["user-agent"] = headers["user-agent"] or { "" }
    headers["x-forwarded-method"] = { txn.sf:method() }
    headers["x-forwarded-uri"] = { txn.sf:pathq() }
    if bytes + #headers["x-forwarded-uri"][1] > MOST_BYTES then
        txn:set_var("txn.passerby_status", 431)
        return
    end

    local answer = core.httpclient():get({ url = url, headers = headers, timeout = TIMEOUT_MS })
    if not answer or not answer.status or (OF_HAPROXY[answer.status] and not answer.headers["x-passerby-answered"]) then
        txn:set_var("txn.passerby_status", 0)
        return
    end
    txn:set_var("txn.passerby_status", answer.status)
    if answer.status ~= 204 then
        local reason = answer.headers["x-passerby-reason"]
        txn:set_var("txn.passerby_reason", reason and reason[0] or "")
        local page = answer.headers["x-passerby-meter-page"]
        if page then
            txn:set_var("txn.passerby_page", page[0])
        end
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
