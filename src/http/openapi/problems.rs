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

/// One whose code is its word.
const fn kind(status: u16, word: &'static str) -> Kind {
    Kind { word, status, code: Some(word), meaning: "" }
}

impl Kind {
    const fn code(self, code: Option<&'static str>) -> Self {
        Self { code, ..self }
    }

    const fn means(self, meaning: &'static str) -> Self {
        Self { meaning, ..self }
    }
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
        "network-blocked bad-field unknown-provider bad-credential invalid-credential provider-disabled work-needed challenge-expired too-many-attempts provider-unavailable overloaded",
    ),
    ("appsession", "AuthError Unauthorized InvalidSession TooManyRequests ServiceUnavailable"),
    ("apprefresh", "AuthError Unauthorized InvalidSession TooManyRequests ServiceUnavailable"),
];

/// All of `/v1` and `/verify`.
pub(super) const PROBLEMS: &[Kind] = &[
    kind(400, "anonymous-identity").means("An anonymous identity cannot be linked."),
    kind(400, "bad-answer").means("It is not an issuer's answer: it needs `state`, and `code` or `error`, each once."),
    kind(400, "bad-body").means("The body is not JSON of the kind that is asked for, or could not be read."),
    kind(400, "bad-code-challenge").means("`code_challenge` is not a SHA-256 in base64url."),
    kind(400, "bad-credential")
        .means("The credential lacks a field, or is of a kind that the provider does not accept."),
    kind(400, "bad-field").means("A field is missing or has a value that it cannot have; `detail` names it."),
    kind(400, "bad-idempotency-key").means("`Idempotency-Key` is empty."),
    kind(400, "bad-name").means("The name is not valid; `detail` says why."),
    kind(400, "bad-password").means("The password is too short, too long or too common; `detail` says why."),
    kind(400, "bad-patch").means("The body is not a JSON patch."),
    kind(400, "bad-precondition").means("`If-Match` or `If-None-Match` is not valid."),
    kind(400, "bad-query").means("The query has a parameter that is not accepted here."),
    kind(400, "bad-redirect-uri")
        .means("`redirect_uri` is not in the provider's list, or is left out where there are several."),
    kind(400, "bad-token").means("What the e-mail's link held is wrong, or was used before."),
    kind(400, "data-too-deep").means("The document would be nested deeper than is kept."),
    kind(400, "expired-token").means("The e-mail's link is too old: ask for a new one."),
    kind(400, "no-confirmation").means("This server confirms no addresses."),
    kind(400, "no-forwarded-uri").means("`item_from` needs the header `X-Forwarded-Uri` of the proxy."),
    kind(400, "no-reset").means("This server sends no links for resetting passwords."),
    kind(400, "no-such-meter").means("No meter has this name."),
    kind(400, "no-websocket").means("The request does not open a WebSocket."),
    kind(400, "not-an-object").means("This must be a JSON object."),
    kind(400, "unknown-login").means("This browser did not begin this login, or too long ago: begin again."),
    kind(400, "unknown-mode").means("`mode` must be `bearer` or `cookie`."),
    kind(400, "unknown-on-conflict").means("`on_conflict` must be `reject`, `switch` or `merge`."),
    kind(400, "unknown-protocol").means("The sub-protocol `passerby.v1` must be offered."),
    kind(400, "unknown-provider").means("No provider has this name."),
    kind(401, "invalid-credential").means("The credential proves nothing: it is wrong, too old, or was used before."),
    kind(401, "invalid-ticket").means("The ticket is not one of ours, too old, or was used before."),
    kind(401, "invalid-token").means("The token is not one of ours."),
    kind(401, "no-reader").means("There is neither a Bearer token nor a reader's cookie that is good."),
    kind(401, "no-token").means("There is no `Authorization` header with a Bearer token."),
    kind(401, "session-ended").means("The session or its user is gone for good: begin a new session."),
    kind(401, "token-expired").means("The access token has expired: refresh it."),
    kind(401, "wrong-token").means("This needs a different kind of token."),
    kind(403, "anonymous").means("Only an account may do this: link an identity first."),
    kind(403, "cross-site")
        .means("A change by cookie must come from the site itself; neither `Sec-Fetch-Site` nor `Origin` says so."),
    kind(403, "fresh-login-needed").means("The session is too old for this: log in again."),
    kind(403, "insufficient-scope")
        .means("An API key began the session: it may use the account's data and nothing else. Log in in another way."),
    kind(403, "network-blocked")
        .means("The operator has blocked this network for newcomers and logins; whoever has a session goes on."),
    kind(403, "no-public-url").means("This server has no `public_url` to which an issuer could send browsers back."),
    kind(403, "provider-disabled").means("The provider is switched off."),
    kind(403, "user-disabled").means("The user was disabled by the operator."),
    kind(403, "wrong-password").means("The current password is wrong."),
    kind(404, "no-data").means("The user has no document."),
    kind(404, "no-such-identity").means("The user does not have this identity."),
    kind(404, "no-such-key").means("The user does not have this API key."),
    kind(404, "no-such-meter").means("No meter has this name."),
    kind(404, "no-such-session").means("The user does not have this session."),
    kind(408, "body-too-slow").means("The body did not arrive in time (`http.client_timeout`)."),
    kind(409, "credential-changed").means("The password or its address changed meanwhile: read it again."),
    kind(409, "identity-in-use").means("A different user has the identity."),
    kind(409, "key-name-taken").means("A different key of the user has this name."),
    kind(409, "last-identity").means("It is the user's last identity: without it no one could log in any more."),
    kind(409, "no-password").means("The user has no password."),
    kind(409, "not-a-number").means("The value at the path is not a number."),
    kind(409, "not-an-object").means("A value on the way to the path is not an object."),
    kind(409, "not-anonymous").means("Only an anonymous user can become part of a different one."),
    kind(409, "number-too-large").means("The number would be larger than is kept exactly."),
    kind(409, "patch-conflict").means("The patch does not fit the document; `detail` says where."),
    kind(409, "provider-linked").means("The user has an identity of this provider, and may have only one."),
    kind(409, "sessions-used-up").means("The user has used up all session numbers."),
    kind(409, "too-many-identities").means("The user has as many identities as are allowed."),
    kind(409, "too-many-keys").means("The user has as many API keys as are allowed."),
    kind(412, "version-mismatch").means("The document has a different version; the `ETag` says which."),
    kind(413, "body-too-large").means("The body is larger than `http.max_body`."),
    kind(413, "data-too-large").means("The document would be larger than `data.max_document`."),
    kind(415, "unknown-patch").means("A patch is `application/merge-patch+json` or `application/json-patch+json`."),
    kind(422, "duplicate-field")
        .means("A member of an object in the body is there twice, at whatever depth; `detail` names it by a JSON pointer."),
    kind(422, "idempotency-key-reused").means("A different request of the user has this name."),
    kind(422, "inexact-number")
        .means("A number would be rounded: whole ones from -2^63 to 2^64-1 and decimals of 64 bits are kept; `detail` names it by a JSON pointer."),
    kind(422, "misplaced-field").means("The field belongs to a different provider or mode; `detail` names it."),
    kind(422, "patch-too-costly")
        .means("The change touches more of the document than one request may, or names more members than a document has room for: send it in parts."),
    kind(422, "unknown-field").means("The body has a field that is not known here; `detail` names it."),
    kind(429, "challenge-expired")
        .means("The proof is of a challenge that is too old: solve a new one of `GET /v1/challenge`."),
    kind(429, "over-budget").means("Too many requests of this kind came from this network: wait."),
    kind(429, "too-many-attempts").means("Too many wrong passwords: wait."),
    kind(429, "too-many-changes").means("Too many changes of this user are waiting: wait."),
    kind(429, "too-many-sockets").means("The user, or the network, has as many sockets as are allowed."),
    kind(429, "work-needed")
        .means("Too many requests of this kind came from this network: wait, or solve a challenge of `GET /v1/challenge`."),
    kind(500, "internal").means("A fault of the server, which its log explains."),
    kind(503, "busy").means("The user's operations are waiting: try again."),
    kind(503, "capacity").means("There is no room for more users (`max_users`)."),
    kind(503, "not-writable").means("Changes cannot be stored at the moment: try again."),
    kind(503, "outcome-unknown")
        .means("Whether it was done is not known. Repeated with the same `Idempotency-Key`, it is done once."),
    kind(503, "overloaded").means("The server has too much to do: try again."),
    kind(503, "provider-unavailable").means("The provider's issuer cannot be reached."),
    kind(503, "quarantined").means("The user's operations fail one after the other, and pause for a moment."),
    kind(503, "stopping").means("The server is stopping: try again."),
    kind(507, "data-full").means("All documents together have reached `data.max_bytes`."),
];

/// All of the App Services API.
pub(super) const CLIENT_ERRORS: &[Kind] = &[
    kind(400, "BadRequest").means("The body is wrong; `error` says why."),
    kind(400, "InvalidParameter").means("A parameter is wrong; `error` says why."),
    kind(400, "UserAlreadyConfirmed").means("The address is confirmed already."),
    kind(400, "UserpassTokenInvalid").means("The e-mail's link is too old."),
    kind(400, "CredentialRefused")
        .code(Some("AuthError"))
        .means("The credential is not accepted, or its provider is switched off; the request's own token is good."),
    kind(409, "IdentityInUse")
        .code(Some("AuthError"))
        .means("The identity has a different user, or the user has too many."),
    kind(401, "AuthError").means("The credential is not accepted, or there is none."),
    kind(401, "InvalidPassword").means("The name or the password is wrong."),
    kind(401, "InvalidSession").means("The session has ended, or the token has expired."),
    kind(401, "Unauthorized").code(None).means("The token is not one of ours, or of a wrong kind."),
    kind(400, "Unsupported").code(Some("AuthError")).means("The provider is switched off."),
    kind(401, "UserDisabled").means("The user was disabled by the operator."),
    kind(403, "KeySession").code(Some("AuthError")).means("An API key began the session, which may not do this."),
    kind(403, "LoginNeeded").code(Some("AuthError")).means("The session is too old for this: log in again."),
    kind(403, "NetworkBlocked").means("The operator has blocked this network for newcomers and logins."),
    kind(404, "APIKeyNotFound").means("The user does not have this API key."),
    kind(404, "AppNotFound").code(None).means("A different app is served here."),
    kind(404, "AuthProviderNotFound").means("No provider has this name."),
    kind(404, "UserNotFound").means("No user has this name."),
    kind(400, "bad-body").code(Some("BadRequest")).means("The body is not a JSON object, or could not be read."),
    kind(408, "body-too-slow")
        .code(Some("BadRequest"))
        .means("The body did not arrive in time (`http.client_timeout`)."),
    kind(409, "APIKeyAlreadyExists").means("A different key of the user has this name."),
    kind(409, "AccountNameInUse").means("The name is taken."),
    kind(413, "body-too-large").code(Some("BadRequest")).means("The body is larger than `http.max_body`."),
    kind(429, "TooManyRequests").means("Too many requests of this kind came from this network: wait."),
    kind(503, "ServiceUnavailable").means("It cannot be done at the moment: try again."),
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
