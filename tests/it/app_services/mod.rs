//! The App Services client API, byte for byte (docs/protocol.md).

mod browsers;
mod lives;
mod providers;
mod sessions;
mod tokens;

use passerby_actors::domain::UserId;
use passerby_actors::testkit::DAY_S;
use serde_json::{Value, json};

use crate::world::{
    Answer, CREATE, DELETE, DELETE_USER, END, LINK, LOCATION, LOGIN, LOGOUT, PROFILE, REFRESH, ROTATE, TestServer,
    VIEW, World,
};

const NO_DEVICE: &str = "000000000000000000000000";
const DEAD: &str = "invalid session: failed to find refresh token";
const ENDED: &str = "invalid session: session not found";
const EXPIRED: &str = "invalid session: access token expired";
const NO_TOKEN: &str = "must authenticate first";
const WRONG_ACCESS: &str = "invalid access token: incorrect token type";
const WRONG_REFRESH: &str = "invalid refresh token: incorrect token type";

fn is_hex24(text: &Value) -> bool {
    text.as_str().is_some_and(|t| t.len() == 24 && t.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')))
}

fn keys(body: &Value) -> Vec<&str> {
    body.as_object().unwrap().keys().map(String::as_str).collect()
}
