//! The life of the process: arguments, settings, command, exit code.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use super::admin::admin;
use super::app::{diff, pull, push};
use super::audit::audit;
use super::check::check;
use super::demo;
use super::deployments::deployments;
use super::keys::keys;
use super::line::{self, Cli, Command};
use super::meters::meters;
use super::networks::networks;
use super::outcome::{Failure, complain, print, print_bytes, written};
use super::prepared::{self, Parts};
use super::providers::providers;
use super::recover::recover;
use super::remote::Remote;
use super::serve::serve;
use super::sessions::sessions;
use super::stats::stats;
use super::terminal::clean;
use super::users::users;
use crate::config;

/// The life of the process: arguments, settings, command, exit code.
pub fn main(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> ExitCode {
    // names, addresses and keys are in what is created, by the snapshots' library too
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let environment: Vec<_> = environment.into_iter().collect();
    let cli = match line::parse(arguments) {
        Ok(cli) => cli,
        Err(exit) => {
            if exit.code != 0 {
                complain(&exit.text);
                return ExitCode::from(exit.code);
            }
            print(&exit.text);
            return code(written());
        }
    };
    code(run(&cli, &environment).and_then(|()| written()))
}

/// The exit code, after what failed was said.
fn code(outcome: Result<(), Failure>) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    failure.text.lines().for_each(|line| complain(&format!("passerby: {}\n", clean(line))));
    ExitCode::from(failure.code)
}

fn run(cli: &Cli, environment: &[(OsString, OsString)]) -> Result<(), Failure> {
    let mut settings = cli.settings.clone();
    let _demo_folder = match cli.action() {
        Command::Config { explain: true } => {
            print(&config::explain());
            return Ok(());
        }
        Command::Completions { shell } => {
            print_bytes(&line::completions(*shell));
            return Ok(());
        }
        Command::Man { dir } => return manual(dir.as_deref()),
        Command::Demo { .. } => {
            let (demo_settings, folder) = demo::settings(settings)?;
            settings = demo_settings;
            Some(folder)
        }
        _ => None,
    };
    let variables = config::environment(environment.iter().cloned()).map_err(Failure::usage)?;
    let pipes = Arc::default();
    let prepare = |parts| prepared::prepare(&settings, &variables, parts, &pipes).map_err(Failure::usage);
    let open = |remote: &Remote| remote.open(&variables, || Ok(prepare(Parts::Settings)?.settings));
    match cli.action() {
        Command::Serve { test } => {
            let mut prepared = prepare(Parts::All)?;
            prepared.settings.test = *test;
            serve(prepared, || prepared::prepare(&settings, &variables, Parts::All, &pipes))
        }
        Command::Demo { trial } => {
            let prepared = demo::of(prepare(Parts::All)?, *trial)?;
            serve(prepared, || prepared::prepare(&settings, &variables, Parts::All, &pipes))
        }
        Command::Check => check(&prepare(Parts::All)?),
        Command::Config { .. } => {
            print(&prepare(Parts::Folder)?.loaded.effective());
            Ok(())
        }
        Command::Recover { accept_loss } => recover(&prepare(Parts::Settings)?.settings, *accept_loss),
        Command::Keys { command } => keys(&prepare(Parts::Settings)?.settings, command, environment),
        Command::Admin { remote, command } => {
            admin(remote, command, &variables, || Ok(prepare(Parts::Folder)?.settings))
        }
        Command::Users { remote, command } => asking(users(&open(remote)?, remote, command)),
        Command::Sessions { remote, command } => asking(sessions(&open(remote)?, remote, command)),
        Command::Meters { remote, command } => asking(meters(&open(remote)?, remote, command)),
        Command::Networks { remote, command } => asking(networks(&open(remote)?, remote, command)),
        Command::Providers { remote, command } => asking(providers(&open(remote)?, remote, command)),
        Command::Deployments { remote, command } => asking(deployments(&open(remote)?, remote, command)),
        Command::Push { remote, dir, name, yes } => asking(push(&open(remote)?, remote, dir, (name.as_deref(), *yes))),
        Command::Pull { remote, dir, deployment } => asking(pull(&open(remote)?, remote, dir, *deployment)),
        Command::Diff { remote, dir } => {
            let differs = open(remote).and_then(|api| asking(diff(&api, remote, dir)));
            let differs = differs.and_then(|differs| written().map(|()| differs));
            compared(differs.map_err(Failure::trouble)?, dir)
        }
        Command::Audit { remote, command } => asking(audit(&open(remote)?, remote, command)),
        Command::Stats { remote } => asking(stats(&open(remote)?, remote)),
        Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}

fn asking<T>(doing: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    actix_web::rt::System::new().block_on(doing)
}

/// What `diff` ends with, as the command of that name does.
fn compared(differs: bool, dir: &Path) -> Result<(), Failure> {
    if differs { Err(Failure::other(format!("{} differs from what is in force", dir.display()))) } else { Ok(()) }
}

fn manual(dir: Option<&Path>) -> Result<(), Failure> {
    let Some(dir) = dir else {
        print_bytes(&line::manual().map_err(Failure::other)?);
        return Ok(());
    };
    let failed = |error: std::io::Error| Failure::other(format!("{}: {error}", dir.display()));
    // others are to read them
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(line::command(), dir).map_err(failed)
}
