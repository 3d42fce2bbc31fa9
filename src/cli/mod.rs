//! The command line: what can be typed. What it does is in `run`.

pub mod run;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{self, ConfigFile, DEFAULT_FILE, Loaded, SettingsError};

/// Exit code of a wrong command line and of a bad configuration.
pub const EXIT_USAGE: u8 = 64;

/// An anonymous-authentication and session server.
#[derive(Debug, Parser)]
#[command(name = "passerby", version, disable_help_subcommand = true)]
pub struct Cli {
    /// The settings that have flags; they may stand before or after the command.
    #[command(flatten)]
    pub settings: SettingsArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

impl Cli {
    /// What to do; `serve` if nothing is said.
    pub fn action(&self) -> &Command {
        self.command.as_ref().unwrap_or(&Command::Serve)
    }
}

/// The flags of the settings. Their values stay text here: all sources are checked in one place.
#[derive(Debug, Clone, Default, Args)]
pub struct SettingsArgs {
    /// Settings file [default: passerby.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of the public listener [default: 127.0.0.1:8080]
    #[arg(long, global = true, value_name = "IP:PORT")]
    listen: Option<String>,
    /// Address of the admin listener [default: 127.0.0.1:8081]
    #[arg(long, global = true, value_name = "IP:PORT")]
    admin_listen: Option<String>,
    /// Folder of the data [default: ./data]
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// Folder of the signing keys [default: keys in the data folder]
    #[arg(long, global = true, value_name = "FOLDER")]
    keys_dir: Option<String>,
    /// App id in client paths and tokens [default: that of the app folder, else passerby]
    #[arg(long, global = true, value_name = "ID")]
    app_id: Option<String>,
    /// App Services app folder with the providers
    #[arg(long, global = true, value_name = "FOLDER")]
    app_dir: Option<String>,
    /// TOML file with the secrets of providers, mode 0600
    #[arg(long, global = true, value_name = "FILE")]
    secrets_file: Option<String>,
    /// Algorithm of access tokens: EdDSA or HS256 [default: EdDSA]
    #[arg(long, global = true, value_name = "ALG")]
    access_alg: Option<String>,
    /// What a commit survives: fsync (power loss) or os (a killed process) [default: fsync]
    #[arg(long, global = true, value_name = "LEVEL")]
    durability: Option<String>,
    /// URL under which clients reach the server
    #[arg(long, global = true, value_name = "URL")]
    public_url: Option<String>,
    /// Networks whose X-Forwarded-* headers are believed, separated by commas
    #[arg(long, global = true, value_name = "CIDRS")]
    trusted_proxies: Option<String>,
    /// HTTP workers [default: one per core]
    #[arg(long, global = true, value_name = "N")]
    workers: Option<String>,
    /// Users at which no more are created [default: what 60 % of the memory holds]
    #[arg(long, global = true, value_name = "N")]
    max_users: Option<String>,
    /// Abuse budgets: on or off [default: on]
    #[arg(long, global = true, value_name = "ON|OFF")]
    limits: Option<String>,
}

impl SettingsArgs {
    /// The settings of file, environment and these flags; `variables` is `std::env::vars_os()` or a test's list.
    ///
    /// # Errors
    /// The first unknown name or wrong value; it exits with [`EXIT_USAGE`].
    pub fn load<N, V>(&self, variables: impl IntoIterator<Item = (N, V)>) -> Result<Loaded, SettingsError>
    where
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let file = match &self.config {
            Some(path) => ConfigFile::Named(path.clone()),
            None => ConfigFile::IfPresent(PathBuf::from(DEFAULT_FILE)),
        };
        config::load(&file, &config::environment(variables)?, &self.given())
    }

    /// The flags that were given, by the key of their setting.
    fn given(&self) -> Vec<(&'static str, String)> {
        [
            ("listen", &self.listen),
            ("admin_listen", &self.admin_listen),
            ("data_dir", &self.data_dir),
            ("keys_dir", &self.keys_dir),
            ("app_id", &self.app_id),
            ("app_dir", &self.app_dir),
            ("secrets_file", &self.secrets_file),
            ("access_alg", &self.access_alg),
            ("durability", &self.durability),
            ("public_url", &self.public_url),
            ("trusted_proxies", &self.trusted_proxies),
            ("workers", &self.workers),
            ("max_users", &self.max_users),
            ("limits", &self.limits),
        ]
        .into_iter()
        .filter_map(|(key, text)| Some((key, text.clone()?)))
        .collect()
    }
}

/// What the binary can do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the server (the default)
    Serve,
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
}

/// What can be done with keys.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum KeysCommand {
    /// List the keys
    List,
    /// Make a new key, with which tokens are signed from now on
    Rotate {
        /// Of which use
        #[arg(default_value = "access")]
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
    /// Write all keys to a file, encrypted under a passphrase
    Export(KeyFile),
    /// Take keys from such a file
    Import(KeyFile),
}

/// The file of an export and its passphrase.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct KeyFile {
    /// The file
    pub file: PathBuf,
    /// File whose first line is the passphrase [default: the variable PASSERBY_PASSPHRASE]
    #[arg(long, value_name = "FILE")]
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
    Cli::try_parse_from(arguments).map_err(|error| Exit {
        code: if error.use_stderr() { EXIT_USAGE } else { 0 },
        text: error.render().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    const NO_ENVIRONMENT: [(&str, &str); 0] = [];

    fn parsed(line: &str) -> Result<Cli, Exit> {
        parse(line.split_whitespace())
    }

    #[test]
    fn verify_cli() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_understood() {
        let file = |passphrase_file: Option<&str>| KeyFile {
            file: "k.age".into(),
            passphrase_file: passphrase_file.map(PathBuf::from),
        };
        let keys = |command| Command::Keys { command };
        let cases = [
            ("passerby", Command::Serve),
            ("passerby serve", Command::Serve),
            ("passerby recover", Command::Recover { accept_loss: false }),
            ("passerby recover --accept-loss", Command::Recover { accept_loss: true }),
            ("passerby keys list", keys(KeysCommand::List)),
            ("passerby keys rotate", keys(KeysCommand::Rotate { usage: KeyUse::Access })),
            ("passerby keys rotate cookie", keys(KeysCommand::Rotate { usage: KeyUse::Cookie })),
            ("passerby keys retire a1", keys(KeysCommand::Retire { id: "a1".into(), yes: false })),
            ("passerby keys retire a1 --yes", keys(KeysCommand::Retire { id: "a1".into(), yes: true })),
            ("passerby keys export k.age", keys(KeysCommand::Export(file(None)))),
            ("passerby keys import k.age --passphrase-file p", keys(KeysCommand::Import(file(Some("p"))))),
            ("passerby config", Command::Config { explain: false }),
            ("passerby config --explain", Command::Config { explain: true }),
            ("passerby check", Command::Check),
            ("passerby demo", Command::Demo { trial: false }),
            ("passerby demo --trial", Command::Demo { trial: true }),
        ];
        for (line, expected) in cases {
            assert_eq!(parsed(line).unwrap().action(), &expected, "{line}");
        }
    }

    #[test]
    fn settings_may_stand_before_and_after_the_command() {
        for line in [
            "passerby --workers 3 --app-id x",
            "passerby serve --workers 3 --app-id x",
            "passerby --workers 3 serve --app-id x",
            "passerby keys --app-id x list --workers 3",
        ] {
            let loaded = parsed(line).unwrap().settings.load(NO_ENVIRONMENT).unwrap();
            assert_eq!((loaded.settings().workers, loaded.settings().app_id.as_str()), (Some(3), "x"), "{line}");
        }
    }

    #[test]
    fn a_wrong_line_exits_with_64_and_help_with_0() {
        for (line, code, part) in [
            ("passerby --help", 0, "Usage: passerby"),
            ("passerby serve --help", 0, "--data-dir"),
            ("passerby --version", 0, "passerby 0."),
            ("passerby --nonsense", 64, "unexpected argument '--nonsense'"),
            ("passerby nonsense", 64, "unrecognized subcommand 'nonsense'"),
            ("passerby keys", 64, "Usage: passerby keys"),
            ("passerby keys rotate session", 64, "possible values: access, refresh, cookie"),
            ("passerby keys retire", 64, "<ID>"),
            ("passerby --workers", 64, "a value is required for '--workers <N>'"),
        ] {
            let exit = parsed(line).unwrap_err();
            assert_eq!(exit.code, code, "{line}: {}", exit.text);
            assert!(exit.text.contains(part) && exit.text.ends_with('\n'), "{line}: {}", exit.text);
        }
    }

    #[test]
    fn every_setting_with_a_flag_has_one_here_and_no_other_does() {
        let flags: Vec<_> = Cli::command()
            .get_arguments()
            .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
            .filter(|flag| flag != "--config")
            .collect();
        assert_eq!(flags, config::flags());
        let line = flags.iter().flat_map(|flag| [flag.clone(), "x".to_owned()]);
        let cli = parse(std::iter::once("passerby".to_owned()).chain(line)).unwrap();
        assert_eq!(cli.settings.given().len(), flags.len());
    }
}
