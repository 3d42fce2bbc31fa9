//! The providers in the order in which App Services listed them, with their titles there and the options that can be set here.

use serde_json::{Value, json};

/// A kind of provider.
pub(super) struct Known {
    /// The name, which is the type as well.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// Why it cannot be enabled here, if it cannot.
    pub(super) not_served: Option<&'static str>,
    pub(super) options: &'static [Choice],
}

/// An option. Its name is the path to it in the provider's object.
pub(super) struct Choice {
    name: &'static str,
    is: Is,
    help: &'static str,
    required: bool,
}

/// What can be chosen.
enum Is {
    Flag,
    Text,
    Texts,
    /// Objects with `name` (where it is in the token), `field_name` and `required`.
    Fields,
    OneOf(&'static [&'static str]),
}

impl Choice {
    /// As it is told.
    pub(super) fn shown(&self) -> Value {
        let Self { name, is, help, required } = self;
        let (kind, choices) = match is {
            Is::Flag => ("bool", None),
            Is::Text => ("text", None),
            Is::Texts => ("text-list", None),
            Is::Fields => ("field-list", None),
            Is::OneOf(choices) => ("choice", Some(choices)),
        };
        let mut shown = json!({ "name": name, "kind": kind, "help": help, "required": required });
        if let Some(choices) = choices {
            shown["choices"] = json!(choices);
        }
        shown
    }
}

const fn choice(name: &'static str, is: Is, help: &'static str) -> Choice {
    Choice { name, is, help, required: false }
}

const fn needed(name: &'static str, is: Is, help: &'static str) -> Choice {
    Choice { name, is, help, required: true }
}

const REDIRECT: &str =
    "Addresses that a login in the browser may return to, byte for byte. Without any there is no login in the browser.";
const CLIENT: &str = "The client id that was registered there for this app.";
const SECRET: &str =
    "The name of the secret that holds the client's secret (PASSERBY_SECRET_NAME, or the secrets file).";
const FIELDS: &str = "What of the account becomes data of the user.";

/// All of them.
pub(super) const KNOWN: &[Known] = &[
    Known { name: "anon-user", title: "Allow users to log in anonymously", not_served: None, options: &[] },
    Known {
        name: "local-userpass",
        title: "Email/Password",
        not_served: None,
        options: &[
            choice("config.autoConfirm", Is::Flag, "Whether registering is enough to log in, without an e-mail."),
            choice(
                "config.emailConfirmationUrl",
                Is::Text,
                "The page that the link in the confirmation e-mail leads to. Needed unless users are confirmed automatically.",
            ),
            choice("config.confirmEmailSubject", Is::Text, "Subject of the confirmation e-mail."),
            choice(
                "config.resetPasswordUrl",
                Is::Text,
                "The page that the link in the e-mail for a new password leads to. Without it passwords are not reset.",
            ),
            choice("config.resetPasswordSubject", Is::Text, "Subject of the e-mail for a new password."),
        ],
    },
    Known {
        name: "oauth2-facebook",
        title: "Facebook",
        not_served: Some("this server has no login with Facebook"),
        options: &[],
    },
    Known {
        name: "oauth2-google",
        title: "Google",
        not_served: None,
        options: &[
            needed("config.clientId", Is::Text, CLIENT),
            needed("config.openId", Is::Flag, "Must be true: Google accounts log in by OpenID Connect."),
            needed("secret_config.clientSecret", Is::Text, SECRET),
            choice("redirect_uris", Is::Texts, REDIRECT),
            choice(
                "domain_restrictions",
                Is::Texts,
                "Domains of verified e-mail addresses that may log in; none allows any account.",
            ),
            choice("metadata_fields", Is::Fields, FIELDS),
        ],
    },
    Known {
        name: "oauth2-apple",
        title: "Apple",
        not_served: None,
        options: &[
            needed("config.clientId", Is::Text, CLIENT),
            needed("secret_config.clientSecret", Is::Text, SECRET),
            choice("redirect_uris", Is::Texts, REDIRECT),
        ],
    },
    Known { name: "api-key", title: "API Keys", not_served: None, options: &[] },
    Known {
        name: "custom-token",
        title: "Custom JWT Authentication",
        not_served: None,
        options: &[
            choice("config.useJWKURI", Is::Flag, "Whether the keys are fetched from an address."),
            choice("config.jwkURI", Is::Text, "The address of the keys (JWKS). Needed with useJWKURI."),
            choice(
                "config.signingAlgorithm",
                Is::OneOf(&["HS256", "RS256", "ES256", "EdDSA"]),
                "How the tokens are signed. Needed without useJWKURI.",
            ),
            choice(
                "secret_config.signingKeys",
                Is::Texts,
                "The names of up to 3 secrets that hold the keys. Needed without useJWKURI.",
            ),
            choice("config.audience", Is::Texts, "Whom the tokens must be for (aud); none: for this app."),
            choice(
                "config.requireAnyAudience",
                Is::Flag,
                "Whether one of the audiences is enough; otherwise a token must have all.",
            ),
            choice("metadata_fields", Is::Fields, FIELDS),
        ],
    },
    Known {
        name: "custom-function",
        title: "Custom Function Authentication",
        not_served: Some("this server runs no functions"),
        options: &[],
    },
];
