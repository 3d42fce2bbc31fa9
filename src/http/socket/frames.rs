//! What is said on a socket: requests, and the texts of all frames (`docs/socket.md`).

use std::fmt;

use passerby_actors::actor::{Hello, Missed, Push};
use passerby_actors::domain::{Cause, Change, Delta, Expected, SessionId, Shape, UserId};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::http::Problem;
use crate::http::body::{self, BodyError};
use crate::http::fields;
use crate::http::v1::data::{has_few_members, increment, json_patch, object};

/// Fewer characters would soon name two operations.
const ID_CHARS: std::ops::RangeInclusive<usize> = 16..=64;

/// What a client asks for.
pub(super) enum Request {
    /// Reads the document.
    Get,
    /// Changes it.
    Edit(Change, Expected),
    /// Uses a meter.
    Meter { name: String, item: Option<String>, amount: u32 },
}

/// A frame of a client: a request, or why it is not one, and its id as far as there is one.
pub(super) struct Frame {
    pub(super) id: Option<String>,
    pub(super) request: Result<Request, Problem>,
}

/// Reads a frame; `None` if it is not a JSON object. What is inside may still be no JSON that can be kept (half a surrogate pair, a
/// number beyond all measure), which the client is told.
pub(super) fn read(text: &str, most_members: usize) -> Option<Frame> {
    let Members(members) = serde_json::from_str(text).ok()?;
    let id = members.iter().rfind(|(name, _)| name == "id");
    let id = id.and_then(|(_, id)| serde_json::from_str::<String>(id.get()).ok());
    let id = id.filter(|id| ID_CHARS.contains(&id.chars().count()));
    if id.is_none() {
        let detail = "id must be a text of 16 to 64 characters that names this operation among all of the user's";
        return Some(Frame { id, request: Err(bad("bad-id", detail)) });
    }
    // also what is not known, or there twice, is read whole
    let mut values = members.iter().map(|(_, value)| value.get());
    if let Err(problem) = values.try_for_each(|value| has_few_members(value, most_members)) {
        return Some(Frame { id, request: Err(problem) });
    }
    let request = match body::json(text.as_bytes()) {
        Ok(frame) => object(frame).and_then(request),
        Err(BodyError::NotJson) => {
            let error = serde_json::from_str::<Value>(text).err().map(|error| error.to_string()).unwrap_or_default();
            Err(bad("bad-frame", &format!("the frame cannot be read: {error}")))
        }
        Err(lost) => Err(lost.into()),
    };
    Some(Frame { id, request })
}

/// The members of an object as they are written, also those whose name is there twice.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfObject;

        impl<'de> Visitor<'de> for OfObject {
            type Value = Members<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(OfObject)
    }
}

/// Which fields a frame of a type has besides `type` and `id`.
fn known(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "get" => &[],
        "put" => &["data", "if_version"],
        "patch" => &["patch", "if_version"],
        "increment" => &["path", "by", "if_version"],
        "delete" => &["if_version"],
        "meter" => &["name", "item", "amount"],
        _ => return None,
    })
}

fn request(mut frame: Map<String, Value>) -> Result<Request, Problem> {
    if let Some((kind, known)) = frame.get("type").and_then(Value::as_str).and_then(|kind| Some((kind, known(kind)?))) {
        fields::only(&frame, &[&["type", "id"], known], &format!("a {kind:?} frame"))
            .map_err(Problem::unknown_fields)?;
    }
    // what is kept is taken out of the frame, and not copied
    let (data, patch) = (frame.remove("data").unwrap_or_default(), frame.remove("patch"));
    let frame = &frame;
    let field = |name: &str| frame.get(name).filter(|value| !value.is_null());
    let edit = |change| Ok(Request::Edit(change, expected(frame)?));
    match field("type").and_then(Value::as_str) {
        Some("get") => Ok(Request::Get),
        Some("put") => edit(Change::Put(object(data)?)),
        Some("patch") => match patch {
            Some(Value::Object(patch)) => edit(Change::Merge(patch)),
            Some(patch @ Value::Array(_)) => edit(json_patch(patch)?),
            _ => Err(bad("bad-patch", "patch must be an object (a merge patch) or an array (a JSON patch)")),
        },
        Some("increment") => edit(increment(frame)?),
        Some("delete") => edit(Change::Delete),
        Some("meter") => {
            let name = field("name").and_then(Value::as_str).ok_or_else(|| Problem::missing_field("name"))?;
            let item = match field("item") {
                None => None,
                Some(Value::String(item)) => Some(item.clone()),
                Some(_) => return Err(Problem::bad_field("item must be a text")),
            };
            let amount = match field("amount") {
                None => Some(1),
                Some(amount) => amount.as_u64().and_then(|amount| u32::try_from(amount).ok()),
            };
            let amount = amount.filter(|amount| (1..=1_000_000).contains(amount));
            let amount = amount.ok_or_else(|| Problem::bad_field("amount must be 1 to 1000000"))?;
            Ok(Request::Meter { name: name.to_owned(), item, amount })
        }
        _ => Err(bad("unknown-type", "type must be get, put, patch, increment, delete or meter")),
    }
}

fn expected(frame: &Map<String, Value>) -> Result<Expected, Problem> {
    match frame.get("if_version") {
        None | Some(Value::Null) => Ok(Expected::Anything),
        Some(version) => match version.as_u64() {
            Some(0) => Ok(Expected::Nothing),
            Some(version) => Ok(Expected::version(version)),
            None => Err(Problem::bad_field("if_version must be a whole number")),
        },
    }
}

fn bad(code: &'static str, detail: &str) -> Problem {
    Problem::new(actix_web::http::StatusCode::BAD_REQUEST, code, detail)
}

/// The first frame, and those that follow it at once.
pub(super) fn hello(user: &UserId, session: &SessionId, hello: &Hello) -> Vec<String> {
    let Hello { version, missed, anonymous } = hello;
    let (data, changes) = match missed {
        Missed::Nothing => (String::new(), &[][..]),
        Missed::Changes(changes) => (String::new(), &changes[..]),
        Missed::Whole(json) => (format!(r#","data":{}"#, json.as_deref().unwrap_or("null")), &[][..]),
    };
    let first = format!(
        r#"{{"type":"hello","user_id":"{user}","session_id":"{session}","anonymous":{anonymous},"version":{version}{data}}}"#
    );
    std::iter::once(first).chain(changes.iter().map(|delta| changed(delta))).collect()
}

fn changed(delta: &Delta) -> String {
    let version = delta.seen + 1;
    match &delta.shape {
        Shape::Merge(patch) => format!(r#"{{"type":"data.changed","version":{version},"patch":{patch}}}"#),
        Shape::Whole(json) => whole(version, json.as_deref()),
    }
}

fn whole(version: u64, json: Option<&str>) -> String {
    format!(r#"{{"type":"data.changed","version":{version},"data":{}}}"#, json.unwrap_or("null"))
}

/// What the server sends unasked.
pub(super) fn push(user: &UserId, push: &Push) -> String {
    match push {
        Push::Changed(delta) => changed(delta),
        Push::Whole { version, json } => whole(*version, json.as_deref()),
        Push::Linked { session } => {
            format!(r#"{{"type":"session.linked","session_id":"{}"}}"#, SessionId::derive(user, *session))
        }
        Push::Merged { survivor, merged } => {
            format!(r#"{{"type":"session.merged","user_id":"{survivor}","merged_user_id":"{merged}"}}"#)
        }
        Push::Ended(cause) => ended(reason(*cause)),
    }
}

/// The version of the document that a push brings, if it brings one.
pub(super) fn version(push: &Push) -> Option<u64> {
    match push {
        Push::Changed(delta) => Some(delta.seen + 1),
        Push::Whole { version, .. } => Some(*version),
        Push::Linked { .. } | Push::Merged { .. } | Push::Ended(_) => None,
    }
}

/// The last frame of a session that is over.
pub(super) fn ended(reason: &str) -> String {
    format!(r#"{{"type":"session.ended","reason":"{reason}"}}"#)
}

fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::LoggedOut => "logged-out",
        Cause::Expired => "expired",
        Cause::DeletedByUser | Cause::DeletedByAdmin => "deleted",
        Cause::Disabled => "disabled",
        Cause::Linked => "linked",
        Cause::MergedInto => "merged",
        _ => "ended",
    }
}

/// The session of an account ends soon.
pub(super) fn expiring(at: &str) -> String {
    json!({ "type": "expiring", "at": at }).to_string()
}

/// The answer to a request. `fields` begins with a comma, or is empty.
pub(super) fn reply(id: &str, fields: &str) -> String {
    format!(r#"{{"type":"reply","id":{}{fields}}}"#, Value::from(id))
}

/// Why a request was not done. `version` is the document's, where that is why.
pub(super) fn error(id: Option<&str>, problem: &Problem, version: Option<u64>) -> String {
    let mut frame = json!({
        "type": "error",
        "id": id,
        "status": problem.status(),
        "code": problem.code(),
        "detail": problem.detail(),
    });
    if let Some(seconds) = problem.retry_after_s() {
        frame["retry_after"] = seconds.into();
    }
    if let Some(version) = version {
        frame["version"] = version.into();
    }
    frame.to_string()
}
