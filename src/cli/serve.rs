//! `passerby serve`: runs until a signal ends it, and reads the configuration again at SIGHUP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use passerby_actors::handle::Handle;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::app_watch::{AppWatch, LOOK};
use super::outcome::{Failure, announce, complain};
use super::prepared::{FOR_TESTS, Prepared, notes, notes_of_providers};
use crate::config::{Loaded, Settings, SettingsErrors};
use crate::deployment::DeployError;
use crate::server::Server;
use crate::startup::{self, Application, Listener, Note, Ports};
use crate::telemetry::{self, Logging, OPERATOR};
use crate::test_clock::TestClock;
use crate::tls::{self, Tls};

pub(super) fn serve(prepared: Prepared, again: impl Fn() -> Result<Prepared, SettingsErrors>) -> Result<(), Failure> {
    let Prepared { loaded, settings, folder, providers } = prepared;
    let Some((recipe, _)) = providers else { return Err(Failure::other("the providers were not read")) };
    if settings.test && !(settings.listen.ip().is_loopback() && settings.admin_listen.ip().is_loopback()) {
        return Err(Failure::usage("--test is for this machine alone: let both listeners have loopback addresses"));
    }
    let wrong: Vec<_> = tls::faults(&settings).iter().map(ToString::to_string).collect();
    if !wrong.is_empty() {
        return Err(Failure::usage(wrong.join("\n")));
    }
    let logging = telemetry::install(&settings.log).map_err(Failure::usage)?;
    raise_open_files();
    if settings.test {
        complain(&format!("passerby: --test: {FOR_TESTS}\n"));
    }
    let unserved = folder.iter().flat_map(|folder| &folder.unserved);
    unserved.for_each(|line| Note::warning(format!("not served: {line}")).log());
    notes(&settings).iter().for_each(Note::log);
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
        announce(&format!("admin on {}://{}\n", settings.admin.tls.scheme(), admin.address()));
        let folder = folder.as_ref().map(|folder| &folder.content);
        let application = Application::build(settings, recipe, folder, ports, admin).await?;
        notes_of_providers(&application.server().app().enabled()).iter().for_each(Note::log);
        let running = Running {
            watch: loaded.settings().app_dir.clone().map(AppWatch::new),
            loaded,
            server: Arc::clone(application.server()),
            handle: application.handle().clone(),
            certificates: application.certificates(),
        };
        let (address, settings) = (application.address(), &application.server().settings);
        let scheme = settings.tls.scheme();
        announce(&format!("listening on {scheme}://{address}\n{}", invitation(settings, address)));
        let stop = signals
            .until_stop(async || reload(&running, &again, &logging).await, async || look(&running, &again).await);
        application.run_until(stop).await.map_err(Failure::other)
    })
}

/// Where people look at it, as a line; nothing where there is no page.
fn invitation(settings: &Settings, address: SocketAddr) -> String {
    if settings.demo.is_none() && !settings.http.index {
        return String::new();
    }
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let near = || format!("{}://{}", settings.tls.scheme(), SocketAddr::new(ip, address.port()));
    format!("open {}/ in a browser\n", settings.public_url.clone().unwrap_or_else(near))
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

    /// Resolves when the server is to stop; a reload that has not come to its end is left then. Every [`LOOK`] it looks at the app
    /// folder. What would otherwise kill it without a word is answered meanwhile.
    async fn until_stop(&mut self, reload: impl AsyncFn(), look: impl AsyncFn()) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let Self { terminate, interrupt, quit, hang_up, user: [one, two] } = self;
        let mut told = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = quit.recv() => {}
            }
        };
        loop {
            tokio::select! {
                () = told() => return,
                _ = hang_up.recv() => tokio::select! {
                    () = told() => return,
                    () = reload() => {}
                },
                _ = looks.tick() => tokio::select! {
                    () = told() => return,
                    () = look() => {}
                },
                _ = one.recv() => tracing::warn!("SIGUSR1 means nothing to this server"),
                _ = two.recv() => tracing::warn!("SIGUSR2 means nothing to this server"),
            }
        }
    }
}

/// What a running server goes by.
struct Running {
    loaded: Loaded,
    server: Arc<Server>,
    handle: Handle,
    certificates: Vec<Arc<Tls>>,
    /// The app folder, if there is one.
    watch: Option<AppWatch>,
}

impl Running {
    /// By name, what the next start would take otherwise.
    fn differences(&self, read: &Prepared) -> Vec<&'static str> {
        const ORIGINS: &str = "allowed_origins";
        let of_keys = self.server.keys.has_changed().then_some("signing keys");
        let is_deployed = [&self.loaded, &read.loaded].iter().all(|loaded| !loaded.is_fixed(ORIGINS));
        let of_settings = self.loaded.differences(&read.loaded).into_iter();
        of_settings.filter(|key| *key != ORIGINS || !is_deployed).chain(of_keys).collect()
    }

    /// Deploys the app folder if it has changed. Returns whether it did.
    async fn deploy(&self, read: &Prepared, by: &str) -> Result<bool, DeployError> {
        let Some(folder) = &read.folder else { return Ok(false) };
        let deployed = self.server.deployments.deploy_folder(&self.handle, &folder.content, by).await?;
        let app = deployed.as_ref();
        app.and_then(|app| notes_of_providers(&app.enabled())).iter().for_each(Note::log);
        Ok(deployed.is_some())
    }

    /// Says why the app folder is not deployed. `by` stands before each fault.
    fn say_refused(&self, by: &str, faults: &str) {
        let number = self.server.app().number;
        faults.lines().for_each(|fault| tracing::error!(target: OPERATOR, "{by}: {fault}"));
        tracing::error!(target: OPERATOR, "{by}: the app folder is not deployed, and deployment {number} stays in force");
    }
}

/// Deploys the app folder when it has changed, or was refused. What is wrong is said once.
async fn look(running: &Running, again: impl Fn() -> Result<Prepared, SettingsErrors>) {
    const BY: &str = "app folder";
    let Some(watch) = running.watch.as_ref().filter(|watch| watch.has_changed()) else { return };
    watch.take();
    let refused = match again() {
        Err(wrong) => wrong.to_string(),
        Ok(read) if running.differences(&read).iter().any(|key| is_other_app(key)) => {
            "it is of another app, or app_dir has changed, which needs a restart".to_owned()
        }
        Ok(read) => match running.deploy(&read, "serve").await {
            Ok(_) => return watch.accept(),
            Err(error) => error.to_string(),
        },
    };
    if watch.refuse(&refused) {
        running.say_refused(BY, &refused);
    }
}

/// Whether such a setting makes the app folder one of another app, or another folder.
fn is_other_app(key: &str) -> bool {
    matches!(key, "app_dir" | "app_id")
}

/// SIGHUP: reads the configuration again, and takes of it what can be taken while the server runs.
async fn reload(running: &Running, again: impl Fn() -> Result<Prepared, SettingsErrors>, logging: &Logging) {
    const RELOADED: &str = "log.filter";
    const FOLDER: &str = "app folder";
    running.certificates.iter().for_each(|tls| tls.reload());
    running.watch.iter().for_each(AppWatch::take);
    let read = match again() {
        Ok(read) => read,
        Err(wrong) => {
            if let Some(watch) = &running.watch {
                watch.refuse(&wrong.to_string());
            }
            wrong.iter().for_each(|error| tracing::error!(target: OPERATOR, "SIGHUP: {error}"));
            tracing::error!(target: OPERATOR, "SIGHUP: the configuration is wrong, so nothing of it was taken");
            return;
        }
    };
    let filter = &read.settings.log.filter;
    match logging.refilter(filter) {
        Ok(()) => {
            let shown = read.loaded.shown().into_iter().find(|shown| shown.name == RELOADED);
            shown.into_iter().for_each(|shown| running.server.note_setting(shown));
        }
        Err(error) => tracing::error!(target: OPERATOR, error, "SIGHUP: log.filter could not be taken"),
    }
    let mut others: Vec<_> = running.differences(&read).into_iter().filter(|key| *key != RELOADED).collect();
    // a different folder, or one of a different app, is for the next start
    let is_same_app = !others.iter().any(|key| is_other_app(key));
    let deployed = if is_same_app { running.deploy(&read, "SIGHUP").await } else { Ok(false) };
    if let Err(error) = &deployed {
        if let Some(watch) = &running.watch {
            watch.refuse(&error.to_string());
        }
        running.say_refused("SIGHUP", &error.to_string());
        // a restart takes settings that the folder may need, and brings back no store
        if matches!(error, DeployError::Wrong(_)) {
            others.push(FOLDER);
        }
    }
    if deployed.is_ok() {
        running.watch.iter().for_each(AppWatch::accept);
    }
    if others.is_empty() && matches!(deployed, Ok(true)) {
        tracing::warn!(target: OPERATOR, filter, "SIGHUP: log.filter and the app folder were taken; everything else is as it was");
    } else if others.is_empty() {
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use rustix::process::{Signal, getpid, kill_process};

    use super::{Signals, invitation};
    use crate::config::{ConfigFile, load};

    #[actix_web::test]
    async fn a_reload_that_waits_for_the_store_does_not_hold_up_the_end() {
        let mut signals = Signals::new().unwrap();
        kill_process(getpid(), Signal::HUP).unwrap();
        let reload = async || {
            kill_process(getpid(), Signal::TERM).unwrap();
            pending().await
        };
        signals.until_stop(reload, async || {}).await;
    }

    #[test]
    fn a_start_says_where_to_look() {
        let said = |variables: &[(&str, &str)], address: &str| {
            let variables: Vec<_> =
                variables.iter().map(|(name, value)| (format!("PASSERBY_{name}"), (*value).to_owned())).collect();
            let loaded = load(&ConfigFile::IfPresent("/nonexistent/p.toml".into()), &variables, &[]).unwrap();
            invitation(loaded.settings(), address.parse().unwrap())
        };
        assert_eq!(said(&[], "127.0.0.1:8080"), "open http://127.0.0.1:8080/ in a browser\n");
        assert_eq!(said(&[], "192.0.2.7:80"), "open http://192.0.2.7:80/ in a browser\n");
        // no browser opens the address that stands for all
        assert_eq!(said(&[], "0.0.0.0:80"), "open http://127.0.0.1:80/ in a browser\n");
        assert_eq!(said(&[], "[::]:80"), "open http://[::1]:80/ in a browser\n");
        let public = [("PUBLIC_URL", "https://id.news.example")];
        assert_eq!(said(&public, "127.0.0.1:8080"), "open https://id.news.example/ in a browser\n");
        assert_eq!(said(&[("HTTP_INDEX", "false")], "127.0.0.1:8080"), "");
    }
}
