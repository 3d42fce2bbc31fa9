//! What the commands do, and with which code they end: 0 well, 64 usage and configuration, 65 unreadable data, 1 anything else.

use std::ffi::OsString;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use passerby_actors::store::embedded::{self, OpenError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::check::check;
use super::{Cli, Command, EXIT_USAGE, KeyFile, KeyUse, KeysCommand, SettingsArgs};
use crate::config::secrets::read_private;
use crate::config::{self, Demo, Loaded, PASSPHRASE_ENV, SETTINGS, Settings, SettingsError, SettingsErrors};
use crate::http::reader::is_plain;
use crate::provider::Providers;
use crate::provider::app_folder::{self, AppFolder};
use crate::startup::{self, Application, Listener, Note, Ports, StartError};
use crate::telemetry::{self, Logging, OPERATOR};
use crate::test_clock::TestClock;
use crate::token::KeyWatch;
use crate::token::{KeyError, KeyId, KeyState, KeyStore};

/// Data that must be readable is not (sysexits: EX_DATAERR).
pub(super) const EXIT_DATA: u8 = 65;

/// What `passerby demo` runs with.
const DEMO_SETTINGS: &str = include_str!("demo.toml");

/// Characters that a passphrase for keys has at least, unless `--weak` is said.
const PASSPHRASE_LENGTH: usize = 12;

/// Why a command failed: its exit code, and a line for each fault.
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn other(error: impl ToString) -> Self {
        Self { code: 1, text: error.to_string() }
    }

    pub(super) fn usage(error: impl ToString) -> Self {
        Self { code: EXIT_USAGE, text: error.to_string() }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let code = if matches!(error, OpenError::Damaged { .. }) { EXIT_DATA } else { 1 };
        Self { code, text: error.to_string() }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(error) => error.into(),
            StartError::OtherApp { .. }
            | StartError::NoApp { .. }
            | StartError::NotForTests(_)
            | StartError::ForTestsAlone(_) => Self::usage(error),
            other => Self::other(other),
        }
    }
}

/// The life of the process: arguments, settings, command, exit code.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    // names, addresses and keys are in what is created, by the snapshots' library too
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let environment: Vec<_> = environment.into_iter().collect();
    let cli = match super::parse(arguments) {
        Ok(cli) => cli,
        Err(exit) => {
            if exit.code == 0 {
                print(&exit.text);
            } else {
                complain(&exit.text);
            }
            return ExitCode::from(exit.code);
        }
    };
    match run(&cli, &environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.text.lines().for_each(|line| complain(&format!("passerby: {line}\n")));
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: &Cli, environment: &[(OsString, OsString)]) -> Result<(), Failure> {
    let mut settings = cli.settings.clone();
    let _demo_folder = match cli.action() {
        Command::Config { explain: true } => {
            print(&config::explain());
            return Ok(());
        }
        Command::Completions { shell } => {
            print_bytes(&super::completions(*shell));
            return Ok(());
        }
        Command::Man { dir } => return manual(dir.as_deref()),
        Command::Demo { .. } => {
            let (demo_settings, folder) = demo_settings(settings)?;
            settings = demo_settings;
            Some(folder)
        }
        _ => None,
    };
    let variables = config::environment(environment.iter().cloned()).map_err(Failure::usage)?;
    let prepare = |parts| prepare(&settings, &variables, parts).map_err(Failure::usage);
    match cli.action() {
        Command::Serve { test } => {
            let whole = whole(prepare(Parts::All)?, |settings| settings.test = *test);
            serve(whole, || self::prepare(&settings, &variables, Parts::All))
        }
        Command::Demo { trial } => {
            let mut prepared = prepare(Parts::All)?;
            if prepared.settings.listen.ip().is_loopback() {
                // its own ports are free ones if others have the usual ones; given ones are taken at their word
                if prepared.loaded.origin("listen").is_none() && Listener::Public.probe(&prepared.settings).is_err() {
                    prepared.settings.listen.set_port(0);
                }
                let demo = if *trial { Demo::Trial } else { Demo::News };
                let whole = whole(prepared, |settings| settings.demo = Some(demo));
                serve(whole, || self::prepare(&settings, &variables, Parts::All))
            } else {
                Err(Failure::usage("the demo is for this machine alone: listen on a loopback address"))
            }
        }
        Command::Check => check(&prepare(Parts::All)?),
        Command::Config { .. } => {
            print(&prepare(Parts::Folder)?.loaded.effective());
            Ok(())
        }
        Command::Recover { accept_loss } => recover(&prepare(Parts::Settings)?.settings, *accept_loss),
        Command::Keys { command } => keys(&prepare(Parts::Settings)?.settings, command, environment),
        Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}

/// How much of the configuration a command needs: the others do without the app folder, or without the secrets of providers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    Settings,
    Folder,
    All,
}

/// A configuration, as far as it is needed.
pub(super) struct Prepared {
    pub(super) loaded: Loaded,
    /// Those of `loaded`, and what the command line adds.
    pub(super) settings: Settings,
    pub(super) folder: AppFolder,
    pub(super) providers: Providers,
}

fn whole(mut prepared: Prepared, change: impl FnOnce(&mut Settings)) -> Prepared {
    change(&mut prepared.settings);
    prepared
}

/// Reads the configuration. What is wrong with any part of it is said at once.
fn prepare(settings: &SettingsArgs, variables: &[(String, String)], parts: Parts) -> Result<Prepared, SettingsErrors> {
    let mut wrong = SettingsErrors::default();
    let Some(mut loaded) = settings.read(variables, &mut wrong) else { return Err(wrong) };
    let mut folder = AppFolder::default();
    if parts != Parts::Settings
        && let Some(dir) = loaded.settings().app_dir.clone()
    {
        if let Some(reason) = app_folder::why_none(&dir) {
            let error = SettingsError::of_key(SETTINGS, "app_dir", format!("{} {reason}", dir.display()));
            wrong.extend(loaded.locate(error.into()));
        } else if let Some(read) = app_folder::read(&dir, &mut wrong) {
            let (origin, origins) = (dir.display().to_string(), &read.allowed_request_origins);
            let Some(adopted) = loaded.adopt(&origin, read.app_id(), origins, &mut wrong) else {
                return Err(wrong);
            };
            (loaded, folder) = (adopted, read);
        }
    }
    let mut providers = Providers::default();
    // where these are wrong, what would be said of providers would not be their fault
    let rests_on = ["secrets_file", "outbound", "public_url", "mail"];
    if parts == Parts::All
        && !wrong.concern(&rests_on)
        && let Some(built) = wrong.take(startup::providers(&loaded, &folder, variables))
    {
        providers = built;
    }
    let settings = loaded.settings().clone();
    wrong.or(Prepared { loaded, settings, folder, providers })
}

/// The demo's settings with the flags over them, and the folder in which they and its data are, which ends with the demo.
fn demo_settings(settings: SettingsArgs) -> Result<(SettingsArgs, tempfile::TempDir), Failure> {
    let folder = tempfile::Builder::new().prefix("passerby-demo-").tempdir().map_err(Failure::other)?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path(config::DEFAULT_FILE), DEMO_SETTINGS).map_err(Failure::other)?;
    // as flags they take precedence over the environment of a server that runs beside it
    let settings = settings
        .with("config", path(config::DEFAULT_FILE))
        .with("data_dir", path("data"))
        .with("keys_dir", path("data/keys"));
    Ok((settings, folder))
}

fn manual(dir: Option<&Path>) -> Result<(), Failure> {
    let Some(dir) = dir else {
        print_bytes(&super::manual().map_err(Failure::other)?);
        return Ok(());
    };
    let failed = |error: std::io::Error| Failure::other(format!("{}: {error}", dir.display()));
    // others are to read them
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(super::command(), dir).map_err(failed)
}

/// What is printed is a command's answer; a closed pipe does not matter.
pub(super) fn print(text: &str) {
    print_bytes(text.as_bytes());
}

fn print_bytes(text: &[u8]) {
    drop(stdout().write_all(text).and_then(|()| stdout().flush()));
}

fn complain(text: &str) {
    drop(std::io::stderr().write_all(text.as_bytes()));
}

fn serve(prepared: Prepared, again: impl Fn() -> Result<Prepared, SettingsErrors>) -> Result<(), Failure> {
    let Prepared { loaded, settings, folder, providers } = prepared;
    if settings.test && !(settings.listen.ip().is_loopback() && settings.admin_listen.ip().is_loopback()) {
        return Err(Failure::usage("--test is for this machine alone: let both listeners have loopback addresses"));
    }
    let logging = telemetry::install(&settings.log).map_err(Failure::usage)?;
    raise_open_files();
    if settings.test {
        complain(&format!("passerby: --test: {FOR_TESTS}\n"));
    }
    folder.unserved.iter().for_each(|line| Note::warning(format!("not served: {line}")).log());
    notes(&settings, &providers).iter().for_each(Note::log);
    // before the data is read, which may take long
    let busy = [Listener::Public, Listener::Admin].map(|listener| listener.probe(&settings).err());
    let busy: Vec<_> = busy.into_iter().flatten().map(|error| error.to_string()).collect();
    if !busy.is_empty() {
        return Err(Failure::other(busy.join("\n")));
    }
    let test_clock = settings.test.then(Arc::<TestClock>::default);
    let mut ports = Ports::system();
    if let Some(clock) = &test_clock {
        ports.clock = Arc::clone(clock) as _;
    }
    actix_web::rt::System::new().block_on(async {
        let mut signals = Signals::new().map_err(Failure::other)?;
        let admin = startup::start_admin(&settings, test_clock)?;
        print(&format!("admin on http://{}\n", admin.address()));
        let application = Application::build(settings, providers, ports, admin).await?;
        let running = Running { loaded, folder, keys: Arc::clone(&application.server().keys) };
        print(&format!("listening on http://{}\n", application.address()));
        let stop = signals.until_stop(|| reload(&running, &again, &logging));
        application.run_until(stop).await.map_err(Failure::other)
    })
}

const FOR_TESTS: &str = "this server is for tests: its passwords protect nothing, and whoever reaches the admin listener moves its \
                         clock (POST /test/clock)";

/// What an operator should know of a configuration that is not wrong.
pub(super) fn notes(settings: &Settings, providers: &Providers) -> Vec<Note> {
    let info = |text: &str| Note { level: tracing::Level::INFO, text: text.to_owned() };
    let mut notes = Vec::new();
    if settings.test {
        notes.push(Note::warning(format!("--test: {FOR_TESTS}")));
    }
    if providers.nobody_can_come() {
        notes.push(Note::warning(
            "no provider is enabled, so no user can log in or be created: enable anon-user in the app folder's \
             auth/providers.json, or another provider (passerby config --explain, provider.*)",
        ));
    } else if !providers.anon_user_enabled {
        notes.push(info("anon-user is off: /verify?create=auto creates no user, as create=never"));
    }
    if settings.public_url.is_none() && !settings.listen.ip().is_loopback() {
        notes.push(Note::warning("without public_url, clients are told the Host that they asked for, over plain HTTP"));
    }
    match settings.public_url.as_deref() {
        Some(url) if is_plain(url) => {
            notes.push(info("readers' cookies are for plain HTTP on this machine: without Secure and __Host-"));
        }
        Some(url) if url.starts_with("http://") => {
            notes.push(Note::warning("public_url is not https, and browsers keep no readers' cookies without it"));
        }
        _ => {}
    }
    notes
}

/// The signals that a server answers to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hang_up: Signal,
    user: [Signal; 2],
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
            user: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?],
        })
    }

    /// Resolves when the server is to stop. What would otherwise kill it without a word is answered meanwhile.
    async fn until_stop(&mut self, reload: impl Fn()) {
        let Self { terminate, interrupt, quit, hang_up, user: [one, two] } = self;
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                _ = quit.recv() => return,
                _ = hang_up.recv() => reload(),
                _ = one.recv() => tracing::warn!("SIGUSR1 means nothing to this server"),
                _ = two.recv() => tracing::warn!("SIGUSR2 means nothing to this server"),
            }
        }
    }
}

/// What a running server goes by.
struct Running {
    loaded: Loaded,
    folder: AppFolder,
    keys: Arc<KeyWatch>,
}

impl Running {
    /// By name, what the next start would take otherwise.
    fn differences(&self, read: &Prepared) -> Vec<&'static str> {
        let of_folder = (self.folder != read.folder).then_some("app folder");
        let of_keys = self.keys.has_changed().then_some("signing keys");
        self.loaded.differences(&read.loaded).into_iter().chain(of_folder).chain(of_keys).collect()
    }
}

/// SIGHUP: reads the configuration again, and takes of it what can be taken while the server runs.
fn reload(running: &Running, again: impl Fn() -> Result<Prepared, SettingsErrors>, logging: &Logging) {
    const RELOADED: &str = "log.filter";
    let read = match again() {
        Ok(read) => read,
        Err(wrong) => {
            wrong.iter().for_each(|error| tracing::error!(target: OPERATOR, "SIGHUP: {error}"));
            tracing::error!(target: OPERATOR, "SIGHUP: the configuration is wrong, so nothing of it was taken");
            return;
        }
    };
    let filter = &read.settings.log.filter;
    if let Err(error) = logging.refilter(filter) {
        tracing::error!(target: OPERATOR, error, "SIGHUP: log.filter could not be taken");
    }
    let others: Vec<_> = running.differences(&read).into_iter().filter(|key| *key != RELOADED).collect();
    if others.is_empty() {
        tracing::warn!(target: OPERATOR, filter, "SIGHUP: log.filter was taken; keys and everything else are as they were");
    } else {
        let keys = others.join(", ");
        tracing::warn!(target: OPERATOR, filter, keys, "SIGHUP: log.filter was taken; what else has changed needs a restart");
    }
}

/// Every connection is an open file, and the usual soft limit of 1024 is far below `http.max_connections`.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, soft_limit = limit.current, "the limit on open files could not be raised");
    }
}

fn recover(settings: &Settings, accept_loss: bool) -> Result<(), Failure> {
    let (options, ports) = (startup::store_options(settings), Ports::system());
    if !settings.data_dir.is_dir() {
        return Err(Failure::usage(format!("{}: there is no such folder", settings.data_dir.display())));
    }
    let inspection = if accept_loss {
        let (inspection, kept) = embedded::salvage(&settings.data_dir, &options, &*ports.files, &*ports.clock)?;
        print(&format!("what could be read is a new generation; the old files are in {}\n", kept.display()));
        inspection
    } else {
        embedded::inspect(&settings.data_dir, &options, &*ports.files)?
    };
    for finding in &inspection.findings {
        print(&format!("{finding}\n"));
    }
    print(&format!("{} users can be read\n", inspection.users));
    let advice = match (inspection.intact, accept_loss) {
        (true, false) if inspection.spoilt_end => {
            "everything else that must be readable is, and the next start leaves the last group out\n"
        }
        (true, false) => "everything that must be readable is; there is nothing to recover\n",
        (false, false) => {
            "`passerby recover --accept-loss` gives up the rest and keeps the old files; \
             whoever ended in what is given up is back\n"
        }
        (_, true) => "",
    };
    print(advice);
    if inspection.intact || accept_loss {
        return Ok(());
    }
    let text = format!("{}: what must be readable is not", settings.data_dir.display());
    Err(Failure { code: EXIT_DATA, text })
}

fn keys(settings: &Settings, command: &KeysCommand, environment: &[(OsString, OsString)]) -> Result<(), Failure> {
    let ports = Ports::system();
    let now_s = ports.clock.wall_ms() / 1000;
    let folder = settings.keys_dir.display();
    let mut store = KeyStore::load(&settings.keys_dir).map_err(Failure::other)?;
    if store.list().is_empty() && !matches!(command, KeysCommand::Import(_)) {
        let what = if settings.keys_dir.is_dir() { "there are no keys in it" } else { "there is no such folder" };
        return Err(Failure::usage(format!("{folder}: {what}; the first start creates the keys")));
    }
    match command {
        KeysCommand::List => {
            for key in store.list() {
                let (id, purpose, algorithm) = (key.id, key.purpose.name(), key.algorithm.name());
                let state = key.state.name();
                let created = readable(key.created_s);
                print(&format!("{id}  {purpose:<8} {algorithm:<6} {state:<10} created {created}\n"));
            }
        }
        KeysCommand::Rotate { usage } => {
            let usage = match usage {
                KeyUse::Access => crate::token::KeyUse::Access,
                KeyUse::Refresh => crate::token::KeyUse::Refresh,
                KeyUse::Cookie => crate::token::KeyUse::Cookie,
            };
            let key = store.rotate(usage, &*ports.entropy, now_s).map_err(Failure::other)?;
            print(&format!("{} signs from the next start on; the one before verifies until it is retired\n", key.id));
        }
        KeysCommand::Retire { id, yes } => {
            let id = KeyId::parse(id).ok_or_else(|| Failure::usage(format!("{id}: not a key id")))?;
            retire(settings, &mut store, id, *yes)?;
        }
        KeysCommand::Export { file: KeyFile { file, passphrase_file }, weak } => {
            let passphrase = passphrase(passphrase_file.as_deref(), environment)?;
            let length = passphrase.trim().chars().count();
            if length < PASSPHRASE_LENGTH && !weak {
                return Err(Failure::usage(format!(
                    "the passphrase has {length} characters, and anyone who gets the file can try them all: take at least \
                     {PASSPHRASE_LENGTH}, or say --weak"
                )));
            }
            // an export of nothing would be found out when the keys are needed
            store.ring().map_err(Failure::other)?;
            let bytes = store.export(&passphrase, &*ports.entropy).map_err(Failure::other)?;
            write_private(file, &bytes).map_err(|error| Failure::other(format!("{}: {error}", file.display())))?;
            print(&format!("{} keys are in {}\n", store.list().len(), file.display()));
        }
        KeysCommand::Import(KeyFile { file, passphrase_file }) => {
            let passphrase = passphrase(passphrase_file.as_deref(), environment)?;
            let bytes = std::fs::read(file).map_err(|error| Failure::other(format!("{}: {error}", file.display())))?;
            let new = store.import(&bytes, &passphrase).map_err(Failure::other)?;
            print(&format!("{new} new keys; they are in force from the next start on\n"));
        }
    }
    Ok(())
}

/// Says what rests on a key before it goes. Which session a refresh token was signed under is not recorded, so every
/// session that may have been is counted.
fn retire(settings: &Settings, store: &mut KeyStore, id: KeyId, yes: bool) -> Result<(), Failure> {
    let key = store.list().into_iter().find(|key| key.id == id);
    let key = key.ok_or_else(|| Failure::usage(format!("{id}: there is no such key")))?;
    if key.state == KeyState::Signing {
        return Err(Failure::other(KeyError::StillSigns(id)));
    }
    if !yes {
        let loss = match key.purpose {
            crate::token::KeyUse::Access => {
                "no session ends; access tokens under it are refreshed by their clients".to_owned()
            }
            crate::token::KeyUse::Refresh | crate::token::KeyUse::Cookie => {
                let options = startup::store_options(settings);
                let inspect = || embedded::inspect(&settings.data_dir, &options, &*Ports::system().files);
                let users = match settings.data_dir.is_dir().then(inspect).transpose() {
                    Ok(found) => format!("up to {}", found.map_or(0, |found| found.users)),
                    Err(OpenError::InUse(_)) => {
                        "any number of (a running server has the data, so they are not counted)".to_owned()
                    }
                    Err(error) => return Err(error.into()),
                };
                format!(
                    "the sessions of {users} users end, of whom the anonymous ones cannot come back: \
                     all whose {} was made under it",
                    if key.purpose == crate::token::KeyUse::Cookie { "cookie" } else { "refresh token" }
                )
            }
        };
        print(&format!("{id}: {loss}\nnothing was done; say --yes to retire it\n"));
        return Ok(());
    }
    if key.purpose != crate::token::KeyUse::Access && settings.data_dir.is_dir() {
        let options = startup::store_options(settings);
        if let Err(OpenError::InUse(_)) = embedded::inspect(&settings.data_dir, &options, &*Ports::system().files) {
            let why = "a running server may still sign with it, and those sessions would end too: stop it first";
            return Err(Failure::other(format!("{id}: {why}")));
        }
    }
    store.retire(id).map_err(Failure::other)?;
    print(&format!("{id} is retired from the next start on\n"));
    Ok(())
}

/// A time as people read it: RFC 3339, in UTC.
fn readable(unix_s: u64) -> String {
    let time = i64::try_from(unix_s).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("at Unix time {unix_s}"), |time| time.to_string())
}

fn passphrase(file: Option<&Path>, environment: &[(OsString, OsString)]) -> Result<String, Failure> {
    if let Some(file) = file {
        let text = read_private(file);
        let text = text.map_err(|reason| Failure::usage(format!("{}: {reason}", file.display())))?;
        return Ok(text.lines().next().unwrap_or_default().to_owned());
    }
    let found = environment.iter().find(|(name, _)| name == PASSPHRASE_ENV).and_then(|(_, value)| value.to_str());
    let missing = || Failure::usage(format!("a passphrase is needed, in {PASSPHRASE_ENV} or --passphrase-file"));
    found.map(str::to_owned).ok_or_else(missing)
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
