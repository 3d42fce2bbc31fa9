//! An open socket: its client's requests, one after the other, and what its user's actor tells it meanwhile.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::error::PayloadError;
use actix_ws::{AggregatedMessage, CloseCode, CloseReason, Closed, MessageStream, ProtocolError, Session};
use passerby_actors::actor::{Inbox, Missed, Push};
use passerby_actors::domain::{Document, DocumentRefusal, Refusal, SessionId, UserId};
use passerby_actors::handle::{self, Attachment, Live};
use passerby_actors::stall::{self, Mark};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::frames::{self, Frame, Request};
use crate::http::connection::Endless;
use crate::http::meters::{self, Use};
use crate::http::v1::data::{most_members, told, work_on_data};
use crate::http::{Context, Problem, came_back_from, rfc3339, within_time};
use crate::limits::data_work::Whose;
use crate::limits::network::Network;
use crate::limits::places::Place;

/// How often a client is pinged, and its session is checked, which counts as activity.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// How long a frame may take to leave: beyond it the client is too slow.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// How long nothing is read of a client that has asked for too much work on documents.
const OVER_BUDGET_PAUSE: Duration = Duration::from_secs(1);
/// Within this time the sockets of a session are told that it ended, or goes on after a link.
const TOLD_WITHIN: Duration = Duration::from_secs(1);
/// The end of an account's session is announced this long before (seconds).
const EXPIRING_S: u32 = 3600;

const SESSION_ENDED: u16 = 4001;
const TOO_SLOW: u16 = 4002;
const NO_PONG: u16 = 4008;

/// Whose socket it is.
pub(super) struct Socket {
    pub(super) context: Context,
    pub(super) user: UserId,
    /// Where it comes from.
    pub(super) client: IpAddr,
    pub(super) session: SessionId,
    pub(super) endless: Endless,
    pub(super) _place: Place,
    /// The version of the document that the client has been told.
    pub(super) known: u64,
}

impl Drop for Socket {
    /// However it ends. The listener cuts off a client that did not read what was sent.
    fn drop(&mut self) {
        self.endless.end();
    }
}

/// How it ends.
enum End {
    /// With this code.
    Close(CloseCode),
    /// The client is gone, or has said that it goes.
    Gone,
}

impl From<u16> for End {
    fn from(code: u16) -> Self {
        Self::Close(CloseCode::Other(code))
    }
}

/// What leaves: each frame within its time.
struct Out(Session);

impl Out {
    async fn send(&mut self, text: String) -> Result<(), End> {
        Self::in_time(self.0.text(text)).await
    }

    async fn ping(&mut self) -> Result<(), End> {
        Self::in_time(self.0.ping(b"")).await
    }

    async fn pong(&mut self, bytes: &[u8]) -> Result<(), End> {
        Self::in_time(self.0.pong(bytes)).await
    }

    async fn in_time(sending: impl Future<Output = Result<(), Closed>>) -> Result<(), End> {
        match stall::within(SEND_WITHIN, sending).await {
            Ok(sent) => sent.map_err(|_| End::Gone),
            Err(_) => Err(TOO_SLOW.into()),
        }
    }
}

impl Socket {
    /// Until either side ends it.
    ///
    /// What is seldom done is done on the heap, and only while it is: an idle socket shall not hold the room that it takes.
    pub(super) async fn run(mut self, mut attachment: Attachment, session: Session, messages: MessageStream) {
        let mut out = Out(session);
        let code = match self.talk(&mut attachment, &mut out, messages).await {
            Err(End::Close(code)) => Some(CloseReason { code, description: None }),
            Ok(()) | Err(End::Gone) => None,
        };
        drop(stall::within(SEND_WITHIN, out.0.close(code)).await);
    }

    async fn talk(&mut self, attachment: &mut Attachment, out: &mut Out, messages: MessageStream) -> Result<(), End> {
        Box::pin(self.greet(attachment, out)).await?;
        let most = self.context.server.settings.http.max_body;
        let mut messages = messages.max_frame_size(most).aggregate_continuations().max_continuation_size(most);
        let mut stopping = self.context.server.stopping.subscribe();
        let mut beat = pin!(sleep_until(Instant::now() + HEARTBEAT));
        let (mut answered, mut asked, mut warned) = (true, Mark::now(), false);
        loop {
            tokio::select! {
                message = messages.recv() => match message {
                    None => return Ok(()),
                    Some(Err(error)) => return Err(End::Close(broken(&error))),
                    Some(Ok(AggregatedMessage::Text(text))) => {
                        answered = true;
                        Box::pin(self.asked(&text, attachment, out)).await?;
                    }
                    Some(Ok(AggregatedMessage::Binary(_))) => return Err(End::Close(CloseCode::Unsupported)),
                    Some(Ok(AggregatedMessage::Ping(bytes))) => Box::pin(out.pong(&bytes)).await?,
                    Some(Ok(AggregatedMessage::Pong(_))) => answered = true,
                    // with the same code (RFC 6455 §5.5.1)
                    Some(Ok(AggregatedMessage::Close(reason))) => {
                        return reason.map_or(Ok(()), |reason| Err(End::Close(reason.code)));
                    }
                },
                push = attachment.inbox.next() => Box::pin(self.tell(push, &attachment.inbox, out)).await?,
                () = &mut beat => {
                    let left = HEARTBEAT.saturating_sub(asked.elapsed());
                    if !answered && !left.is_zero() {
                        // this process did not run meanwhile, and may not have read the answer yet
                        beat.as_mut().reset(Instant::now() + left);
                        continue;
                    }
                    if !answered {
                        return Err(NO_PONG.into());
                    }
                    (answered, asked) = (false, Mark::now());
                    beat.as_mut().reset(Instant::now() + HEARTBEAT);
                    Box::pin(self.look(&mut warned, attachment, out)).await?;
                }
                _ = stopping.wait_for(|stopping| *stopping) => return Err(End::Close(CloseCode::Restart)),
            }
        }
    }

    /// Says hello, and forgets what only that was for.
    async fn greet(&mut self, attachment: &mut Attachment, out: &mut Out) -> Result<(), End> {
        for frame in frames::hello(&self.user, &self.session, &attachment.hello) {
            out.send(frame).await?;
        }
        attachment.hello.missed = Missed::Nothing;
        self.known = attachment.hello.version;
        Ok(())
    }

    /// Tells the client what happened; nothing more comes from an actor that is gone, or that cut the socket off.
    async fn tell(&mut self, push: Option<Arc<Push>>, inbox: &Inbox, out: &mut Out) -> Result<(), End> {
        let Some(push) = push else {
            return Err(if inbox.overflowed() { TOO_SLOW.into() } else { End::Close(CloseCode::Restart) });
        };
        match &*push {
            Push::Linked { session } => self.session = SessionId::derive(&self.user, *session),
            // its user is an alias now, and that is all there is to say
            Push::Ended(passerby_actors::domain::Cause::MergedInto) => return Err(SESSION_ENDED.into()),
            _ => self.known = frames::version(&push).map_or(self.known, |version| version.max(self.known)),
        }
        out.send(frames::push(&self.user, &push)).await?;
        if matches!(&*push, Push::Ended(_)) { Err(SESSION_ENDED.into()) } else { Ok(()) }
    }

    /// The session, if it lives, which counts as activity; none while the store cannot write, when no session is called over. What ended
    /// it, or under which number it goes on after a link, may still be on its way, and is sent first.
    async fn session(&mut self, attachment: &mut Attachment, out: &mut Out) -> Result<Option<Live>, End> {
        let until = Instant::now() + TOLD_WITHIN;
        loop {
            let refusal = match self.context.handle.check(&self.user, &self.session, None) {
                Ok(live) => {
                    came_back_from(self.client, &self.context, &live);
                    return Ok(Some(live));
                }
                Err(handle::Error::Refused(refusal)) => refusal,
                Err(_) => return Ok(None),
            };
            match timeout_at(until, attachment.inbox.next()).await {
                Ok(push) => self.tell(push, &attachment.inbox, out).await?,
                Err(_) => {
                    out.send(frames::ended(self.why(refusal))).await?;
                    return Err(SESSION_ENDED.into());
                }
            }
        }
    }

    /// Checks whether the session still lives and whether its end is near, and pings the client.
    async fn look(&mut self, warned: &mut bool, attachment: &mut Attachment, out: &mut Out) -> Result<(), End> {
        if let Some(live) = self.session(attachment, out).await? {
            let (clock, policy) = (self.context.server.clock(), &self.context.server.core.policy());
            let end = live.started.saturating_add(policy.session_lifetime_s);
            if !*warned && !live.record.is_anonymous() && clock.now().saturating_add(EXPIRING_S) >= end {
                *warned = true;
                out.send(frames::expiring(&rfc3339(clock.to_wall_s(end)))).await?;
            }
        }
        out.ping().await
    }

    /// Why the session is over, as far as that can still be seen: an expired one is there until it is swept.
    fn why(&self, refusal: Refusal) -> &'static str {
        let user = self.context.handle.stored(&self.user);
        let is_own =
            |session: &passerby_actors::domain::Session| SessionId::derive(&self.user, session.number) == self.session;
        match refusal {
            Refusal::Disabled => "disabled",
            _ if user.is_some_and(|user| user.sessions().iter().any(is_own)) => "expired",
            _ => "ended",
        }
    }

    /// The document, once the client has been told of all that made it so: what is stored is durable, and the actor tells of it a
    /// moment later.
    async fn document(&mut self, attachment: &mut Attachment, out: &mut Out) -> Result<Option<Arc<[u8]>>, End> {
        let until = Instant::now() + TOLD_WITHIN;
        loop {
            let stored = self.context.handle.document(&self.user);
            let view = stored.as_deref().and_then(|bytes| Document::view(bytes).ok());
            if view.is_none_or(|view| view.version <= self.known) {
                return Ok(stored);
            }
            match timeout_at(until, attachment.inbox.next()).await {
                Ok(push) => self.tell(push, &attachment.inbox, out).await?,
                Err(_) => return Ok(stored),
            }
        }
    }

    /// Does what the client asks for, while its session lives (S7). What others do meanwhile waits: of the changes before the
    /// answer's own all are told before it, and of those after it none.
    async fn asked(&mut self, text: &str, attachment: &mut Attachment, out: &mut Out) -> Result<(), End> {
        let document = self.context.handle.document(&self.user).map_or(0, |bytes| bytes.len());
        let Some(Frame { id, mut request }) = frames::read(text, most_members(&self.context, document)) else {
            return Err(End::Close(CloseCode::Invalid));
        };
        self.session(attachment, out).await?;
        let document = if matches!(&request, Ok(Request::Edit(..))) { document } else { 0 };
        let whose = Whose::of(self.client, self.user);
        match work_on_data(&self.context, whose, text.len() + document).await {
            // its session may have ended meanwhile
            Ok(true) => _ = self.session(attachment, out).await?,
            Ok(false) => {}
            Err(over) => {
                // reading the frame was work already: nothing more is read of it for a while
                tokio::time::sleep(OVER_BUDGET_PAUSE).await;
                request = request.and(Err(over.into()));
            }
        }
        let stored = match &request {
            Ok(Request::Get) => self.document(attachment, out).await?,
            _ => None,
        };
        let network = Network::of(self.client);
        let asked = Asked { whose, network, origin: attachment.socket, id: id.as_deref(), request, stored };
        let answer = answer(&self.context, &self.user, asked).await;
        let mut later = None;
        while let Some(push) = attachment.inbox.try_next() {
            if frames::version(&push).zip(answer.version).is_some_and(|(told, own)| told > own) {
                later = Some(push);
                break;
            }
            self.tell(Some(push), &attachment.inbox, out).await?;
        }
        self.known = answer.version.map_or(self.known, |version| version.max(self.known));
        out.send(answer.frame).await?;
        if answer.is_unknown {
            // whether it was done is told to a socket that comes back, and not to the one that asked
            return Err(End::Close(CloseCode::Restart));
        }
        match later {
            None => Ok(()),
            Some(push) => self.tell(Some(push), &attachment.inbox, out).await,
        }
    }
}

/// What a client is answered.
struct Answer {
    frame: String,
    /// The version that the document has by it.
    version: Option<u64>,
    /// Whether it is unknown if it was done.
    is_unknown: bool,
}

/// What a client asks for, and what it takes to answer it.
struct Asked<'a> {
    whose: Whose,
    network: Option<Network>,
    origin: u64,
    id: Option<&'a str>,
    request: Result<Request, Problem>,
    /// The document, if it asks for that.
    stored: Option<Arc<[u8]>>,
}

async fn answer(context: &Context, user: &UserId, asked: Asked<'_>) -> Answer {
    let Asked { whose, network, origin, id, request, stored } = asked;
    let mut current = None;
    let done = async {
        let name = id.unwrap_or_default();
        match request? {
            Request::Get => {
                let view = stored.as_deref().and_then(|bytes| Document::view(bytes).ok());
                let (version, json) = view.map_or((0, None), |view| (view.version, view.json));
                let fields = format!(r#","version":{version},"data":{}"#, json.unwrap_or("null"));
                let frame = frames::reply(name, &fields);
                Ok(Answer { frame, version: Some(version), is_unknown: false })
            }
            Request::Edit(change, expected) => {
                let may_grow = context.server.budgets.may_store(network);
                let (operation, origin) = (Some(name.as_bytes()), Some(origin));
                let edit = context.handle.edit_within(user, change, expected, operation, origin, may_grow);
                let edited = within_time(context, edit).await.inspect_err(|error| {
                    if let handle::Error::Refused(Refusal::Document(DocumentRefusal::Version(version))) = error {
                        current = Some(*version);
                    }
                })?;
                told(context, whose, &edited);
                context.server.budgets.stored(network, edited.grown);
                let version = edited.version;
                let value = edited.value.map(|value| format!(r#","value":{value}"#)).unwrap_or_default();
                let frame = frames::reply(name, &format!(r#","version":{version}{value}"#));
                Ok(Answer { frame, version: Some(version), is_unknown: false })
            }
            Request::Meter { name: meter, item, amount } => {
                let wish = Use { meter: &meter, amount, item: item.as_deref(), operation: Some(name.as_bytes()) };
                let used = meters::used(context, user, wish).await?.ok_or_else(Problem::no_such_meter)?;
                let view = serde_json::to_string(&used).unwrap_or_default();
                let frame = frames::reply(name, &format!(r#","meter":{view}"#));
                Ok(Answer { frame, version: None, is_unknown: false })
            }
        }
    };
    let done: Result<Answer, Problem> = done.await;
    done.unwrap_or_else(|problem| {
        let problem = problem.told_now(&context.server);
        let is_unknown = problem.code() == "outcome-unknown";
        Answer { frame: frames::error(id, &problem, current), version: None, is_unknown }
    })
}

/// The close code for what a client sent (RFC 6455 §7.4.1).
fn broken(error: &ProtocolError) -> CloseCode {
    match error {
        ProtocolError::Overflow => CloseCode::Size,
        // the library says in this way that a text is no UTF-8, that a message is too large, and what the guard said
        ProtocolError::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<PayloadError>()) {
            Some(PayloadError::EncodingCorrupted) => CloseCode::Protocol,
            _ if error.kind() == std::io::ErrorKind::InvalidData => CloseCode::Invalid,
            _ => CloseCode::Size,
        },
        _ => CloseCode::Protocol,
    }
}
