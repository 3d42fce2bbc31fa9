//! A server whose listeners are bound, from its parts to its end.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::RwLock;
use passerby_actors::actor::{Core, JanitorHandle, Limits, LinkerHandle};
use passerby_actors::handle::Handle;
use passerby_actors::histogram::Histogram;
use tokio::sync::{Semaphore, watch};

use super::error::{Listener, StartError};
use super::opening::open_store;
use super::options::{algorithm, policy, store_options};
use super::ports::Ports;
use crate::admin::Admins;
use crate::admin::local::LocalToken;
use crate::codes::OneTimeCodes;
use crate::config::{Settings, Storage};
use crate::deployment::{Deployments, Recipe};
use crate::http::admin::{AdminListener, Phase};
use crate::http::listener;
use crate::left::Left;
use crate::limits::budget::Budgets;
use crate::limits::data_work::DataWork;
use crate::limits::places::Places;
use crate::limits::proof_of_work::Challenges;
use crate::limits::share::Share;
use crate::mail::Mailer;
use crate::provider::Parts;
use crate::provider::app_folder::AppContent;
use crate::provider::password::Cost;
use crate::server::Server;
use crate::stats::Stats;
use crate::telemetry::OPERATOR;
use crate::test_clock::TestClock;
use crate::tls::Tls;
use crate::token::{ACCESS_TTL_S, KeyStore, KeyWatch, Tokens};

const HOUR: Duration = Duration::from_secs(3600);
/// How often figures are looked at: what happens within so long of a minute's end may be counted in the next.
const LOOK: Duration = Duration::from_secs(5);
/// How often they are stored: in looks.
const LOOKS_OF_SAVE: u32 = 60;
/// How long the end waits for that.
const SAVE: Duration = Duration::from_secs(2);
/// Streams of events to admins that may be open.
const MOST_EVENT_STREAMS: usize = 16;
/// Entries of the verified-token cache: about 20 MB when full.
const TOKEN_CACHE_ENTRIES: usize = 131_072;

/// How long the end waits for e-mails that are being delivered.
const MAIL_DRAIN: Duration = Duration::from_secs(5);

/// A server whose listeners are bound.
pub struct Application {
    server: Arc<Server>,
    public: actix_web::dev::Server,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    admin: AdminListener,
    /// This thread's way into the core.
    handle: Handle,
    /// Ends with the store.
    logging: actix_web::rt::task::JoinHandle<()>,
    /// Goes with the server.
    _token: Option<LocalToken>,
}

/// Binds the admin listener, on which `/readyz` says that the store is being read. With a clock for tests it also moves that.
///
/// # Errors
/// The address cannot be bound, or its certificate cannot be served.
pub fn start_admin(settings: &Settings, test_clock: Option<Arc<TestClock>>) -> Result<AdminListener, StartError> {
    let address = settings.admin_listen;
    let tls = Tls::start("admin.tls", &settings.admin.tls)?;
    AdminListener::start(settings, test_clock, tls).map_err(|error| StartError::Listen {
        listener: Listener::Admin,
        address,
        error,
    })
}

impl Application {
    /// Reads keys and store, deploys the app folder if it has changed since it was last deployed, and binds the public listener.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn build(
        settings: Settings,
        recipe: Recipe,
        folder: Option<&AppContent>,
        ports: Ports,
        admin: AdminListener,
    ) -> Result<Self, StartError> {
        let max_users = store_options(&settings).max_users;
        let tls = Tls::start("tls", &settings.tls)?;
        let store = open_store(&settings, &ports).await?;
        let opened = store.opened();
        let keys = KeyStore::open_or_create(
            &settings.keys_dir,
            algorithm(settings.access_alg),
            !opened.fresh && opened.users > 0,
            &*ports.entropy,
            store.clock().wall_ms() / 1000,
        )?;
        let issuer = settings.public_url.clone().unwrap_or_else(|| format!("urn:passerby:{}", settings.app_id));
        let tokens = Tokens::new(keys.ring()?, issuer, settings.app_id.clone(), ACCESS_TTL_S, TOKEN_CACHE_ENTRIES);

        let limits = Limits {
            idle_ms: u64::try_from(settings.actors.idle.as_millis()).unwrap_or(u64::MAX),
            max_live: settings.actors.max_live,
            max_users,
            permits: settings.admission.permits,
            commit_timeout: settings.http.request_timeout,
        };
        let core = Core::new(Arc::clone(&store), policy(&settings), limits, Arc::clone(&ports.entropy), None);
        let logging = actix_web::rt::spawn(core.log_events());
        let janitor = JanitorHandle::start(Arc::clone(&core)).await?;
        let linker = Arc::new(LinkerHandle::new(Arc::clone(&core)));
        linker.start();
        let mailer = recipe.mail().map(|transport| {
            let (mailer, deliveries) =
                Mailer::new(Arc::clone(transport), Arc::clone(&ports.clock), Arc::clone(&ports.entropy));
            actix_web::rt::spawn(deliveries.run());
            mailer
        });
        let cost = if settings.test { Cost::FOR_TESTS } else { Cost::default() };
        let parts = Parts {
            mailer: mailer.clone(),
            linker: Arc::clone(&linker),
            store: Arc::clone(&store),
            entropy: Arc::clone(&ports.entropy),
            cost,
            password_work: OnceLock::new(),
        };
        let handle = Handle::new(Arc::clone(&core), Arc::clone(&linker));
        let configuration = RwLock::new(recipe.configuration());
        let deployments = Deployments::start(&handle, recipe, parts, folder).await?;
        let stats = Stats::start(&handle, settings.meters.keys());
        let entropy = ports.entropy;
        // what is in memory has no folder that a command could look into
        let token = match settings.storage {
            Storage::Disk => {
                let door = (settings.admin.tls.scheme(), admin.address());
                Some(LocalToken::write(&settings.data_dir, door, &*entropy)?)
            }
            Storage::Memory => None,
        };
        let local = token.as_ref().map(LocalToken::hash);
        let admins = Admins::new(&settings.admin, cost, &settings.keys_dir, local, Arc::clone(&entropy))?;
        let share = |most: usize| {
            Share::new(u64::try_from(most).unwrap_or(u64::MAX), settings.budget.share, settings.expiry.window_s)
        };
        let budgets = Budgets::new(&settings.budget, settings.limits, Arc::clone(&ports.clock))
            .sharing(share(max_users), share(core.policy().documents_bytes));
        admins.enforce_blocks(&handle, budgets.blocks());
        let data_work = DataWork::new(&settings.data, settings.limits, Arc::clone(&ports.clock));
        let challenges = Challenges::new(&*entropy);
        let of_network = |most: u64| settings.limits.then_some(most);
        let most = listener::most_connections(&settings);
        // checks and logins have connections, too
        let most_sockets = settings.http.max_sockets.min(most - most / 4);
        let key_watch = KeyWatch::start(&settings.keys_dir, &keys)?;
        let sockets = Places::new(most_sockets, of_network(settings.budget.sockets.into()));
        let quarter = (most / 4).max(1);
        let connections = Places::new(most, of_network(settings.budget.connections.map_or(quarter, u64::from)));
        let server = Arc::new(Server {
            settings,
            configuration,
            deployments,
            tokens,
            keys: key_watch,
            core,
            store,
            entropy,
            janitor,
            linker,
            admins,
            mailer,
            codes: OneTimeCodes::default(),
            left: Left::default(),
            budgets,
            data_work,
            challenges,
            stopping: watch::Sender::new(false),
            sockets,
            connections,
            stats,
            event_streams: Arc::new(Semaphore::new(MOST_EVENT_STREAMS)),
            responses: Default::default(),
            shed: Histogram::default(),
        });

        actix_web::rt::spawn(drop_old_entries(Arc::downgrade(&server), handle.clone(), server.stopping.subscribe()));
        actix_web::rt::spawn(keep_stats(Arc::downgrade(&server), handle.clone(), server.stopping.subscribe()));
        let listen = server.settings.listen;
        let (public, address) = listener::bind(&server, tls.as_ref()).map_err(|error| StartError::Listen {
            listener: Listener::Public,
            address: listen,
            error,
        })?;
        admin.enter(Phase::Serving(Arc::clone(&server)));
        Ok(Self { server, public, address, tls, admin, handle, logging, _token: token })
    }

    /// The public listener's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The admin listener's address.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// The certificates of both listeners.
    pub fn certificates(&self) -> Vec<Arc<Tls>> {
        [&self.tls, self.admin.tls()].into_iter().flatten().cloned().collect()
    }

    /// This thread's way into the core.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The running server.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Serves until `stop` resolves, then drains.
    ///
    /// # Errors
    /// The public listener failed.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> std::io::Result<()> {
        let public = self.public.handle();
        let mut running = actix_web::rt::spawn(self.public);
        let ended = tokio::select! {
            ended = &mut running => Some(ended),
            () = stop => None,
        };
        self.admin.enter(Phase::Draining(Arc::clone(&self.server)));
        if ended.is_none() {
            tracing::info!("draining");
            tokio::time::sleep(self.server.settings.drain.notice).await;
            self.server.stopping.send_replace(true);
            public.stop(true).await;
            if let Some(mailer) = &self.server.mailer {
                // those that wait for a later attempt are lost; their tokens can be asked for again
                drop(tokio::time::timeout(MAIL_DRAIN, mailer.drained()).await);
            }
        }
        let ended = match ended {
            Some(ended) => ended,
            None => running.await,
        };
        self.server.look_at_figures();
        match tokio::time::timeout(SAVE, self.server.stats.save(&self.handle)).await {
            Ok(Ok(())) => {}
            _ => tracing::warn!("the statistics of the last minutes could not be stored"),
        }
        self.server.store.stop();
        drop(self.logging.await);
        self.admin.stop().await;
        tracing::info!("stopped");
        ended.map_err(std::io::Error::other)?
    }
}

/// Waits for this long, or until the server stops: whether it goes on.
async fn goes_on_after(pause: Duration, stopping: &mut watch::Receiver<bool>) -> bool {
    tokio::time::timeout(pause, stopping.wait_for(|stopping| *stopping)).await.is_err()
}

/// Looks at the figures of the last minutes and days, and stores them now and then; and whether the networks that are blocked, and what
/// is deployed, are those that are stored.
async fn keep_stats(server: Weak<Server>, handle: Handle, mut stopping: watch::Receiver<bool>) {
    for look in 1_u32.. {
        if !goes_on_after(LOOK, &mut stopping).await {
            break;
        }
        let Some(server) = server.upgrade() else { break };
        server.look_at_figures();
        server.admins.enforce_other_blocks(&handle, server.budgets.blocks());
        if let Err(error) = server.deployments.follow(&handle) {
            tracing::error!(target: OPERATOR, %error, "the last deployment is stored, and cannot be in force");
        }
        if look % LOOKS_OF_SAVE == 0
            && let Err(error) = server.stats.save(&handle).await
        {
            tracing::debug!(%error, "the statistics are not stored yet");
        }
    }
}

/// Keeps the audit log to its retention, and drops blocks that have ended, from the start on and every hour, while the server is there.
async fn drop_old_entries(server: Weak<Server>, handle: Handle, mut stopping: watch::Receiver<bool>) {
    while let Some(server) = server.upgrade() {
        if let Err(error) = server.admins.audit.drop_old(&handle).await {
            tracing::warn!(%error, "old entries of the audit log are not dropped yet");
        }
        if let Err(error) = server.admins.drop_ended_blocks(&handle).await {
            tracing::warn!(%error, "blocks of networks that have ended are not dropped yet");
        }
        drop(server);
        if !goes_on_after(HOUR, &mut stopping).await {
            break;
        }
    }
}
