//! From settings to a running server, and from a signal to its end.
//!
//! The admin listener answers first; then the store is read; then the public listener accepts. On the way out: `/readyz`
//! 503, the notice, no new connections, the requests that were read, the last group.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix_web::web;
use passerby_actors::actor::{Core, JanitorHandle, Limits, LinkerHandle};
use passerby_actors::domain::{Clock, Entropy, Policy};
use passerby_actors::histogram::Histogram;
use passerby_actors::store::embedded::files::{self, Files};
use passerby_actors::store::embedded::{Durability, OpenError, Opened, Options, SPOILT_END};
use passerby_actors::store::{EmbeddedStore, Store};
use tokio::sync::watch;
use tracing::Level;
use zeroize::Zeroizing;

use crate::codes::OneTimeCodes;
use crate::config::secrets::Secrets;
use crate::config::{
    self, AccessAlg, Loaded, SETTINGS, Settings, SettingsError, SettingsErrors, default_data_bytes, default_max_users,
};
use crate::http::admin::{AdminListener, Phase};
use crate::http::listener;
use crate::left::Left;
use crate::limits::budget::Budgets;
use crate::limits::data_work::DataWork;
use crate::limits::places::Places;
use crate::limits::proof_of_work::Challenges;
use crate::limits::share::Share;
use crate::mail::{AnyTransport, Mailer, Plan, Smtp, Webhook};
use crate::outbound::{Allowed, Outbound, SystemResolver, system_roots};
use crate::provider::app_folder::AppFolder;
use crate::provider::password::{Cost, PasswordError};
use crate::provider::{Configured, Parts, Providers};
use crate::server::Server;
use crate::telemetry::OPERATOR;
use crate::test_clock::TestClock;
use crate::token::KeyWatch;
use crate::token::{ACCESS_TTL_S, Algorithm, KeyError, KeyStore, Tokens};

/// Entries of the verified-token cache: about 20 MB when full.
const TOKEN_CACHE_ENTRIES: usize = 131_072;

/// How long the end waits for e-mails that are being delivered.
const MAIL_DRAIN: std::time::Duration = std::time::Duration::from_secs(5);

/// Where time, randomness and files come from: the machine's own, or a test's.
#[derive(Clone)]
pub struct Ports {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Files.
    pub files: Arc<dyn Files>,
}

impl Ports {
    /// The machine's own.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(passerby_actors::system::SystemClock::default()),
            entropy: Arc::new(passerby_actors::system::SystemEntropy::default()),
            files: Arc::new(passerby_actors::store::embedded::files::Disk),
        }
    }
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The data folder belongs to a different app, whose users would all be refused.
    #[error("the data folder {} belongs to the app id {found}, not {wanted}", folder.display())]
    OtherApp {
        /// The data folder.
        folder: PathBuf,
        /// The app id that it was begun with.
        found: String,
        /// The app id of the settings.
        wanted: String,
    },
    /// The data folder does not say whose users it has.
    #[error("the data folder {} has a file APP_ID that {what}: write the app id into it that the users' clients are built with", folder.display())]
    NoApp {
        /// The data folder.
        folder: PathBuf,
        /// What is wrong with the file.
        what: &'static str,
    },
    /// `serve --test` on data that is not its own: moving the clock would end users for good.
    #[error("the data folder {} was not begun by `serve --test`, whose clock would end its users: choose a different --data-dir", .0.display())]
    NotForTests(PathBuf),
    /// The data of `serve --test`, whose passwords are worth nothing, without that flag.
    #[error("the data folder {} was begun by `serve --test`, where passwords are hashed for speed alone: choose a different --data-dir", .0.display())]
    ForTestsAlone(PathBuf),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// An address.
    #[error("the {} listener cannot have {address}: {}", listener.name(), why_not(*listener, error))]
    Listen {
        /// Whose it is.
        listener: Listener,
        /// Which one.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// A thread or a listener.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The threads that hash passwords.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// The actors.
    #[error(transparent)]
    Actors(#[from] passerby_actors::handle::Error),
}

/// One of the two listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// For clients.
    Public,
    /// For operators.
    Admin,
}

impl Listener {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Admin => "admin",
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::Public => "--listen",
            Self::Admin => "--admin-listen",
        }
    }

    /// Its address in the settings.
    pub fn address(self, settings: &Settings) -> SocketAddr {
        match self {
            Self::Public => settings.listen,
            Self::Admin => settings.admin_listen,
        }
    }

    /// Tries its address, and lets go of it.
    ///
    /// # Errors
    /// [`StartError::Listen`].
    pub fn probe(self, settings: &Settings) -> Result<(), StartError> {
        let address = self.address(settings);
        let failed = |error| StartError::Listen { listener: self, address, error };
        std::net::TcpListener::bind(address).map(drop).map_err(failed)
    }
}

/// What can be done about an address that cannot be had.
fn why_not(listener: Listener, error: &std::io::Error) -> String {
    let flag = listener.flag();
    match error.kind() {
        std::io::ErrorKind::AddrInUse => format!("another program has this port; take another one by {flag}"),
        std::io::ErrorKind::PermissionDenied => {
            format!("{error}; ports below 1024 need a right of their own, so take a higher one by {flag}")
        }
        std::io::ErrorKind::AddrNotAvailable => format!("it is no address of this machine; give another by {flag}"),
        _ => format!("{error} ({flag})"),
    }
}

/// How many users are allowed, and the store's options that follow from the settings.
pub fn store_options(settings: &Settings) -> Options {
    let read = |path: &std::path::Path| std::fs::read_to_string(path).ok();
    let max_users = settings.max_users.unwrap_or_else(|| default_max_users(read));
    Options {
        durability: match settings.durability {
            config::Durability::Fsync => Durability::Fsync,
            config::Durability::Os => Durability::Os,
        },
        max_users: usize::try_from(max_users).unwrap_or(usize::MAX),
        give_back: crate::allocator::give_back,
        ..Options::default()
    }
}

/// The rules that the domain works by.
fn policy(settings: &Settings) -> Policy {
    let read = |path: &std::path::Path| std::fs::read_to_string(path).ok();
    let documents_bytes = settings.data.max_bytes;
    let by_memory = || usize::try_from(default_data_bytes(read)).unwrap_or(usize::MAX);
    Policy { documents_bytes: documents_bytes.unwrap_or_else(by_memory), ..settings.policy() }
}

/// The store's algorithm for a setting.
pub fn algorithm(setting: AccessAlg) -> Algorithm {
    match setting {
        AccessAlg::EdDsa => Algorithm::EdDSA,
        AccessAlg::Es256 => Algorithm::ES256,
        AccessAlg::Hs256 => Algorithm::HS256,
    }
}

/// The enabled providers, with the secrets that they name and one client for whatever they fetch. Nothing is fetched yet.
/// `environment` is that of [`config::environment`].
///
/// # Errors
/// Names source, key and reason of everything that is wrong with providers, secrets, mail and `outbound.allow`.
pub fn providers(
    loaded: &Loaded,
    folder: &AppFolder,
    environment: &[(String, String)],
) -> Result<Configured, SettingsErrors> {
    build_providers(loaded, folder, environment).map_err(|errors| loaded.locate(errors))
}

fn build_providers(
    loaded: &Loaded,
    folder: &AppFolder,
    environment: &[(String, String)],
) -> Result<Configured, SettingsErrors> {
    let settings = loaded.settings();
    let secrets_file = settings.secrets_file.as_deref();
    let secrets = Secrets::load(environment, secrets_file, settings.app_dir.as_deref());
    // about the file as a whole: what names it may be what is wrong
    let secrets = secrets.map_err(|error| match secrets_file.map(|file| file.display().to_string()) {
        Some(file) if error.origin == file && error.key.is_none() => {
            SettingsError::of_key(SETTINGS, "secrets_file", format!("{file}: {}", error.reason))
        }
        _ => error,
    })?;
    let unreachable = |reason: String| SettingsError::of_key(SETTINGS, "outbound.allow", reason);
    let allowed = Allowed::parse(&settings.outbound.allow).map_err(unreachable)?;
    let outbound = Outbound::new(allowed, Arc::new(SystemResolver), system_roots())
        .map_err(|error| SettingsError::of_source("outbound client", error.to_string()))?;
    let mut wrong = SettingsErrors::default();
    let built = Configured::read(folder, loaded.provider_tables(), &settings.app_id, &secrets, &outbound);
    let providers = wrong.take(built);
    let mail = wrong.take(mail(settings, &secrets, outbound));
    let (Some(mut providers), Some(mail)) = (providers, mail) else { return Err(wrong) };
    providers.mail = mail;
    let mut missing =
        |key: &str, reason: &str| wrong.push(SettingsError::of_key(SETTINGS, key, format!("is missing: {reason}")));
    if providers.mail.is_none() && providers.needs_mail() {
        missing("mail.smtp", "local-userpass has to send mails (or set mail.webhook)");
    }
    if providers.needs_public_url() && settings.public_url.is_none() {
        missing("public_url", "a provider with redirect_uris has to send browsers back here");
    }
    let known: Vec<&str> = providers.names_with_issuer().collect();
    if let Some(shared) = settings.auth.shared_callback.as_deref().filter(|name| !known.contains(name)) {
        let known = if known.is_empty() { "there is none".to_owned() } else { format!("only {}", known.join(", ")) };
        let reason = format!("there is no such provider {shared:?} of OpenID Connect, {known}");
        wrong.push(SettingsError::of_key(SETTINGS, "auth.shared_callback", reason));
    }
    wrong.or(providers)
}

/// What sends e-mails, if anything does.
fn mail(
    settings: &Settings,
    secrets: &Secrets,
    outbound: Outbound,
) -> Result<Option<Arc<AnyTransport>>, SettingsErrors> {
    let wrong = |key: &str, reason: String| SettingsError::of_key(SETTINGS, key, reason);
    Ok(match settings.mail.plan(SETTINGS)? {
        None => None,
        Some(Plan::Smtp(plan)) => {
            let password = plan.login.as_ref().map(|login| secrets.get(&login.password_secret)).transpose();
            let password = password.map_err(|reason| wrong("mail.smtp_password_secret", reason))?;
            let password = password.map(|secret| Zeroizing::new(secret.expose().to_owned()));
            let smtp = Smtp::new(&plan, password).map_err(|error| wrong("mail.smtp", error.to_string()))?;
            Some(Arc::new(AnyTransport::Smtp(Box::new(smtp))))
        }
        Some(Plan::Webhook { url, secret }) => {
            outbound.check(&url).map_err(|error| wrong("mail.webhook", error.to_string()))?;
            let secret = secrets.get(&secret).map_err(|reason| wrong("mail.webhook_secret", reason))?;
            let webhook = Webhook::new(&url, secret.expose(), outbound);
            let webhook = webhook.map_err(|error| wrong("mail.webhook_secret", error.to_string()))?;
            Some(Arc::new(AnyTransport::Webhook(Box::new(webhook))))
        }
    })
}

/// A server whose listeners are bound.
pub struct Application {
    server: Arc<Server>,
    public: actix_web::dev::Server,
    address: SocketAddr,
    admin: AdminListener,
}

/// Binds the admin listener, on which `/readyz` says that the store is being read. With a clock for tests it also moves that.
///
/// # Errors
/// The address cannot be bound.
pub fn start_admin(settings: &Settings, test_clock: Option<Arc<TestClock>>) -> Result<AdminListener, StartError> {
    let address = settings.admin_listen;
    AdminListener::start(settings, test_clock).map_err(|error| StartError::Listen {
        listener: Listener::Admin,
        address,
        error,
    })
}

impl Application {
    /// Reads keys and store, and binds the public listener.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn build(
        settings: Settings,
        providers: Configured,
        ports: Ports,
        admin: AdminListener,
    ) -> Result<Self, StartError> {
        let is_claimed = check_folder(&settings, &*ports.files)?;
        let options = store_options(&settings);
        let max_users = options.max_users;
        let (dir, files, clock) = (settings.data_dir.clone(), Arc::clone(&ports.files), Arc::clone(&ports.clock));
        let opening = web::block(move || EmbeddedStore::open(&dir, options, files, clock)).await;
        let store = Arc::new(opening.map_err(std::io::Error::other)??);
        let opened = store.opened();
        tracing::info!(
            users = opened.users,
            groups = opened.groups,
            torn_bytes = opened.torn_bytes,
            "the store is open"
        );
        notes_of_data(&settings, opened).iter().for_each(Note::log);
        if !is_claimed {
            must_have_no_users(&settings, opened.users)?;
            claim_folder(&settings, &*ports.files)?;
        }

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
        let for_actors = Arc::clone(&store) as Arc<dyn Store>;
        let core = Core::new(Arc::clone(&for_actors), policy(&settings), limits, Arc::clone(&ports.entropy), None);
        let janitor = JanitorHandle::start(Arc::clone(&core)).await?;
        let linker = Arc::new(LinkerHandle::new(Arc::clone(&core)));
        let mailer = providers.mail.clone().map(|transport| {
            let (mailer, deliveries) = Mailer::new(transport, Arc::clone(&ports.clock), Arc::clone(&ports.entropy));
            actix_web::rt::spawn(deliveries.run());
            mailer
        });
        let parts = Parts {
            mailer: mailer.clone(),
            linker: Arc::clone(&linker),
            store: for_actors,
            entropy: Arc::clone(&ports.entropy),
            cost: if settings.test { Cost::FOR_TESTS } else { Cost::default() },
        };
        let providers = Providers::build(&providers, &parts)?;
        let entropy = ports.entropy;
        let share = |most: usize| {
            Share::new(u64::try_from(most).unwrap_or(u64::MAX), settings.budget.share, settings.expiry.window_s)
        };
        let budgets = Budgets::new(&settings.budget, settings.limits, Arc::clone(&ports.clock))
            .sharing(share(max_users), share(core.policy().documents_bytes));
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
            providers,
            tokens,
            keys: key_watch,
            core,
            store,
            entropy,
            janitor,
            linker,
            mailer,
            codes: OneTimeCodes::default(),
            left: Left::default(),
            budgets,
            data_work,
            challenges,
            stopping: watch::Sender::new(false),
            sockets,
            connections,
            responses: Default::default(),
            shed: Histogram::default(),
        });

        let listen = server.settings.listen;
        let (public, address) = listener::bind(&server).map_err(|error| StartError::Listen {
            listener: Listener::Public,
            address: listen,
            error,
        })?;
        admin.enter(Phase::Serving(Arc::clone(&server)));
        Ok(Self { server, public, address, admin })
    }

    /// The public listener's address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The admin listener's address.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address()
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
        self.server.store.stop();
        self.admin.stop().await;
        tracing::info!("stopped");
        ended.map_err(std::io::Error::other)?
    }
}

/// The file of a data folder that names its app.
const APP_ID: &str = "APP_ID";
/// The file of a data folder that `serve --test` began.
const TEST_ONLY: &str = "TEST_ONLY";

/// Whether the data folder is one that these settings may use, and whether it is claimed already. Tokens name their app id, so
/// under a different one every user of the folder would be refused.
///
/// # Errors
/// It is a different app's, or it is for tests and the settings are not, or the other way round.
pub fn check_folder(settings: &Settings, files: &dyn Files) -> Result<bool, StartError> {
    let folder = &settings.data_dir;
    let read = |name: &str| match files.read(&folder.join(name)) {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    };
    let (app_id, for_tests) = (read(APP_ID)?, read(TEST_ONLY)?.is_some());
    let is_begun = app_id.is_some() || read("CURRENT")?.is_some();
    match (settings.test, for_tests) {
        (true, false) if is_begun => return Err(StartError::NotForTests(folder.clone())),
        (false, true) => return Err(StartError::ForTestsAlone(folder.clone())),
        _ => {}
    }
    let Some(found) = app_id else { return Ok(false) };
    let found = String::from_utf8_lossy(&found).trim().to_owned();
    let no_app = |what| Err(StartError::NoApp { folder: folder.clone(), what });
    if found.is_empty() {
        return no_app("is empty");
    }
    if !config::valid_app_id(&found) {
        return no_app("holds no app id");
    }
    if found == settings.app_id {
        return Ok(true);
    }
    Err(StartError::OtherApp { folder: folder.clone(), found, wanted: settings.app_id.clone() })
}

/// A folder without `APP_ID` is one whose first start was cut short, which has no users yet.
///
/// # Errors
/// It has users, and under another app id all of them would be refused.
pub fn must_have_no_users(settings: &Settings, users: usize) -> Result<(), StartError> {
    match users {
        0 => Ok(()),
        _ => Err(StartError::NoApp { folder: settings.data_dir.clone(), what: "is missing" }),
    }
}

/// Neither the file nor, at the first start, its folder exists.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// The first start writes down whose the folder is.
fn claim_folder(settings: &Settings, files: &dyn Files) -> Result<(), StartError> {
    let folder = &settings.data_dir;
    let write = |path: &Path, text: &str| {
        let new = path.with_extension("new");
        files.write(&new, text.as_bytes())?;
        files.sync_file(&new)?;
        files.rename(&new, path)
    };
    if settings.test {
        write(&folder.join(TEST_ONLY), "")?;
    }
    write(&folder.join(APP_ID), &format!("{}\n", settings.app_id))?;
    Ok(files.sync_dir(folder)?)
}

/// What an operator should know, although nothing of it is in the way of a start.
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// A sentence.
    pub text: String,
}

impl Note {
    /// With the level of a warning.
    pub fn warning(text: impl Into<String>) -> Self {
        Self { level: Level::WARN, text: text.into() }
    }

    /// Writes it into the log.
    pub fn log(&self) {
        let text = &self.text;
        match self.level {
            Level::ERROR => tracing::error!(target: OPERATOR, "{text}"),
            Level::WARN => tracing::warn!(target: OPERATOR, "{text}"),
            _ => tracing::info!(target: OPERATOR, "{text}"),
        }
    }
}

/// What is to be said of a data folder that can be opened.
pub fn notes_of_data(settings: &Settings, opened: &Opened) -> Vec<Note> {
    let mut notes = Vec::new();
    if opened.spoilt_end {
        notes.push(Note::warning(format!(
            "the journal's last group ({} bytes) is whole and its checksum is wrong, so it is left out: {SPOILT_END}",
            opened.torn_bytes
        )));
    }
    if let Some(loss) = &opened.loss {
        let text = format!("acknowledged changes were lost, as os durability allows: {loss}");
        notes.push(Note { level: Level::ERROR, text });
    }
    // an existing one keeps its mode: an operator may have a reason for it
    let dir = &settings.data_dir;
    match files::open_to_others(dir) {
        Ok(found) => notes.extend(found.first().map(|first| {
            Note::warning(format!(
                "others than the owner may read or write what is in the data folder ({} files and folders, such as {}); \
                 `chmod -R go= {}` ends that",
                found.len(),
                first.display(),
                dir.display()
            ))
        })),
        Err(error) => tracing::debug!(%error, "the modes in the data folder could not be looked at"),
    }
    notes
}
