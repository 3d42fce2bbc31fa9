//! What all workers of a running server share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use passerby_actors::actor::{Core, JanitorHandle, LinkerHandle, LoggedIn};
use passerby_actors::domain::{DeviceId, Entropy, ServiceClock, SessionKind};
use passerby_actors::histogram::Histogram;
use passerby_actors::store::{EmbeddedStore, Health, Store};

use crate::config::Settings;
use crate::provider::Providers;
use crate::token::{AccessClaims, RefreshClaims, Tokens};

/// A running server.
pub struct Server {
    /// What the operator set.
    pub settings: Settings,
    /// Which providers are enabled.
    pub providers: Providers,
    /// Mints and checks tokens.
    pub tokens: Tokens,
    /// The actors' shared part.
    pub core: Arc<Core>,
    /// The store, for its figures and its end.
    pub store: Arc<EmbeddedStore>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The sweep.
    pub janitor: JanitorHandle,
    /// Links identities, and logs in by them.
    pub linker: LinkerHandle,
    /// Responses by class of status: 1xx at 0.
    pub responses: [AtomicU64; 5],
    /// How long requests took that were answered 503.
    pub shed: Histogram,
}

impl Server {
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

    /// Twelve unpredictable bytes.
    pub fn random_id(&self) -> [u8; 12] {
        let mut id = [0; 12];
        self.entropy.fill(&mut id);
        id
    }

    /// Whether anything may be called dead: only while the store can write is a 401 a fact.
    pub fn may_refuse(&self) -> bool {
        self.store.health() == Health::Writable
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
