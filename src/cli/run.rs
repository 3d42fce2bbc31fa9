//! What the commands do, and with which code they end: 0 well, 64 usage and configuration, 65 unreadable data, 1 anything else.

use std::ffi::OsString;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use passerby_actors::store::embedded::{self, OpenError};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::{Cli, Command, EXIT_USAGE, KeyFile, KeyUse, KeysCommand, SettingsArgs};
use crate::config::{self, Demo, Loaded, PASSPHRASE_ENV, Settings};
use crate::http::reader::is_plain;
use crate::provider::app_folder::{self, AppFolder};
use crate::provider::{ANON_USER, Providers};
use crate::startup::{self, Application, Ports, StartError};
use crate::telemetry;
use crate::token::{KeyId, KeyStore};

/// Data that must be readable is not (sysexits: EX_DATAERR).
const EXIT_DATA: u8 = 65;

/// What `passerby demo` runs with.
const DEMO_SETTINGS: &str = include_str!("demo.toml");

/// Why a command failed: its exit code and one sentence.
struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    fn other(error: impl ToString) -> Self {
        Self { code: 1, text: error.to_string() }
    }

    fn usage(error: impl ToString) -> Self {
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
            StartError::OtherApp { .. } => Self::usage(error),
            other => Self::other(other),
        }
    }
}

/// The life of the process: arguments, settings, command, exit code.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
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
            complain(&format!("passerby: {}\n", failure.text));
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: &Cli, environment: &[(OsString, OsString)]) -> Result<(), Failure> {
    if *cli.action() == (Command::Config { explain: true }) {
        print(&config::explain());
        return Ok(());
    }
    let demo = matches!(cli.action(), Command::Demo { .. }).then(|| DemoFolder::make(cli)).transpose()?;
    let (loaded, folder) = load(demo.as_ref().map_or(&cli.settings, |demo| &demo.settings), environment)?;
    let settings = loaded.settings();
    // the other commands do without the secrets that these need
    let providers = || {
        let environment = config::environment(environment.iter().cloned());
        environment.and_then(|environment| startup::providers(&loaded, &folder, &environment)).map_err(Failure::usage)
    };
    match cli.action() {
        Command::Serve => serve(settings.clone(), providers()?),
        Command::Recover { accept_loss } => recover(settings, *accept_loss),
        Command::Keys { command } => keys(settings, command, environment),
        Command::Config { .. } => {
            print(&loaded.effective());
            Ok(())
        }
        Command::Check => check(settings, &providers()?),
        Command::Demo { .. } if !settings.listen.ip().is_loopback() => {
            Err(Failure::usage("the demo is for this machine alone: listen on a loopback address"))
        }
        Command::Demo { trial } => {
            let demo = Some(if *trial { Demo::Trial } else { Demo::News });
            serve(Settings { demo, ..settings.clone() }, providers()?)
        }
    }
}

/// A folder that ends with the demo.
struct DemoFolder {
    /// The flags, over the demo's own settings and data.
    settings: SettingsArgs,
    _folder: tempfile::TempDir,
}

impl DemoFolder {
    fn make(cli: &Cli) -> Result<Self, Failure> {
        let SettingsArgs { config, data_dir, keys_dir, .. } = &cli.settings;
        if config.is_some() || data_dir.is_some() || keys_dir.is_some() {
            let detail =
                "the demo brings settings, data and keys of its own: leave --config, --data-dir and --keys-dir out";
            return Err(Failure::usage(detail));
        }
        let folder = tempfile::Builder::new().prefix("passerby-demo-").tempdir().map_err(Failure::other)?;
        let config = folder.path().join(config::DEFAULT_FILE);
        std::fs::write(&config, DEMO_SETTINGS).map_err(Failure::other)?;
        let data_dir = Some(folder.path().join("data").display().to_string());
        let settings = SettingsArgs { config: Some(config), data_dir, ..cli.settings.clone() };
        Ok(Self { settings, _folder: folder })
    }
}

fn load(settings: &SettingsArgs, environment: &[(OsString, OsString)]) -> Result<(Loaded, AppFolder), Failure> {
    let loaded = settings.load(environment.iter().cloned()).map_err(Failure::usage)?;
    let Some(dir) = loaded.settings().app_dir.clone() else { return Ok((loaded, AppFolder::default())) };
    let folder = app_folder::read(&dir).map_err(Failure::usage)?;
    let origin = dir.display().to_string();
    let adopted = loaded.adopt(&origin, folder.app_id.as_deref(), &folder.allowed_request_origins);
    Ok((adopted.map_err(Failure::usage)?, folder))
}

/// What is printed is a command's answer; a reader who went away does not matter.
fn print(text: &str) {
    drop(stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()));
}

fn complain(text: &str) {
    drop(std::io::stderr().write_all(text.as_bytes()));
}

fn serve(settings: Settings, providers: Providers) -> Result<(), Failure> {
    let _last_lines = telemetry::install(&settings.log).map_err(Failure::usage)?;
    raise_open_files();
    actix_web::rt::System::new().block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::other)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::other)?;
        if settings.public_url.is_none() && !settings.listen.ip().is_loopback() {
            tracing::warn!("without public_url, clients are told the Host that they asked for, over plain HTTP");
        }
        match settings.public_url.as_deref() {
            Some(url) if is_plain(url) => {
                tracing::info!("readers' cookies are for plain HTTP on this machine: without Secure and __Host-");
            }
            Some(url) if url.starts_with("http://") => {
                tracing::warn!("public_url is not https, and browsers keep no readers' cookies without it");
            }
            _ => {}
        }
        let admin = startup::start_admin(&settings)?;
        print(&format!("admin on http://{}\n", admin.2));
        let application = Application::build(settings, providers, Ports::system(), admin).await?;
        print(&format!("listening on http://{}\n", application.address()));
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        application.run_until(stop).await.map_err(Failure::other)
    })
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
        (true, false) => "everything that must be readable is; there is nothing to recover\n",
        (false, false) => {
            "`passerby recover --accept-loss` gives up the rest and keeps the old files; \
             whoever ended in what is given up is back\n"
        }
        (_, true) => "",
    };
    print(advice);
    Ok(())
}

fn check(settings: &Settings, providers: &Providers) -> Result<(), Failure> {
    print("settings and app folder: good\n");
    let anonymous = providers.anon_user_enabled.then_some(ANON_USER);
    let enabled: Vec<_> = anonymous.into_iter().chain(providers.names()).collect();
    print(&format!(
        "providers: {}\n",
        if enabled.is_empty() { "none is enabled".to_owned() } else { enabled.join(", ") }
    ));
    let keys = KeyStore::load(&settings.keys_dir).map_err(Failure::other)?;
    print(&format!("keys: {} in {}\n", keys.list().len(), settings.keys_dir.display()));
    if !settings.data_dir.is_dir() {
        print("data: none yet; the first start makes it\n");
        return Ok(());
    }
    let options = startup::store_options(settings);
    let found = match embedded::inspect(&settings.data_dir, &options, &*Ports::system().files) {
        // settings are checked beside a running server before it is started anew with them
        Err(OpenError::InUse(_)) => {
            keys.ring().map_err(Failure::other)?;
            print("data: in use by a running server, so not looked at\n");
            return Ok(());
        }
        found => found?,
    };
    if found.users > 0 {
        // what `serve` would refuse
        keys.ring().map_err(Failure::other)?;
    }
    if found.intact || (found.users == 0 && !settings.data_dir.join("CURRENT").exists()) {
        print(&format!("data: good, {} users\n", found.users));
        return Ok(());
    }
    let why = found.findings.join("; ");
    Err(Failure { code: EXIT_DATA, text: format!("{}: {why}; see `passerby recover`", settings.data_dir.display()) })
}

fn keys(settings: &Settings, command: &KeysCommand, environment: &[(OsString, OsString)]) -> Result<(), Failure> {
    let ports = Ports::system();
    let now_s = ports.clock.wall_ms() / 1000;
    let mut store = KeyStore::load(&settings.keys_dir).map_err(Failure::other)?;
    match command {
        KeysCommand::List => {
            for key in store.list() {
                let (id, purpose, algorithm) = (key.id, key.purpose.name(), key.algorithm.name());
                let state = key.state.name();
                print(&format!("{id}  {purpose:<8} {algorithm:<6} {state:<10} made {}\n", key.created_s));
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
        KeysCommand::Export(KeyFile { file, passphrase_file }) => {
            let passphrase = passphrase(passphrase_file.as_deref(), environment)?;
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

fn passphrase(file: Option<&Path>, environment: &[(OsString, OsString)]) -> Result<String, Failure> {
    if let Some(file) = file {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| Failure::other(format!("{}: {error}", file.display())))?;
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
