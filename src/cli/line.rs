//! What can be typed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum, ValueHint};

use super::audit::AuditCommand;
use super::deployments::DeploymentsCommand;
use super::meters::MetersCommand;
use super::networks::NetworksCommand;
use super::outcome::EXIT_USAGE;
use super::providers::ProvidersCommand;
use super::remote::{Remote, given};
use super::sessions::SessionsCommand;
use super::users::UsersCommand;
use crate::config::{self, CONFIG_ENV, ConfigFile, DEFAULT_FILE, Flag, Loaded, SettingsError, SettingsErrors};

/// What is said in the help of every command.
const MORE: &str =
    "Every setting of passerby.toml: `passerby config --explain`. The file may also be named by PASSERBY_CONFIG.";

/// An anonymous-authentication and session server.
#[derive(Debug, Parser)]
#[command(name = "passerby", version, after_help = MORE)]
struct Line {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What was typed.
#[derive(Debug)]
pub struct Cli {
    /// The settings that have flags; they may stand before or after the command.
    pub settings: SettingsArgs,
    action: Command,
}

impl Cli {
    /// What to do; `serve` if nothing is said.
    pub fn action(&self) -> &Command {
        &self.action
    }
}

/// Without a command there is `serve`.
const SERVE: &str = "serve";

/// The flag that names the settings file; the others are those of the table of settings.
const CONFIG: Flag = Flag::of_file();

/// In the order in which they are shown. Their values stay text here: all sources are checked in one place.
fn flags() -> impl Iterator<Item = Flag> {
    std::iter::once(CONFIG).chain(config::flags())
}

fn arg(flag: &Flag) -> Arg {
    let hint = match flag.value {
        "FILE" => ValueHint::FilePath,
        "FOLDER" => ValueHint::DirPath,
        _ => ValueHint::Other,
    };
    let arg = Arg::new(flag.key).long(flag.name()).value_name(flag.value).help(flag.help()).value_hint(hint);
    arg.help_heading("Settings")
}

/// The flags of the settings.
#[derive(Debug, Clone, Default)]
pub struct SettingsArgs {
    /// Those that were given, by the key of their setting; `config` names the file.
    given: BTreeMap<&'static str, String>,
}

impl SettingsArgs {
    fn of(matches: &ArgMatches) -> Self {
        let mut given = BTreeMap::new();
        let mut level = Some(matches);
        while let Some(matches) = level {
            for flag in flags() {
                if let Ok(Some(text)) = matches.try_get_one::<String>(flag.key) {
                    given.insert(flag.key, text.clone());
                }
            }
            level = matches.subcommand().map(|(_, matches)| matches);
        }
        Self { given }
    }

    /// With a different value of a flag.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: String) -> Self {
        self.given.insert(key, value);
        self
    }

    /// The settings of file, environment ([`config::environment`]) and these flags. What is wrong is added to `wrong`.
    pub fn read(&self, environment: &[(String, String)], wrong: &mut SettingsErrors) -> Option<Loaded> {
        let by_flag = self.given.get("config").map(|path| ("flag --config".to_owned(), path));
        let by_variable = || {
            let (_, path) = environment.iter().find(|(name, _)| name == CONFIG_ENV)?;
            Some((format!("environment variable {CONFIG_ENV}"), path))
        };
        let named = by_flag.or_else(by_variable);
        if let Some((origin, _)) = named.as_ref().filter(|(_, path)| path.is_empty()) {
            wrong.push(SettingsError::of_source(origin, "is empty: name a settings file, or leave it out"));
        }
        let file = match named.filter(|(_, path)| !path.is_empty()) {
            Some((_, path)) => ConfigFile::Named(PathBuf::from(path)),
            None => ConfigFile::IfPresent(PathBuf::from(DEFAULT_FILE)),
        };
        let flags = self.given.iter().filter(|(key, _)| **key != "config");
        let flags: Vec<_> = flags.map(|(key, text)| (*key, text.clone())).collect();
        config::read(&file, environment, &flags, wrong)
    }
}

/// The command line as clap knows it: each command has the flags that it uses.
pub(super) fn command() -> clap::Command {
    let with_flags = |command: clap::Command, used_by: &str| {
        command.args(flags().filter(|flag| flag.used_by.contains(&used_by)).map(|flag| arg(&flag)))
    };
    let mut command = with_flags(Line::command(), SERVE);
    let local = [SERVE, "recover", "keys", "admin", "config", "check", "demo"];
    for name in local.iter().chain(config::REMOTE) {
        command = command.mut_subcommand(name, |command| {
            with_flags(command, name).mut_subcommands(|command| with_flags(command, name))
        });
    }
    command
}

/// What the binary can do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the server (the default)
    Serve {
        /// Make tests fast: passwords cost next to nothing, and POST /test/clock on the admin listener moves the clock; for
        /// loopback listeners and data of its own alone
        #[arg(long)]
        test: bool,
    },
    /// List what can be read of a damaged data folder
    Recover {
        /// Write a new generation from it, giving up the rest; the old files are kept
        #[arg(long)]
        accept_loss: bool,
    },
    /// Look after the signing keys
    Keys {
        /// What to do with them.
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Look after admins, of a server that runs or is stopped
    Admin {
        /// Which server.
        #[command(flatten)]
        remote: Remote,
        /// What to do with them.
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// List, find and show users, and act on them, of a server that runs
    Users {
        /// Which server.
        #[command(flatten)]
        remote: Remote,
        /// What to do with them.
        #[command(subcommand)]
        command: UsersCommand,
    },
    /// List and end sessions of a user, and of admins
    Sessions {
        /// Which server.
        #[command(flatten)]
        remote: Remote,
        /// What to do with them.
        #[command(subcommand)]
        command: SessionsCommand,
    },
    /// Show meters, grant more of them and reset them
    Meters {
        /// Which server.
        #[command(flatten)]
        remote: Remote,
        /// What to do with them.
        #[command(subcommand)]
        command: MetersCommand,
    },
    /// Show what networks have spent of their budgets, block them and lift that
    Networks {
        /// Which server.
        #[command(flatten)]
        remote: Remote,
        /// What to do with them.
        #[command(subcommand)]
        command: NetworksCommand,
    },
    /// List the ways to log in, enable and disable them
    Providers {
        /// Which server.
        #[command(flatten)]
        remote: Remote,
        /// What to do with them.
        #[command(subcommand)]
        command: ProvidersCommand,
    },
    /// List what was deployed, and deploy it again
    Deployments {
        /// Which server.
        #[command(flatten)]
        remote: Remote,
        /// What to do with them.
        #[command(subcommand)]
        command: DeploymentsCommand,
    },
    /// Deploy an app folder on a server that runs, after showing what it changes
    Push {
        /// Which server.
        #[command(flatten)]
        remote: Remote,
        /// The app folder
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
        /// What the deployment is called
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Write what is in force on a server into an app folder
    Pull {
        /// Which server.
        #[command(flatten)]
        remote: Remote,
        /// The app folder; other files in it stay
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
        /// As it was deployed under this number
        #[arg(long, value_name = "NUMBER")]
        deployment: Option<u64>,
    },
    /// Show what an app folder would change on a server; the exit code is 1 if something differs, and 2 if that is not known
    Diff {
        /// Which server.
        #[command(flatten)]
        remote: Remote,
        /// The app folder
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
    /// Show what admins did
    Audit {
        /// Which server.
        #[command(flatten)]
        remote: Remote,
        /// What to do with the log.
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Show what happens, in numbers
    Stats {
        /// Which server.
        #[command(flatten)]
        remote: Remote,
    },
    /// Print the settings in force and where each comes from
    Config {
        /// Explain every setting, with unit, range and default, instead
        #[arg(long)]
        explain: bool,
    },
    /// Check settings, app folder, keys and data, and change nothing
    Check,
    /// Run a small news site with readers and a paywall, to look at, on this machine alone; nothing of it is kept
    Demo {
        /// A to-do list that is tried before signing up, live in every window, instead
        #[arg(long)]
        trial: bool,
    },
    /// Print the completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write that of each command
    Man {
        /// Write all pages into this folder
        #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// What can be done with keys.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum KeysCommand {
    /// List the keys
    List,
    /// Create the next key, which verifies from now on and signs after the next rotation
    Publish {
        /// Of which use
        #[arg(default_value = "access", value_name = "USE")]
        usage: KeyUse,
    },
    /// Let the published key sign from now on, or a new one
    Rotate {
        /// Of which use
        #[arg(default_value = "access", value_name = "USE")]
        usage: KeyUse,
    },
    /// Take a key away, with every session that rests on it
    Retire {
        /// The key's id, as in the list
        id: String,
        /// Do it; otherwise only say how many sessions end
        #[arg(long)]
        yes: bool,
    },
    /// Write all keys to a file, encrypted under a passphrase of at least 12 characters
    Export {
        /// Where to, and under what.
        #[command(flatten)]
        file: KeyFile,
        /// Take a shorter passphrase
        #[arg(long)]
        weak: bool,
    },
    /// Take keys from such a file
    Import(KeyFile),
}

/// What can be done with admins.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AdminCommand {
    /// Create an admin; the password is asked for
    Create {
        /// The name to log in with
        #[arg(value_parser = given)]
        name: String,
        /// What they may do: read sees, operate acts on users, owner also on admins
        #[arg(long, default_value = "owner")]
        role: AdminRole,
        /// Take the first line of standard input as the password
        #[arg(long)]
        password_stdin: bool,
    },
    /// List the admins
    List,
    /// Give an admin a new password; every session of theirs ends, and a second factor is taken away
    ResetPassword {
        /// The admin
        #[arg(value_parser = given)]
        name: String,
        /// Take the first line of standard input as the password
        #[arg(long)]
        password_stdin: bool,
    },
    /// Refuse an admin from now on, and end every session of theirs
    Disable {
        /// The admin
        #[arg(value_parser = given)]
        name: String,
    },
}

/// What an admin may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AdminRole {
    /// See everything but secrets.
    Read,
    /// Also act on users.
    Operate,
    /// Also look after admins.
    Owner,
}

/// The file of an export and its passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct KeyFile {
    /// The file
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// File whose first line is the passphrase [default: the variable PASSERBY_PASSPHRASE]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub passphrase_file: Option<PathBuf>,
}

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeyUse {
    /// Access tokens.
    Access,
    /// Refresh tokens.
    Refresh,
    /// Reader cookies.
    Cookie,
}

/// An end before anything was done: help, version, or a command line that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// 0 (the text belongs on standard output) or [`EXIT_USAGE`] (on standard error).
    pub code: u8,
    /// What to print; it ends in a line break.
    pub text: String,
}

/// Reads the command line, the program's name first.
///
/// # Errors
/// [`Exit`], also for `--help` and `--version`.
pub fn parse<I, T>(arguments: I) -> Result<Cli, Exit>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let exit = |error: clap::Error| Exit {
        code: if error.use_stderr() { EXIT_USAGE } else { 0 },
        text: error.render().to_string(),
    };
    let mut clap = command();
    let matches = clap.try_get_matches_from_mut(arguments).map_err(exit)?;
    let action = Line::from_arg_matches(&matches).map_err(exit)?.command.unwrap_or(Command::Serve { test: false });
    let name = matches.subcommand_name().unwrap_or(SERVE);
    // before the command every flag can stand, so that those of `passerby` alone do
    let of_no_use = flags().find(|flag| matches.contains_id(flag.key) && !flag.used_by.contains(&name));
    if let Some(flag) = of_no_use {
        let detail = format!("--{} has no effect with `passerby {name}`: leave it out", flag.name());
        return Err(exit(clap.error(ErrorKind::ArgumentConflict, detail)));
    }
    Ok(Cli { settings: SettingsArgs::of(&matches), action })
}

/// The completions for a shell.
pub(super) fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut command(), "passerby", &mut out);
    out
}

/// The manual page of `passerby` itself.
pub(super) fn manual() -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    clap_mangen::Man::new(command()).render(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests;
