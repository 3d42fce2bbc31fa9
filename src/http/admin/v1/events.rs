//! What is committed, as it happens: Server-Sent Events of the feed, filtered.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use futures_util::stream::{self, Stream};
use passerby_actors::domain::{Cause, Note, UserId};
use passerby_actors::store::{Committed, Follower, Next, Position};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::shown::time;
use crate::admin::Role;
use crate::http::admin::asked::Asked;
use crate::http::admin::table::{Row, row};
use crate::http::problem::{Answer, Problem};
use crate::http::read::of_query;

/// Changes that wait for one reader; of more, the oldest are dropped.
const MOST_WAITING: usize = 1024;
/// How often something is sent, so that a connection that is gone is noticed, and a proxy keeps one that is not.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Why there is no stream.
const TOO_MANY: &str = "as many streams of events are open as may be";

pub(super) fn rows() -> Vec<Row> {
    vec![row("GET /v1/admin/events", Some(Role::Read), None, events)]
}

/// Which changes are told.
struct Wanted {
    /// None is all.
    causes: Option<Vec<Cause>>,
    user: Option<UserId>,
    provider: Option<String>,
}

impl Wanted {
    fn of(query: &Map<String, Value>) -> Result<Self, Problem> {
        let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail);
        let given = |name: &str| query.get(name).and_then(Value::as_str);
        let cause = |name: &str| {
            let known = Cause::ALL.into_iter().filter(is_told).find(|cause| cause.name() == name);
            known.ok_or_else(|| bad(format!("{name:?} is no type of event")))
        };
        let causes = given("type").map(|names| names.split(',').map(str::trim).map(cause).collect()).transpose()?;
        let user = given("user").map(UserId::parse).transpose();
        let user = user.map_err(|_| bad("user must be a user id".to_owned()))?;
        Ok(Self { causes, user, provider: given("provider").map(str::to_owned) })
    }

    /// What is told of a change, if it is wanted: an event for each of the users who were created together. Called on the
    /// writer's thread.
    fn events(&self, change: &Committed) -> Vec<Event> {
        let Committed { position, wall_ms, cause, changed, note, .. } = change;
        let (told, users) = (note.as_deref(), change.told_of());
        let is_wanted = is_told(cause)
            && self.causes.as_ref().is_none_or(|causes| causes.contains(cause))
            && self.provider.as_deref().is_none_or(|wanted| told.and_then(|it| it.provider.as_deref()) == Some(wanted));
        if !is_wanted {
            return Vec::new();
        }
        let is_alone = users.len() == 1;
        let is_of = |user: &Option<UserId>| {
            self.user.as_ref().is_none_or(|wanted| {
                user.as_ref() == Some(wanted)
                    || told.is_some_and(|note| note.into.as_ref() == Some(wanted))
                    || is_alone && changed.iter().any(|changed| changed.id == *wanted)
            })
        };
        let event = |user: Option<UserId>| Event {
            position: *position,
            wall_ms: *wall_ms,
            cause: *cause,
            user,
            gone: changed.iter().any(|changed| changed.gone && Some(changed.id) == user),
            note: note.clone(),
        };
        users.into_iter().filter(is_of).map(event).collect()
    }
}

/// What a stream needs of a change: its text is written on the admin listener's thread.
struct Event {
    position: Position,
    wall_ms: u64,
    cause: Cause,
    user: Option<UserId>,
    gone: bool,
    note: Option<Arc<Note>>,
}

impl Event {
    fn text(&self) -> String {
        let (cause, note) = (self.cause.name(), self.note.as_deref());
        let mut data = json!({ "at": time(self.wall_ms), "type": cause });
        let mut tell = |name: &str, value: Option<Value>| {
            value.into_iter().for_each(|value| data[name] = value);
        };
        tell("user_id", self.user.map(|user| user.to_string().into()));
        tell("into", note.and_then(|note| note.into).map(|into| into.to_string().into()));
        tell("provider", note.and_then(|note| note.provider.as_deref()).map(Value::from));
        tell("reason", note.and_then(|note| note.reason).map(|reason| reason.name().into()));
        tell("gone", self.gone.then_some(true.into()));
        format!("id: {}\nevent: {cause}\ndata: {data}\n\n", id(self.position))
    }
}

/// Those of the server's own values are told by the audit log.
fn is_told(cause: &Cause) -> bool {
    *cause != Cause::Administered
}

fn id(Position { seq, index }: Position) -> String {
    format!("{seq}-{index}")
}

/// `type` (several with commas between), `user`, `provider`. Without an end, until the client goes, the session that asks ends or has a
/// lower role, or the server stops.
async fn events(asked: Asked) -> Answer {
    let wanted = Wanted::of(&of_query(&asked.request, &["type", "user", "provider"])?)?;
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")))
        // nginx would hold events back
        .insert_header(("x-accel-buffering", "no"));
    if *asked.request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let server = &asked.context.server;
    let Ok(place) = Arc::clone(&server.event_streams).try_acquire_owned() else {
        return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-streams", TOO_MANY));
    };
    let follower = server.store.feed().follow(MOST_WAITING, move |change| wanted.events(change));
    let (stopping, asker, context) = (server.stopping.subscribe(), asked.asker()?.clone(), asked.context.clone());
    let may_see = move || {
        // as long as the stream is
        let _place = &place;
        context.server.admins.is_still(&context.handle, &asker)
    };
    Ok(response.streaming(told(follower, stopping, may_see, KEEP_ALIVE)))
}

/// The text of a stream of events.
fn told(
    follower: Follower<Event>,
    stopping: watch::Receiver<bool>,
    may_see: impl Fn() -> bool,
    keep_alive: Duration,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    // something at once, so that the client knows that it is heard
    let begin = Some(": what is committed from now on\n\n".to_owned());
    stream::unfold(
        (follower, stopping, may_see, begin),
        move |(mut follower, mut stopping, may_see, begin)| async move {
            let text = match begin {
                Some(text) => text,
                None => {
                    let deadline = Instant::now() + keep_alive;
                    let next = tokio::select! {
                        next = follower.next() => Some(next?),
                        _ = stopping.wait_for(|stopping| *stopping) => return None,
                        () = sleep_until(deadline) => None,
                    };
                    match next {
                        None => ": nothing yet\n\n".to_owned(),
                        Some(Next::Change(event)) => event.text(),
                        Some(Next::Dropped { changes, resume }) => {
                            let data = json!({ "changes": changes, "resume": id(resume) });
                            format!("event: lagged\ndata: {data}\n\n")
                        }
                    }
                }
            };
            may_see().then(|| (Ok(Bytes::from(text)), (follower, stopping, may_see, None)))
        },
    )
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;

    use futures_util::StreamExt as _;
    use passerby_actors::store::{Feed, Wakes};

    use super::*;

    fn change(seq: u64, cause: Cause) -> Committed {
        let (user, changed, note) = (Some(UserId::from_bytes([7; 16])), Default::default(), None);
        Committed { position: Position { seq, index: 0 }, service: 0, wall_ms: 0, cause, user, changed, note }
    }

    #[actix_web::test]
    async fn a_reader_that_falls_behind_is_told_so_and_an_idle_one_is_kept() {
        let (feed, stop, may) = (Feed::default(), watch::Sender::new(false), Cell::new(true));
        let all = Wanted { causes: None, user: None, provider: None };
        let follower = feed.follow(2, move |change| all.events(change));
        let mut stream = pin!(told(follower, stop.subscribe(), || may.get(), Duration::from_millis(5)));
        let mut next = async || stream.next().await.map(|text| String::from_utf8(text.unwrap().to_vec()).unwrap());
        assert_eq!(next().await.unwrap(), ": what is committed from now on\n\n");
        let changes: Vec<_> = (1..6).map(|seq| change(seq, Cause::Created)).collect();
        feed.publish(&changes, &mut Wakes::default());
        assert_eq!(next().await.unwrap(), "event: lagged\ndata: {\"changes\":3,\"resume\":\"4-0\"}\n\n");
        let event = next().await.unwrap();
        let user = UserId::from_bytes([7; 16]);
        let data = format!(r#"{{"at":"1970-01-01T00:00:00Z","type":"created","user_id":"{user}"}}"#);
        assert_eq!(event, format!("id: 4-0\nevent: created\ndata: {data}\n\n"));
        assert!(next().await.unwrap().starts_with("id: 5-0\n"));
        assert_eq!(next().await.unwrap(), ": nothing yet\n\n");
        feed.publish(&[change(7, Cause::Created)], &mut Wakes::default());
        may.set(false);
        assert_eq!(next().await, None, "no event follows the end of a session");
    }

    #[actix_web::test]
    async fn a_stream_ends_with_the_server() {
        let (feed, stop) = (Feed::default(), watch::Sender::new(false));
        let stream = || {
            let follower = feed.follow(2, |_| None::<Event>);
            Box::pin(told(follower, stop.subscribe(), || true, Duration::from_secs(3600)))
        };
        let (mut with_server, mut with_store) = (stream(), stream());
        with_server.next().await.unwrap().unwrap();
        with_store.next().await.unwrap().unwrap();
        stop.send_replace(true);
        assert!(with_server.next().await.is_none());
        stop.send_replace(false);
        feed.close();
        assert!(with_store.next().await.is_none());
    }
}
