//! Every error code of both APIs, with its status and what it means. Operations name theirs in `x-problems`, from which their error
//! responses are written.

/// An error, as an operation names it.
pub(super) struct Kind {
    /// The word in `x-problems`; on `/v1` it is the code.
    pub(super) word: &'static str,
    /// The status of the answer.
    pub(super) status: u16,
    /// The code in the body, if there is one.
    pub(super) code: Option<&'static str>,
    /// What it means, and what to do.
    pub(super) meaning: &'static str,
}

const fn v1(status: u16, code: &'static str, meaning: &'static str) -> Kind {
    Kind { word: code, status, code: Some(code), meaning }
}

const fn app(word: &'static str, status: u16, code: Option<&'static str>, meaning: &'static str) -> Kind {
    Kind { word, status, code, meaning }
}

/// Words that stand for several.
pub(super) const GROUPS: &[(&str, &str)] = &[
    ("body", "bad-body body-too-slow body-too-large"),
    ("object", "body unknown-field misplaced-field duplicate-field inexact-number"),
    ("token", "no-token invalid-token wrong-token token-expired session-ended user-disabled over-budget not-writable"),
    ("session", "token no-reader cross-site"),
    ("account", "session insufficient-scope"),
    ("write", "too-many-changes not-writable outcome-unknown overloaded busy quarantined stopping"),
    (
        "credential",
        "bad-field unknown-provider bad-credential invalid-credential provider-disabled work-needed challenge-expired too-many-attempts provider-unavailable overloaded",
    ),
    ("appsession", "AuthError Unauthorized InvalidSession TooManyRequests ServiceUnavailable"),
    ("apprefresh", "AuthError Unauthorized InvalidSession TooManyRequests ServiceUnavailable"),
];

/// All of `/v1` and `/verify`.
pub(super) const PROBLEMS: &[Kind] = &[
    v1(400, "anonymous-identity", "An anonymous identity cannot be linked."),
    v1(400, "bad-answer", "It is not an issuer's answer: it needs `state`, and `code` or `error`, each once."),
    v1(400, "bad-body", "The body is not JSON of the kind that is asked for, or could not be read."),
    v1(400, "bad-code-challenge", "`code_challenge` is not a SHA-256 in base64url."),
    v1(400, "bad-credential", "The credential lacks a field, or is of a kind that the provider does not accept."),
    v1(400, "bad-field", "A field is missing or has a value that it cannot have; `detail` names it."),
    v1(400, "bad-idempotency-key", "`Idempotency-Key` is empty."),
    v1(400, "bad-name", "The name is not valid; `detail` says why."),
    v1(400, "bad-password", "The password is too short, too long or too common; `detail` says why."),
    v1(400, "bad-patch", "The body is not a JSON patch."),
    v1(400, "bad-precondition", "`If-Match` or `If-None-Match` is not valid."),
    v1(400, "bad-query", "The query has a parameter that is not accepted here."),
    v1(
        400,
        "bad-redirect-uri",
        "`redirect_uri` is not in the provider's list, or is left out where there are several.",
    ),
    v1(400, "bad-token", "What the e-mail's link held is wrong, or was used before."),
    v1(400, "data-too-deep", "The document would be nested deeper than is kept."),
    v1(400, "expired-token", "The e-mail's link is too old: ask for a new one."),
    v1(400, "no-confirmation", "This server confirms no addresses."),
    v1(400, "no-forwarded-uri", "`item_from` needs the header `X-Forwarded-Uri` of the proxy."),
    v1(400, "no-reset", "This server sends no links for resetting passwords."),
    v1(400, "no-such-meter", "No meter has this name."),
    v1(400, "no-websocket", "The request does not open a WebSocket."),
    v1(400, "not-an-object", "This must be a JSON object."),
    v1(400, "unknown-login", "This browser did not begin this login, or too long ago: begin again."),
    v1(400, "unknown-mode", "`mode` must be `bearer` or `cookie`."),
    v1(400, "unknown-on-conflict", "`on_conflict` must be `reject`, `switch` or `merge`."),
    v1(400, "unknown-protocol", "The sub-protocol `passerby.v1` must be offered."),
    v1(400, "unknown-provider", "No provider has this name."),
    v1(401, "invalid-credential", "The credential proves nothing: it is wrong, too old, or was used before."),
    v1(401, "invalid-ticket", "The ticket is not one of ours, too old, or was used before."),
    v1(401, "invalid-token", "The token is not one of ours."),
    v1(401, "no-reader", "There is neither a Bearer token nor a reader's cookie that is good."),
    v1(401, "no-token", "There is no `Authorization` header with a Bearer token."),
    v1(401, "session-ended", "The session or its user is gone for good: begin a new session."),
    v1(401, "token-expired", "The access token has expired: refresh it."),
    v1(401, "wrong-token", "This needs a different kind of token."),
    v1(403, "anonymous", "Only an account may do this: link an identity first."),
    v1(
        403,
        "cross-site",
        "A change by cookie must come from the site itself; neither `Sec-Fetch-Site` nor `Origin` says so.",
    ),
    v1(403, "fresh-login-needed", "The session is too old for this: log in again."),
    v1(
        403,
        "insufficient-scope",
        "An API key began the session: it may use the account's data and nothing else. Log in in another way.",
    ),
    v1(403, "no-public-url", "This server has no `public_url` to which an issuer could send browsers back."),
    v1(403, "provider-disabled", "The provider is switched off."),
    v1(403, "user-disabled", "The user was disabled by the operator."),
    v1(403, "wrong-password", "The current password is wrong."),
    v1(404, "no-data", "The user has no document."),
    v1(404, "no-such-identity", "The user does not have this identity."),
    v1(404, "no-such-key", "The user does not have this API key."),
    v1(404, "no-such-meter", "No meter has this name."),
    v1(404, "no-such-session", "The user does not have this session."),
    v1(408, "body-too-slow", "The body did not arrive in time (`http.client_timeout`)."),
    v1(409, "credential-changed", "The password or its address changed meanwhile: read it again."),
    v1(409, "identity-in-use", "A different user has the identity."),
    v1(409, "key-name-taken", "A different key of the user has this name."),
    v1(409, "last-identity", "It is the user's last identity: without it no one could log in any more."),
    v1(409, "no-password", "The user has no password."),
    v1(409, "not-a-number", "The value at the path is not a number."),
    v1(409, "not-an-object", "A value on the way to the path is not an object."),
    v1(409, "not-anonymous", "Only an anonymous user can become part of a different one."),
    v1(409, "number-too-large", "The number would be larger than is kept exactly."),
    v1(409, "patch-conflict", "The patch does not fit the document; `detail` says where."),
    v1(409, "provider-linked", "The user has an identity of this provider, and may have only one."),
    v1(409, "sessions-used-up", "The user has used up all session numbers."),
    v1(409, "too-many-identities", "The user has as many identities as are allowed."),
    v1(409, "too-many-keys", "The user has as many API keys as are allowed."),
    v1(412, "version-mismatch", "The document has a different version; the `ETag` says which."),
    v1(413, "body-too-large", "The body is larger than `http.max_body`."),
    v1(413, "data-too-large", "The document would be larger than `data.max_document`."),
    v1(415, "unknown-patch", "A patch is `application/merge-patch+json` or `application/json-patch+json`."),
    v1(
        422,
        "duplicate-field",
        "A member of an object in the body is there twice, at whatever depth; `detail` names it by a JSON pointer.",
    ),
    v1(422, "idempotency-key-reused", "A different request of the user has this name."),
    v1(
        422,
        "inexact-number",
        "A number would be rounded: whole ones from -2^63 to 2^64-1 and decimals of 64 bits are kept; `detail` names it by a JSON pointer.",
    ),
    v1(422, "misplaced-field", "The field belongs to a different provider or mode; `detail` names it."),
    v1(
        422,
        "patch-too-costly",
        "The change touches more of the document than one request may, or names more members than a document has room for: send it in parts.",
    ),
    v1(422, "unknown-field", "The body has a field that is not known here; `detail` names it."),
    v1(
        429,
        "challenge-expired",
        "The proof is of a challenge that is too old: solve a new one of `GET /v1/challenge`.",
    ),
    v1(429, "over-budget", "Too many requests of this kind came from this network: wait."),
    v1(429, "too-many-attempts", "Too many wrong passwords: wait."),
    v1(429, "too-many-changes", "Too many changes of this user are waiting: wait."),
    v1(429, "too-many-sockets", "The user, or the network, has as many sockets as are allowed."),
    v1(
        429,
        "work-needed",
        "Too many requests of this kind came from this network: wait, or solve a challenge of `GET /v1/challenge`.",
    ),
    v1(500, "internal", "A fault of the server, which its log explains."),
    v1(503, "busy", "The user's operations are waiting: try again."),
    v1(503, "capacity", "There is no room for more users (`max_users`)."),
    v1(503, "not-writable", "Changes cannot be stored at the moment: try again."),
    v1(
        503,
        "outcome-unknown",
        "Whether it was done is not known. Repeated with the same `Idempotency-Key`, it is done once.",
    ),
    v1(503, "overloaded", "The server has too much to do: try again."),
    v1(503, "provider-unavailable", "The provider's issuer cannot be reached."),
    v1(503, "quarantined", "The user's operations fail one after the other, and pause for a moment."),
    v1(503, "stopping", "The server is stopping: try again."),
    v1(507, "data-full", "All documents together have reached `data.max_bytes`."),
];

/// All of the App Services API.
pub(super) const CLIENT_ERRORS: &[Kind] = &[
    app("BadRequest", 400, Some("BadRequest"), "The body is wrong; `error` says why."),
    app("InvalidParameter", 400, Some("InvalidParameter"), "A parameter is wrong; `error` says why."),
    app("UserAlreadyConfirmed", 400, Some("UserAlreadyConfirmed"), "The address is confirmed already."),
    app("UserpassTokenInvalid", 400, Some("UserpassTokenInvalid"), "The e-mail's link is too old."),
    app(
        "CredentialRefused",
        400,
        Some("AuthError"),
        "The credential is not accepted, or its provider is switched off; the request's own token is good.",
    ),
    app("IdentityInUse", 409, Some("AuthError"), "The identity has a different user, or the user has too many."),
    app("AuthError", 401, Some("AuthError"), "The credential is not accepted, or there is none."),
    app("InvalidPassword", 401, Some("InvalidPassword"), "The name or the password is wrong."),
    app("InvalidSession", 401, Some("InvalidSession"), "The session has ended, or the token has expired."),
    app("Unauthorized", 401, None, "The token is not one of ours, or of a wrong kind."),
    app("Unsupported", 400, Some("AuthError"), "The provider is switched off."),
    app("UserDisabled", 401, Some("UserDisabled"), "The user was disabled by the operator."),
    app("KeySession", 403, Some("AuthError"), "An API key began the session, which may not do this."),
    app("LoginNeeded", 403, Some("AuthError"), "The session is too old for this: log in again."),
    app("APIKeyNotFound", 404, Some("APIKeyNotFound"), "The user does not have this API key."),
    app("AppNotFound", 404, None, "A different app is served here."),
    app("AuthProviderNotFound", 404, Some("AuthProviderNotFound"), "No provider has this name."),
    app("UserNotFound", 404, Some("UserNotFound"), "No user has this name."),
    app("bad-body", 400, Some("BadRequest"), "The body is not a JSON object, or could not be read."),
    app("body-too-slow", 408, Some("BadRequest"), "The body did not arrive in time (`http.client_timeout`)."),
    app("APIKeyAlreadyExists", 409, Some("APIKeyAlreadyExists"), "A different key of the user has this name."),
    app("AccountNameInUse", 409, Some("AccountNameInUse"), "The name is taken."),
    app("body-too-large", 413, Some("BadRequest"), "The body is larger than `http.max_body`."),
    app(
        "TooManyRequests",
        429,
        Some("TooManyRequests"),
        "Too many requests of this kind came from this network: wait.",
    ),
    app("ServiceUnavailable", 503, Some("ServiceUnavailable"), "It cannot be done at the moment: try again."),
];

/// The kinds that words stand for; a word that is unknown stands for none. `code:status` is the code with that status alone.
pub(super) fn kinds(table: &'static [Kind], words: &str) -> Vec<&'static Kind> {
    let mut found: Vec<&Kind> = Vec::new();
    for word in words.split_whitespace() {
        let named = match GROUPS.iter().find(|(name, _)| *name == word) {
            Some((_, words)) => kinds(table, words),
            None => {
                let (code, status) =
                    word.split_once(':').map_or((word, None), |(code, status)| (code, status.parse().ok()));
                let is_it = |kind: &&Kind| kind.word == code && status.is_none_or(|status: u16| status == kind.status);
                table.iter().filter(is_it).collect()
            }
        };
        for kind in named {
            let is_new = !found.iter().any(|known| (known.word, known.status) == (kind.word, kind.status));
            if is_new {
                found.push(kind);
            }
        }
    }
    found.sort_by_key(|kind| (kind.status, kind.word));
    found
}
