//! The settings: one table, read from defaults, `passerby.toml`, the environment and flags, in rising precedence.

mod admin;
mod kind;
mod load;
mod memory;
mod meters;
mod place;
pub mod secrets;
mod shown;
mod suggest;
mod table;
mod tables;
mod wrong;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use passerby_actors::domain::{IdForm, KeyRule, Policy};
use serde::{Deserialize, Deserializer};

pub use self::admin::{AdminRules, TlsFiles};
pub use self::kind::{canonical_origin, seconds_in, valid_app_id};
pub use self::load::{
    ADMIN_TOKEN_ENV, CONFIG_ENV, ConfigFile, DEFAULT_FILE, FolderAppId, Loaded, PASSPHRASE_ENV, SECRET_ENV_PREFIX,
    SETTINGS, environment, load, read,
};
pub use self::memory::{default_data_bytes, default_max_users};
pub use self::meters::{MeterRule, OfAccounts, Window};
pub use self::shown::{SetBy, Shown};
pub(crate) use self::suggest::did_you_mean;
pub use self::table::{Flag, REMOTE, explain, flags};
pub use self::tables::ProviderTables;
pub use self::wrong::{SettingsError, SettingsErrors};

/// Everything an operator can set, checked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Address of the public listener; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address of the admin listener (health, metrics, admin API).
    pub admin_listen: SocketAddr,
    /// Rules of the admin listener.
    pub admin: AdminRules,
    /// Whether the admin API is served to other machines without TLS.
    pub admin_insecure: bool,
    /// TLS of the public listener.
    #[serde(default)]
    pub tls: TlsFiles,
    /// Folder of journal and snapshots.
    pub data_dir: PathBuf,
    /// Where users are kept.
    pub storage: Storage,
    /// Folder of the signing keys.
    pub keys_dir: PathBuf,
    /// The app id in client paths and tokens.
    pub app_id: String,
    /// An App Services app folder.
    pub app_dir: Option<PathBuf>,
    /// A file with the secrets of providers, beside those of the environment.
    pub secrets_file: Option<PathBuf>,
    /// Algorithm of new access tokens.
    pub access_alg: AccessAlg,
    /// What a commit survives.
    pub durability: Durability,
    /// Scheme, host and port under which clients reach the server, without a slash at the end.
    pub public_url: Option<String>,
    /// Networks whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins that browsers may call from, in the form they send; empty allows any.
    pub allowed_origins: Vec<String>,
    /// HTTP workers. None: one per core.
    pub workers: Option<usize>,
    /// Users at which no more are created. None: see [`default_max_users`].
    pub max_users: Option<u64>,
    /// Whether the abuse budgets are in force.
    #[serde(deserialize_with = "on_or_off")]
    pub limits: bool,
    /// Whether a logout or deletion on `/v1` sends `Clear-Site-Data`.
    pub clear_site_data: bool,
    /// When inactive users go.
    pub expiry: Expiry,
    /// Ids of users.
    pub ids: IdRules,
    /// Sessions of lasting accounts.
    pub session: SessionRules,
    /// Refresh tokens of `/v1`.
    pub refresh: Refresh,
    /// Linking.
    pub link: LinkRules,
    /// Merging.
    pub merge: MergeRules,
    /// Users' documents.
    pub data: DataRules,
    /// Transfer codes.
    #[serde(default)]
    pub transfer: TransferRules,
    /// What logins tell.
    pub auth: AuthRules,
    /// What strangers may do.
    pub budget: BudgetRules,
    /// Readers' cookies.
    pub cookie: CookieRules,
    /// How e-mails are sent.
    #[serde(default)]
    pub mail: MailSettings,
    /// What the server itself may fetch.
    pub outbound: OutboundRules,
    /// Session actors.
    pub actors: Actors,
    /// Requests in the actors at a time.
    pub admission: Admission,
    /// The HTTP listeners.
    pub http: Http,
    /// The way out.
    pub drain: Drain,
    /// Log lines.
    pub log: Log,
    /// Which site of `passerby demo` stands at `/`; that command alone sets it.
    #[serde(skip)]
    pub demo: Option<Demo>,
    /// Whether this is `passerby serve --test`; that command alone sets it.
    #[serde(skip)]
    pub test: bool,
    /// Meters by name, from the tables `[meter.NAME]`.
    #[serde(skip)]
    pub meters: BTreeMap<String, MeterRule>,
}

impl Settings {
    /// The rules that the domain works by, as far as they are settings.
    pub fn policy(&self) -> Policy {
        Policy {
            window_s: self.expiry.window_s,
            unused_s: self.expiry.unused_s,
            touch_granularity_s: self.expiry.touch_granularity_s,
            session_lifetime_s: self.session.lifetime_s,
            refresh_grace: self.refresh.grace,
            max_sessions: self.session.max_per_user,
            link_ends_session: self.link.end_session,
            document_bytes: self.data.max_document,
            documents_bytes: self.data.max_bytes.unwrap_or(usize::MAX),
            ids: match self.ids.user {
                UserIds::Auto => None,
                UserIds::ObjectId => Some(IdForm::Object),
                UserIds::Uuid => Some(IdForm::TimeOrdered),
            },
            // which providers there are is not a setting
            ..Policy::default()
        }
    }
}

/// The sites of `passerby demo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demo {
    /// A newspaper that knows its readers.
    News,
    /// A to-do list that is tried before signing up.
    Trial,
}

/// `expiry.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expiry {
    /// Seconds of inactivity after which an anonymous user is gone.
    #[serde(rename = "window")]
    pub window_s: u32,
    /// Age in seconds from which users who were created and never came back may be removed, the oldest first, when `max_users`
    /// or `data.max_bytes` are nearly reached; 0 is never.
    #[serde(rename = "unused")]
    pub unused_s: u32,
    /// Age in seconds from which a use renews `last_seen`.
    #[serde(rename = "touch_granularity")]
    pub touch_granularity_s: u32,
}

/// `ids.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdRules {
    /// The form of new users' ids.
    pub user: UserIds,
}

/// The form of new users' ids. Both forms are known everywhere, so it may be changed at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserIds {
    /// 24 hexadecimal digits through the App Services API, a UUID otherwise.
    Auto,
    /// 24 hexadecimal digits, as MongoDB's `ObjectId` takes them.
    ObjectId,
    /// A UUID of version 7.
    Uuid,
}

/// `session.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRules {
    /// Seconds that a session of a lasting account lives.
    #[serde(rename = "lifetime")]
    pub lifetime_s: u32,
    /// Sessions that a user may have; one more ends the oldest.
    pub max_per_user: usize,
    /// Seconds after its start in which a session of a lasting account may change how the account is logged in to on `/v1`
    /// (S40); 0 is always.
    #[serde(rename = "fresh")]
    pub fresh_s: u32,
}

/// `merge.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergeRules {
    /// Whether an account takes the date of the oldest user who became part of it.
    pub oldest_created: bool,
}

/// `data.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRules {
    /// Bytes of compact JSON that a user's document may have.
    pub max_document: usize,
    /// Bytes that all documents together may have. None: see [`default_data_bytes`].
    #[serde(default)]
    pub max_bytes: Option<usize>,
    /// What becomes of a key that both documents have when users merge.
    #[serde(deserialize_with = "key_rule")]
    pub merge: KeyRule,
    /// Keys with a rule of their own.
    #[serde(deserialize_with = "key_rules")]
    pub merge_keys: BTreeMap<Box<str>, KeyRule>,
    /// Keys that access tokens show.
    pub token_fields: Vec<String>,
    /// KiB of work on documents that a network may ask for in a second.
    pub work: u32,
    /// KiB of it at once.
    pub work_burst: u32,
    /// KiB in a second of all together.
    pub work_all: u32,
}

/// `transfer.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransferRules {
    /// The app's page that takes a transfer code in its fragment. None: codes come without a URL.
    pub page: Option<String>,
}

/// `budget.*`: by IPv4 address or IPv6 /64, unless it says all; a wider network has the budget of a few
/// ([`crate::limits::network::WORTH`]).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetRules {
    /// Users created a minute.
    pub create: u32,
    /// Users created at once.
    pub create_burst: u32,
    /// Users created a second by all together.
    pub create_all: u32,
    /// Logins and links with an identity a minute.
    pub link: u32,
    /// The same at once.
    pub link_burst: u32,
    /// The same a second by all together.
    pub link_all: u32,
    /// Tokens that are not ours a minute.
    pub bad_tokens: u32,
    /// The same at once.
    pub bad_tokens_burst: u32,
    /// The same a second by all together.
    pub bad_tokens_all: u32,
    /// Proofs of work a minute, for what is beyond the budgets.
    pub work: u32,
    /// The same at once.
    pub work_burst: u32,
    /// Proofs of work a second by all together.
    pub work_all: u32,
    /// Open WebSockets.
    pub sockets: u32,
    /// Open connections, by the address that they come from, which is that of a proxy if there is one; those of
    /// `trusted_proxies` are not counted. None: a quarter of all that may be open.
    #[serde(default)]
    pub connections: Option<u32>,
    /// Percent of `max_users` that may be users whom one IPv4 /24 or IPv6 /48 created and who never came back, and of
    /// `data.max_bytes` that it may write; an address or /64 half as much.
    pub share: u32,
}

/// `cookie.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CookieRules {
    /// The domain whose subdomains share readers, which makes the cookie a `__Secure-` one. None: it is the host's own.
    #[serde(default)]
    pub domain: Option<String>,
    /// Whether the cookie is kept apart for each site that embeds this one (CHIPS), and then sent there.
    pub partitioned: bool,
}

/// `auth.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthRules {
    /// Whether the App Services API too answers the same for known and unknown names.
    pub hide_accounts: bool,
    /// The OpenID Connect provider whose issuer knows `/v1/providers/callback`, without the provider's name.
    pub shared_callback: Option<String>,
}

/// `mail.*`: either an SMTP server or a webhook. Passwords and keys are not here, only the names of the secrets that
/// hold them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MailSettings {
    /// The sender: `address` or `Name <address>`. Needed for SMTP.
    pub from: Option<String>,
    /// `smtps://host[:port]` (TLS from the start, port 465) or `smtp://host[:port]` (STARTTLS, which must be offered,
    /// port 587; on this machine without TLS).
    pub smtp: Option<String>,
    /// User name at the SMTP server.
    pub smtp_username: Option<String>,
    /// Name of the secret that holds the password.
    pub smtp_password_secret: Option<String>,
    /// Address of a webhook that sends the e-mails.
    pub webhook: Option<String>,
    /// Name of the secret that holds its signing key (`whsec_…`).
    pub webhook_secret: Option<String>,
}

/// `link.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRules {
    /// Whether a link through the App Services API ends the refresh token that its SDKs keep.
    pub end_session: bool,
}

/// `refresh.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// Whether the refresh token before the current one still gets the current one again (1 or 0).
    #[serde(deserialize_with = "zero_or_one")]
    pub grace: bool,
}

/// `outbound.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboundRules {
    /// Origins that may have any address, and may be http on loopback: what [`crate::outbound::Allowed`] takes.
    pub allow: Vec<String>,
}

/// `actors.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actors {
    /// How long an actor stays without a message.
    #[serde(deserialize_with = "seconds")]
    pub idle: Duration,
    /// Actors alive at a time; beyond it the longest idle go.
    pub max_live: usize,
}

/// `admission.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admission {
    /// Stateful requests in progress at a time, for the whole server.
    pub permits: usize,
}

/// `http.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Whether there is a page at `/`.
    pub index: bool,
    /// Bytes of a request body.
    pub max_body: usize,
    /// Connections per worker.
    pub max_connections: usize,
    /// Open WebSockets of all workers together.
    pub max_sockets: u64,
    /// Time a client has for the first request head of a connection, and for each body. A later head that is not finished, or
    /// an answer that is not read, ends the connection after twice this and `request_timeout`.
    #[serde(deserialize_with = "seconds")]
    pub client_timeout: Duration,
    /// How long an idle connection stays open.
    #[serde(deserialize_with = "seconds")]
    pub keep_alive: Duration,
    /// How long a request waits for its commit.
    #[serde(deserialize_with = "seconds")]
    pub request_timeout: Duration,
}

/// `drain.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Time between `/readyz` turning 503 and the end of accepting.
    #[serde(deserialize_with = "seconds")]
    pub notice: Duration,
    /// Time that requests in progress have to finish.
    #[serde(deserialize_with = "seconds")]
    pub timeout: Duration,
}

/// `log.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Form of a line.
    pub format: LogFormat,
    /// Which lines, as tracing filter directives (`info,passerby=debug`).
    pub filter: String,
}

/// Algorithm of access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum AccessAlg {
    /// Ed25519: anyone can verify with the public keys.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// ECDSA with P-256 and SHA-256: the same, for libraries that do not support EdDSA.
    #[serde(rename = "ES256")]
    Es256,
    /// HMAC with SHA-256: only holders of the secret can verify.
    #[serde(rename = "HS256")]
    Hs256,
}

/// Where users are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// In the data folder.
    Disk,
    /// In memory alone.
    Memory,
}

/// What a commit that was answered survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Power loss.
    Fsync,
    /// A killed process, but not power loss.
    Os,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For a person at a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_secs)
}

fn zero_or_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    u8::deserialize(deserializer).map(|number| number == 1)
}

fn key_rule<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeyRule, D::Error> {
    String::deserialize(deserializer).map(|name| kind::rule_named(&name).unwrap_or_default())
}

fn key_rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Box<str>, KeyRule>, D::Error> {
    let rules = Vec::<String>::deserialize(deserializer)?;
    let named = |text: &String| {
        let (key, rule) = text.rsplit_once('=')?;
        Some((key.into(), kind::rule_named(rule)?))
    };
    Ok(rules.iter().filter_map(named).collect())
}

fn on_or_off<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    String::deserialize(deserializer).map(|word| word == "on")
}

#[cfg(test)]
mod tests;
