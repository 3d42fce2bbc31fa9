//! `kill -9`: a child process under load is killed, again and again, also while it recovers and while it makes a generation.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use passerby_actors::store::embedded::files::Disk;
use passerby_actors::store::{self, Config};
use passerby_actors::system::SystemClock;
use passerby_actors::testkit::{Random, World};

use crate::load::{Ledger, client};

const CHILD_DIR: &str = "PASSERBY_TEST_CRASH_DIR";
/// How many rounds; more on demand.
const ROUNDS: &str = "PASSERBY_TEST_KILL_ROUNDS";
const READY: &str = "ready";

/// Not a test of its own: the child of the one below, which ends at once when it is not asked for.
#[test]
fn child_under_load() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    actix_rt::System::new().block_on(async {
        let world = World::over(Path::new(&dir), u64::from(std::process::id()), Arc::new(Disk));
        let mut options = world.options.clone();
        options.min_journal_bytes = 20_000;
        let config = Config::Folder { dir: world.dir.clone(), options, files: world.files.clone() };
        let running = world.run(store::open(config, Arc::new(SystemClock::default())).unwrap());
        println!("{READY}");
        // one write a line: what the parent reads was acknowledged
        let say = |fact| std::io::stdout().write_all(format!("{fact}\n").as_bytes()).unwrap();
        let seed = u64::from(std::process::id()) * 1000;
        let clients = (0..8).map(|n| client(&running.handle, Random(seed + n), usize::MAX, &say));
        futures_util::future::join_all(clients).await;
    });
}

fn start(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child_under_load", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn every_acknowledged_change_survives_kill_nine() {
    let rounds = std::env::var(ROUNDS).map_or(50, |rounds| rounds.parse().expect("a number of rounds"));
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let mut ledger = Ledger::default();
    let mut random = Random(11);
    let (mut during_recovery, mut ready) = (0, 0);
    for round in 0..rounds {
        let mut child = start(&dir);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // the first of each three is killed while it starts, twice in a row now and then
        if round % 3 == 1 || round % 7 == 2 {
            std::thread::park_timeout(Duration::from_millis(random.below(60) as u64));
        } else {
            let wanted = 200 + random.below(3000);
            let mut seen = 0;
            for line in lines.by_ref() {
                let line = line.unwrap();
                ready += usize::from(line.ends_with(READY));
                if let Ok(fact) = line.parse() {
                    ledger.note(fact);
                    seen += 1;
                    if seen == wanted {
                        break;
                    }
                }
            }
            assert_eq!(seen, wanted, "round {round}: the child ended by itself");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        during_recovery += usize::from(!rest.iter().any(|line| line.ends_with(READY)) && round % 3 == 1);
        rest.iter().filter_map(|line| line.parse().ok()).for_each(|fact| ledger.note(fact));

        if round % 3 != 1 {
            let world = World::over(&dir, 1, Arc::new(Disk));
            let store = world.try_open().unwrap_or_else(|error| panic!("round {round}: {error}"));
            ledger.check(&*store, &format!("round {round}"));
        }
    }
    assert!(ready > 0 && during_recovery > 0, "{ready} under load, {during_recovery} while starting");
}
