//! What all workers of a running server share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::Guard;
use parking_lot::RwLock;
use passerby_actors::actor::{Core, JanitorHandle, LinkerHandle, LoggedIn};
use passerby_actors::domain::{
    DeviceId, Document, Entropy, MergePolicy, MeterMerge, ServiceClock, SessionKind, UserId,
};
use passerby_actors::handle::Live;
use passerby_actors::histogram::Histogram;
use passerby_actors::store::{Health, Store};
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, watch};

use crate::admin::Admins;
use crate::codes::OneTimeCodes;
use crate::config::{Settings, Shown};
use crate::deployment::{App, Deployments};
use crate::left::Left;
use crate::limits::budget::Budgets;
use crate::limits::data_work::DataWork;
use crate::limits::places::Places;
use crate::limits::proof_of_work::Challenges;
use crate::mail::Mailer;
use crate::stats::{Stats, Tally};
use crate::token::KeyWatch;
use crate::token::{AccessClaims, RefreshClaims, Tokens};

/// A running server.
pub struct Server {
    /// What the operator set.
    pub settings: Settings,
    /// The same with where each comes from; of it, `log.filter` may change.
    pub configuration: RwLock<Vec<Shown>>,
    /// What is in force of the app, and what takes its place.
    pub deployments: Deployments,
    /// Mints and checks tokens.
    pub tokens: Tokens,
    /// Whether the keys are where the next start looks for them.
    pub keys: Arc<KeyWatch>,
    /// The actors' shared part.
    pub core: Arc<Core>,
    /// The store, for its figures and its end.
    pub store: Arc<dyn Store>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The sweep.
    pub janitor: JanitorHandle,
    /// Links identities, and logs in by them: behind the handle of each worker.
    pub linker: Arc<LinkerHandle>,
    /// Who may administer it.
    pub admins: Admins,
    /// Sends mails, if anything does.
    pub mailer: Option<Mailer>,
    /// Codes that work once.
    pub codes: OneTimeCodes,
    /// Readers' sessions that their browser has just left for an account's.
    pub left: Left,
    /// What strangers may do.
    pub budgets: Budgets,
    /// How much work on documents may be asked for.
    pub data_work: DataWork,
    /// What they may do beyond that, for proofs of work.
    pub challenges: Challenges,
    /// Becomes true when the server stops: sockets then tell their clients to come back.
    pub stopping: watch::Sender<bool>,
    /// Open sockets.
    pub sockets: Arc<Places>,
    /// Open connections of the public listener.
    pub connections: Arc<Places>,
    /// What happened lately.
    pub stats: Stats,
    /// Places for streams of events to admins.
    pub event_streams: Arc<Semaphore>,
    /// Responses by class of status: 1xx at 0.
    pub responses: [AtomicU64; 5],
    /// How long requests took that were answered 503.
    pub shed: Histogram,
}

impl Server {
    /// What is in force of the app. What must not change under a request takes it once.
    pub fn app(&self) -> Guard<Arc<App>> {
        self.deployments.app()
    }

    /// A setting of this name has another value from now on.
    pub fn note_setting(&self, shown: Shown) {
        let mut configuration = self.configuration.write();
        configuration.iter_mut().filter(|known| known.name == shown.name).for_each(|known| *known = shown.clone());
    }

    /// The clock by which everything ends.
    pub fn clock(&self) -> &ServiceClock {
        self.store.clock()
    }

    /// Unix time in seconds.
    pub fn wall_s(&self) -> u64 {
        self.clock().wall_ms() / 1000
    }

    /// What the tokens of a session say.
    pub fn claims(
        &self,
        live: &LoggedIn,
        kind: SessionKind,
        device: DeviceId,
        lasting: bool,
    ) -> (AccessClaims, RefreshClaims) {
        let LoggedIn { user, session, number, epoch } = *live;
        let issued_at_s = self.wall_s();
        let access = AccessClaims { user, session, epoch, device, kind, issued_at_s, jti: self.random_id() };
        let refresh = RefreshClaims { user, session, number, counter: 0, kind, device, issued_at_s, lasting };
        (access, refresh)
    }

    /// Writes a new access token behind what `out` holds, with as much of the user's document as tokens show.
    pub fn write_access(&self, claims: &AccessClaims, out: &mut String) {
        self.tokens.access_into(claims, self.user_data(&claims.user).as_deref(), out);
    }

    fn user_data(&self, user: &UserId) -> Option<String> {
        let shown = &self.settings.data.token_fields;
        if shown.is_empty() {
            return None;
        }
        let stored = self.core.document(user)?;
        let json = Document::view(&stored).ok()?.json?;
        // of the rest nothing is kept, and what is shown is as it is written
        let mut data: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
        data.retain(|key, _| shown.contains(key));
        serde_json::to_string(&data).ok()
    }

    /// Twelve unpredictable bytes.
    pub fn random_id(&self) -> [u8; 12] {
        let mut id = [0; 12];
        self.entropy.fill(&mut id);
        id
    }

    /// Whether a session of a lasting account is young enough to change how the account is logged in to (S40); an anonymous
    /// user has nothing to log in with again.
    pub fn is_fresh(&self, live: &Live) -> bool {
        let fresh_s = self.settings.session.fresh_s;
        fresh_s == 0 || live.record.is_anonymous() || self.clock().now().saturating_sub(live.started) < fresh_s
    }

    /// How the data of two users become one.
    pub fn merge_policy(&self) -> MergePolicy {
        let larger = self.settings.meters.iter().filter(|(_, rule)| rule.merge == MeterMerge::Max);
        MergePolicy {
            oldest_created: self.settings.merge.oldest_created,
            larger: larger.map(|(name, _)| name.as_str().into()).collect(),
            document: self.settings.data.merge,
            document_keys: self.settings.data.merge_keys.clone(),
        }
    }

    /// Whether anything may be called dead: only while the store can write is a 401 a fact.
    pub fn may_refuse(&self) -> bool {
        self.store.health() == Health::Writable
    }

    /// Takes the figures as they are into those of this minute and this day.
    pub fn look_at_figures(&self) {
        let number = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (actors, links, sweep) = (self.core.stats(), self.linker.stats(), self.janitor.stats());
        let (refusals, walls) = (self.stats.refusals.counts(), self.stats.walls());
        let new = number(&actors.logins);
        let tally = |[all, anonymous]: &[AtomicU64; 2]| {
            let kinds = [
                ("new", new),
                ("returning", number(all)),
                ("came_back", number(&actors.came_back)),
                ("active_anonymous", new + number(anonymous)),
                ("converted", number(&links.converted)),
                ("expired", number(&sweep.expired) + number(&sweep.given_up)),
                ("logins", new + number(&links.logins)),
                ("checks", number(&actors.checks)),
                ("meter_walls", walls.values().sum()),
                ("refusals", refusals.values().sum()),
            ];
            let kinds = kinds.into_iter().map(|(name, number)| (name.to_owned(), number)).collect();
            Tally { kinds, refusals: refusals.clone(), walls: walls.clone() }
        };
        self.stats.look(self.wall_s(), tally(&actors.returned), tally(&actors.returned_that_day));
    }

    /// Counts an answer by its code, if it refuses what was asked for, or puts it off.
    pub(crate) fn count_refusal(&self, status: u16, code: Option<&'static str>) {
        if matches!(status, 401 | 403 | 429 | 503 | 507) {
            let of_status = match status {
                401 => "unauthorized",
                403 => "forbidden",
                429 => "too-many-requests",
                _ => "unavailable",
            };
            self.stats.refusals.count(code.unwrap_or(of_status));
        }
    }

    pub(crate) fn count_response(&self, status: u16, took_us: u64) {
        if let Some(counter) = self.responses.get(usize::from(status / 100).wrapping_sub(1)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if status == 503 {
            self.shed.record(took_us);
        }
    }
}
