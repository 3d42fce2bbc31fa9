//! The server under test, over a disk that takes 50 ms for each sync of the journal.

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use passerby::config::{self, ConfigFile};
use passerby::deployment::Recipe;
use passerby::startup::{self, Application, Ports};
use passerby::telemetry;
use passerby_actors::testkit::Slow;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

/// How long a sync of the journal takes.
pub(crate) const SYNC: Duration = Duration::from_millis(50);
/// A login waits for the sync under way and for its own: of this many, all are answered in two syncs.
pub(crate) const PERMITS: usize = 300;

/// Where the server listens.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// Says where it listens, and serves until standard input ends.
pub(crate) fn serve(folder: &Path) {
    let set = |key: &str, value: &str| (format!("PASSERBY_{key}"), value.to_owned());
    let settings = [
        set("LISTEN", "127.0.0.1:0"),
        set("ADMIN_LISTEN", "127.0.0.1:0"),
        set("DATA_DIR", &folder.join("data").display().to_string()),
        set("WORKERS", "2"),
        set("LIMITS", "off"),
        set("ADMISSION_PERMITS", &PERMITS.to_string()),
        set("LOG_FILTER", "warn"),
    ];
    let nowhere = ConfigFile::IfPresent(folder.join("passerby.toml"));
    let loaded = config::load(&nowhere, &settings, &[]).unwrap();
    let (recipe, _) = Recipe::read(&loaded, None, &[], &Arc::default()).unwrap();
    let settings = loaded.settings().clone();
    let _last_lines = telemetry::install(&settings.log).unwrap();
    actix_rt::System::new().block_on(async {
        let admin = startup::start_admin(&settings, None).unwrap();
        let ports = Ports { files: Arc::new(Slow::disk(SYNC)), ..Ports::system() };
        let application = Application::build(settings, recipe, None, ports, admin).await.unwrap();
        let addresses = Addresses { public: application.address(), admin: application.admin_address() };
        say(&serde_json::to_string(&addresses).unwrap());
        let (stop, stopped) = oneshot::channel();
        std::thread::spawn(move || {
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
            stop.send(()).unwrap();
        });
        application.run_until(async { stopped.await.unwrap() }).await.unwrap();
    });
}

#[expect(clippy::print_stdout, reason = "the load generator reads it")]
fn say(line: &str) {
    println!("{line}");
}

/// What the server says of its 503s.
pub(crate) struct Shed {
    /// The bound of the bucket in which the slowest lies.
    pub(crate) slowest_s: f64,
    pub(crate) mean_s: f64,
}

/// Reads the histogram of 503s out of `/metrics`.
pub(crate) fn shed_seconds(metrics: &str) -> Shed {
    let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    let named = |name: &str| metrics.lines().find(|line| line.starts_with(name)).map(value).unwrap();
    let (sum, count) = (named("passerby_shed_seconds_sum"), named("passerby_shed_seconds_count"));
    let bound = |line: &str| {
        let text = line.strip_prefix("passerby_shed_seconds_bucket{le=\"")?.split('"').next()?;
        Some(if text == "+Inf" { f64::INFINITY } else { text.parse().unwrap() })
    };
    // buckets count all below their bound
    let all = metrics.lines().filter_map(|line| Some((bound(line)?, value(line))));
    let slowest_s = all.filter(|(_, below)| *below >= count).map(|(bound, _)| bound).fold(f64::INFINITY, f64::min);
    Shed { slowest_s, mean_s: sum / count.max(1.0) }
}
