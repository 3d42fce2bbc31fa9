//! The one table of settings: what is accepted, what is checked and what `passerby config --explain` prints.

use self::Fallback::{Unset, Value};
use super::kind::Kind;
use super::meters;
use super::tables::{self, Explained};

/// One setting.
#[derive(Debug)]
pub(super) struct Setting {
    /// Its key in `passerby.toml`; a dot separates the section.
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    /// What a number counts.
    pub(super) unit: Option<&'static str>,
    pub(super) default: Fallback,
    /// What its flag takes, if it has one, and the commands that use it.
    pub(super) flag: Option<(&'static str, &'static [&'static str])>,
    /// What it does, in one sentence.
    pub(super) about: &'static str,
}

/// What holds where nothing is set.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fallback {
    /// This value, read like one from the environment.
    Value(&'static str),
    /// No value; the text says what then happens.
    Unset(&'static str),
}

impl Setting {
    /// What it does, in one sentence.
    const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// With a flag that takes such a value, for these commands.
    const fn flag(self, value: &'static str, used_by: &'static [&'static str]) -> Self {
        Self { flag: Some((value, used_by)), ..self }
    }

    /// The setting of a key.
    pub(super) fn by_key(key: &str) -> Option<&'static Self> {
        TABLE.iter().find(|setting| setting.key == key)
    }

    /// `PASSERBY_` and the key.
    pub(super) fn env(&self) -> String {
        format!("PASSERBY_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// `--` and the key.
    pub(super) fn flag_name(&self) -> Option<String> {
        self.flag.map(|_| format!("--{}", self.key.replace('_', "-")))
    }

    /// What holds without it, in words.
    fn default_in_words(&self) -> Option<String> {
        let unit = self.unit.map(|unit| format!(" {unit}")).unwrap_or_default();
        match self.default {
            Fallback::Value("") => None,
            Fallback::Value(value) => Some(format!("{value}{unit}")),
            Fallback::Unset(meaning) => Some(meaning.to_owned()),
        }
    }

    fn explained(&self) -> String {
        let unit = self.unit.map(|unit| format!(" {unit}")).unwrap_or_default();
        let default = self.default_in_words().unwrap_or_else(|| "empty".to_owned());
        let flag = self.flag_name().map(|flag| format!(", flag {flag}")).unwrap_or_default();
        let (key, about, range, env) = (self.key, self.about, self.kind.range(), self.env());
        format!("\n{key}\n    {about}\n    range: {range}{unit}\n    default: {default}\n    environment {env}{flag}\n")
    }
}

/// Every setting with its unit, range, default, environment variable and flag.
pub fn explain() -> String {
    let head = "Settings of passerby.toml. An environment variable goes before the file, a flag before both.\n\
                Times are seconds or have units: 90d, 12h, 30m, 45s, 1d12h; sizes are bytes or have units: 64KiB, 2MiB, 1GiB.\n";
    std::iter::once(head.to_owned())
        .chain(TABLE.iter().map(Setting::explained))
        .chain(tables::EXPLAINED.iter().chain(meters::EXPLAINED).map(Explained::text))
        .collect()
}

/// A flag of the command line, and the commands that use it.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// The key of its setting, or `config`.
    pub key: &'static str,
    /// What it takes, as help shows it.
    pub value: &'static str,
    /// The commands that use it.
    pub used_by: &'static [&'static str],
    setting: Option<&'static Setting>,
}

impl Flag {
    /// The one that names the settings file.
    pub const fn of_file() -> Self {
        Self { key: "config", value: "FILE", used_by: AND_FOLDERS, setting: None }
    }

    /// As it is typed, without `--`.
    pub fn name(&self) -> String {
        self.key.replace('_', "-")
    }

    /// What it does and what holds without it.
    pub fn help(&self) -> String {
        let Some(setting) = self.setting else {
            return "Settings file [default: passerby.toml, if there is one]".to_owned();
        };
        let commas = if setting.kind.of_items().is_some() { " (several separated by commas)" } else { "" };
        let about = format!("{}{commas}", setting.about.trim_end_matches('.'));
        setting.default_in_words().map_or_else(|| about.clone(), |default| format!("{about} [default: {default}]"))
    }
}

/// The flags of settings, in the order of the table.
pub fn flags() -> impl Iterator<Item = Flag> {
    TABLE.iter().filter_map(|setting| {
        let (value, used_by) = setting.flag?;
        Some(Flag { key: setting.key, value, used_by, setting: Some(setting) })
    })
}

/// The commands that read settings and whatever they name.
const WHOLE: &[&str] = &["serve", "check", "config"];
/// The same, and a server that brings the rest of its settings.
const AND_DEMO: &[&str] = &["serve", "check", "config", "demo"];
const AND_KEYS: &[&str] = &["serve", "check", "config", "keys"];
const AND_FOLDERS: &[&str] = &[
    "serve",
    "check",
    "config",
    "keys",
    "recover",
    "admin",
    "users",
    "sessions",
    "meters",
    "networks",
    "providers",
    "deployments",
    "push",
    "pull",
    "diff",
    "audit",
    "stats",
];
/// The commands that ask a server which runs, and find it by its data folder.
pub const REMOTE: &[&str] =
    &["users", "sessions", "meters", "networks", "providers", "deployments", "push", "pull", "diff", "audit", "stats"];
/// The commands that open the data folder, which is one app's.
const AND_APP: &[&str] = &["serve", "check", "config", "admin"];
const AND_ADMIN: &[&str] = &["serve", "check", "config", "demo", "admin"];

const fn setting(key: &'static str, kind: Kind, default: Fallback) -> Setting {
    Setting { key, kind, unit: None, default, flag: None, about: "" }
}

const fn number(key: &'static str, (min, max): (i64, i64), unit: &'static str, default: Fallback) -> Setting {
    Setting { unit: Some(unit), ..setting(key, counted(unit, min, max), default) }
}

/// Seconds and bytes may also be given with units.
const fn counted(unit: &str, min: i64, max: i64) -> Kind {
    match unit.as_bytes() {
        b"s" => Kind::Time { min, max },
        b"bytes" => Kind::Size { min, max },
        _ => Kind::Whole { min, max },
    }
}

const TEN_YEARS: i64 = 3650 * 86_400;

/// In the order in which they are explained.
pub(super) const TABLE: &[Setting] = &[
    setting("listen", Kind::Address, Value("127.0.0.1:8080"))
        .flag("HOST:PORT", AND_DEMO)
        .about("Address of the public listener; port 0 takes a free one."),
    setting("admin_listen", Kind::Address, Value("127.0.0.1:8081"))
        .flag("HOST:PORT", AND_DEMO)
        .about("Address of the admin listener with health, metrics and the admin API; keep it private."),
    setting("admin.hosts", Kind::Hosts, Value(""))
        .about("Host names with a dot by which the admin listener may be called, besides addresses and names without one; any other is refused (DNS rebinding)."),
    number("admin.audit_days", (1, 3650), "days", Value("400"))
        .about("How long entries of the audit log are kept: what admins did, to whom, from where."),
    number("admin.audit_max", (1000, 10_000_000), "entries", Value("100000"))
        .about("How many entries of the audit log are kept, at about 500 bytes of memory each; the oldest go first."),
    setting("admin_insecure", Kind::Flag, Value("false"))
        .flag("TRUE|FALSE", AND_DEMO)
        .about("Whether the admin API is served to other machines without TLS; passwords and tokens can then be read on the way."),
    setting("admin.tls.cert", Kind::Path, Unset("none (the admin listener speaks HTTP without TLS)"))
        .about("A certificate in PEM for the admin listener, with those between it and an authority behind it; taken again when the file changes."),
    setting("admin.tls.key", Kind::Path, Unset("none"))
        .about("The private key of admin.tls.cert, in PEM without a passphrase."),
    setting("tls.cert", Kind::Path, Unset("none (the public listener speaks HTTP without TLS)"))
        .about("A certificate in PEM for the public listener, with those between it and an authority behind it; taken again when the file changes."),
    setting("tls.key", Kind::Path, Unset("none")).about("The private key of tls.cert, in PEM without a passphrase."),
    setting("data_dir", Kind::Path, Value("./data"))
        .flag("FOLDER", AND_FOLDERS)
        .about("Folder of the journal and the snapshots."),
    setting("storage", Kind::Choice(&["disk", "memory"]), Value("disk"))
        .flag("PLACE", WHOLE)
        .about("Where users are kept: disk is the data folder; memory, for trying out and tests, loses every user when the process ends."),
    setting("keys_dir", Kind::Path, Unset("<data_dir>/keys"))
        .flag("FOLDER", AND_KEYS)
        .about("Folder of the signing keys; without them every anonymous user is logged out for ever."),
    setting("app_id", Kind::AppId, Value("passerby"))
        .flag("ID", AND_ADMIN)
        .about("The app id in client paths and tokens; unset, that of the app folder goes before the default."),
    setting("app_dir", Kind::Path, Unset("none (what was deployed last is served; at first, anon-user is enabled and every other provider is off)"))
        .flag("FOLDER", AND_APP)
        .about("An App Services app folder, with root_config.json and auth/providers.json."),
    setting("secrets_file", Kind::Path, Unset("none (secrets come from the environment alone)"))
        .flag("FILE", WHOLE)
        .about("A TOML file of name = \"secret\" for the providers, of mode 0600; PASSERBY_SECRET_NAME goes before it."),
    setting("access_alg", Kind::Choice(&["EdDSA", "ES256", "HS256"]), Value("EdDSA"))
        .flag("ALG", AND_DEMO)
        .about("Algorithm of new access tokens; others can verify EdDSA (also called Ed25519) and ES256 with the published keys, and not HS256."),
    setting("durability", Kind::Choice(&["fsync", "os"]), Value("fsync"))
        .flag("LEVEL", WHOLE)
        .about("What an answered commit survives: fsync power loss, os a killed process."),
    setting("public_url", Kind::PublicUrl, Unset("none (the issuer is urn:passerby:APPID, locations follow the request)"))
        .flag("URL", AND_DEMO)
        .about("The URL under which clients reach the server; it becomes the issuer of tokens."),
    setting("trusted_proxies", Kind::Networks, Value(""))
        .flag("CIDRS", AND_DEMO)
        .about("Networks whose X-Forwarded-* headers are believed, read from right to left."),
    setting("allowed_origins", Kind::Origins, Value(""))
        .about("Origins that browsers may call from, then also with a reader's cookie; empty takes allowed_request_origins of the app that is deployed, else any without cookies."),
    number("workers", (1, 1024), "threads", Unset("one per core")).flag("N", AND_DEMO).about("HTTP workers."),
    number("max_users", (1, 4_000_000_000), "users", Unset("60 % of the memory or the control group's limit, at 72 bytes a user"))
        .flag("N", AND_DEMO)
        .about("Users at which no more are created, a registered name counting as eight; no user is removed to make room."),
    setting("limits", Kind::Choice(&["on", "off"]), Value("on"))
        .flag("ON|OFF", AND_DEMO)
        .about("Whether the abuse budgets (budget.*) are in force; off is for load tests."),
    setting("clear_site_data", Kind::Flag, Value("true"))
        .about("Whether a logout or deletion on /v1 tells the browser to clear what the site has stored."),
    number("expiry.window", (1, TEN_YEARS), "s", Value("7776000"))
        .about("Inactivity after which an anonymous user is deleted (90 days)."),
    number("expiry.unused", (0, TEN_YEARS), "s", Value("0"))
        .about("Age from which users who were created and never came back are deleted, the oldest first, while over 90 % of max_users or data.max_bytes are used; 0 is never: all have the whole window."),
    number("expiry.touch_granularity", (0, TEN_YEARS / 24), "s", Value("3600"))
        .about("Age from which a use renews last_seen; at most 1/24 of expiry.window."),
    setting("ids.user", Kind::Choice(&["auto", "objectid", "uuid"]), Value("auto"))
        .about("The form of new users' ids: 24 hexadecimal digits for ObjectId, a UUID, or the form of the API that creates the user (auto: objectid on the App Services path, else uuid)."),
    number("session.max_per_user", (1, 1000), "sessions", Value("50"))
        .about("How many sessions a user may have at a time; one more ends the oldest."),
    setting("link.end_session", Kind::Flag, Value("false"))
        .about("Whether linking through the App Services API ends the refresh token that its SDKs keep (they then log in anew)."),
    number("session.lifetime", (1, TEN_YEARS), "s", Value("5184000"))
        .about("How long a session of a lasting account lives, however much it is used (60 days)."),
    number("session.fresh", (0, TEN_YEARS), "s", Value("86400"))
        .about("How long after its start a session of a lasting account may add or remove identities, passwords and keys on /v1; 0 is always."),
    setting("merge.oldest_created", Kind::Flag, Value("false"))
        .about("Whether an account takes the creation date of the oldest user who became part of it; otherwise it keeps its own."),
    number("data.max_document", (1024, 1 << 20), "bytes", Value("16384"))
        .about("How large a user's document may be, as compact JSON; no request is larger than http.max_body."),
    number("data.max_bytes", (0, i64::MAX), "bytes", Unset("25 % of the memory or the control group's limit"))
        .about("How large all documents together may be; at it those that would grow are answered 507."),
    setting("data.merge", Kind::Choice(&["deep", "keep_target", "keep_source", "sum", "union", "newest"]), Value("deep"))
        .about("What becomes of a key that both documents have when an anonymous user becomes part of an account: \
         deep joins objects at every depth and keeps the account's where one value can stand, as {\"a\":1,\"b\":{\"c\":1,\"d\":2}} from the \
         account's {\"a\":1,\"b\":{\"c\":1}} and the other's {\"a\":2,\"b\":{\"d\":2}}; keep_target keeps the account's, 1 of 1 and 2; \
         keep_source takes the other's, 2; sum adds numbers, 3; union joins lists, [1,2,3] of [1,2] and [2,3], and objects at the first depth; \
         newest takes that of the document that was changed last (docs/data.md)."),
    setting("data.merge_keys", Kind::KeyRules, Value(""))
        .about("Keys of documents with a rule of their own, such as [\"cart=union\", \"visits=sum\"]."),
    setting("data.token_fields", Kind::Names, Value(""))
        .about("Keys of the document that access tokens show as user_data, of 1024 bytes together at most."),
    number("data.work", (64, 1 << 20), "KiB a second", Value("1024"))
        .about("How much work on documents an IPv4 address or IPv6 /64 may ask for in the long run, counted as the bytes of each request and its document without the first 4096, and wider networks for a few times as much, half of data.work_all at most; beyond it requests wait up to a second, and then are answered 429."),
    number("data.work_burst", (64, 1 << 20), "KiB", Value("4096")).about("How much of it at once."),
    number("data.work_all", (1024, 1 << 24), "KiB a second", Value("8192"))
        .about("How much work on documents all addresses together may ask for; beyond it as with data.work."),
    setting("transfer.page", Kind::PageUrl, Unset("none (a transfer code comes without a URL)"))
        .about("The app's page that takes a transfer code behind #code=, for the URL of a QR code."),
    setting("auth.hide_accounts", Kind::Flag, Value("false"))
        .about("Whether the App Services API also answers the same for known and unknown names, as /v1 always does."),
    setting("auth.shared_callback", Kind::Text, Unset("none (each issuer knows PUBLIC_URL/v1/providers/PROVIDER/callback)"))
        .about("The one OpenID Connect provider, such as oidc-corp, whose issuer knows PUBLIC_URL/v1/providers/callback instead, as before each had its own."),
    number("budget.create", (1, 1_000_000), "users a minute", Value("60"))
        .about("How many users an IPv4 address or IPv6 /64 may create in the long run (an IPv6 /56 four times, an IPv6 /48 or IPv4 /24 sixteen times as many, as with every budget.*); beyond it readers keep their lazy ids, /v1 asks for proofs of work and the App Services API answers 429."),
    number("budget.create_burst", (1, 1_000_000), "users", Value("300"))
        .about("How many of them it may create at once."),
    number("budget.create_all", (1, 10_000_000), "users a second", Value("2000"))
        .about("How many users all addresses together may create in the long run, with ten times as many at once; beyond it as with budget.create."),
    number("budget.link", (1, 1_000_000), "attempts a minute", Value("60"))
        .about("How many logins with and links of an identity an address or /64 may try in the long run."),
    number("budget.link_burst", (1, 1_000_000), "attempts", Value("120")).about("How many of them it may try at once."),
    number("budget.link_all", (1, 1_000_000), "attempts a second", Value("500"))
        .about("How many of them all addresses together may try in the long run, with ten times as many at once."),
    number("budget.bad_tokens", (1, 1_000_000), "tokens a minute", Value("60"))
        .about("How many tokens that are not ours an address or /64 may present in the long run before it is answered 429."),
    number("budget.bad_tokens_burst", (1, 1_000_000), "tokens", Value("300"))
        .about("How many of them it may present at once."),
    number("budget.bad_tokens_all", (1, 1_000_000), "tokens a second", Value("5000"))
        .about("How many of them all addresses together may present in the long run, with ten times as many at once."),
    number("budget.work", (1, 1_000_000), "challenges a minute", Value("60"))
        .about("How many proofs of work an address or /64 may go on with on /v1 in the long run, when it may create no more users or try no more identities."),
    number("budget.work_burst", (1, 1_000_000), "challenges", Value("600"))
        .about("How many of them it may ask for at once; the more it has asked for, the harder they are."),
    number("budget.work_all", (1, 1_000_000), "challenges a second", Value("500"))
        .about("How many of them all addresses together may ask for, with ten times as many at once."),
    number("budget.sockets", (1, 1_000_000), "sockets", Value("2000"))
        .about("Open WebSockets of an address or /64; more are answered 429."),
    number("budget.share", (1, 100), "percent", Value("5"))
        .about("How much of max_users may be users whom one IPv4 /24 or IPv6 /48 created and who never came back, and how much of data.max_bytes it may write; an address or /64 half as much, and 100 is no bound."),
    number("budget.connections", (1, 1_000_000), "connections", Unset("a quarter of all that may be open"))
        .about("Open connections of an address or /64, half of all at most from an IPv4 /24 or IPv6 /48; more are closed, and those of trusted_proxies are not counted."),
    setting("cookie.domain", Kind::Domain, Unset("none (the cookie is the host's own, __Host-passerby)"))
        .about("The domain whose subdomains share a reader's cookie, which is then called __Secure-passerby."),
    setting("cookie.partitioned", Kind::Flag, Value("false"))
        .about("Whether the cookie is kept apart for each site that embeds this one (CHIPS), for readers in frames."),
    setting("mail.from", Kind::Text, Unset("none"))
        .about("The sender of e-mails, address or Name <address>; needed for mail.smtp."),
    setting("mail.smtp", Kind::Text, Unset("none (no e-mail is sent through SMTP)"))
        .about("The mail server: smtps://host[:port], or smtp://host[:port] with STARTTLS (on this machine without)."),
    setting("mail.smtp_username", Kind::Text, Unset("none")).about("The user name at the mail server."),
    setting("mail.smtp_password_secret", Kind::Text, Unset("none"))
        .about("The name of the secret that holds the password at the mail server."),
    setting("mail.webhook", Kind::Text, Unset("none (no e-mail is handed to a webhook)"))
        .about("The https:// address that sends e-mails instead of mail.smtp."),
    setting("mail.webhook_secret", Kind::Text, Unset("none"))
        .about("The name of the secret that signs requests to mail.webhook: whsec_ and 32 to 64 bytes in base64."),
    setting("refresh.grace", Kind::Whole { min: 0, max: 1 }, Value("1"))
        .about("Whether (1) or not (0) the previous /v1 refresh token still returns the current one."),
    setting("outbound.allow", Kind::Reachable, Value(""))
        .about("Origins that the server may fetch from at any address, such as a private issuer; all others must be https at a public address."),
    number("actors.idle", (1, 86_400), "s", Value("60")).about("How long a session actor stays without a message."),
    number("actors.max_live", (1, 10_000_000), "actors", Value("100000"))
        .about("Session actors alive at a time; beyond it the longest idle go first."),
    number("admission.permits", (1, 1_000_000), "requests", Value("4096"))
        .about("Stateful requests in progress at a time; more are answered 503 with Retry-After."),
    setting("http.index", Kind::Flag, Value("true"))
        .about("Whether / tells people what runs here and lets them try it, and programs where the API is described; otherwise it is answered 404."),
    number("http.max_body", (1024, 16 << 20), "bytes", Value("65536")).about("The longest request body."),
    number("http.max_connections", (1, 1_000_000), "connections", Value("25000"))
        .about("Open connections per worker, as far as the limit on open files allows; an eighth of it is kept back."),
    number("http.max_sockets", (1, 1_000_000), "sockets", Value("20000"))
        .about("Open WebSockets of all workers together; more are answered 503."),
    number("http.client_timeout", (1, 300), "s", Value("5"))
        .about("Time a client has for the first request head of a connection, and for each body, before it is cut off; with a later head or unread answers it is, after twice this and http.request_timeout."),
    number("http.keep_alive", (1, 3600), "s", Value("75")).about("How long a connection without a request stays open."),
    number("http.request_timeout", (1, 300), "s", Value("10"))
        .about("How long a request waits for its commit before it is answered 503."),
    number("drain.notice", (0, 600), "s", Value("0"))
        .about("Time between /readyz turning 503 and the end of accepting, for load balancers to notice."),
    number("drain.timeout", (1, 3600), "s", Value("30"))
        .about("Time that requests in progress have to finish at the end."),
    setting("log.format", Kind::Choice(&["human", "json"]), Value("human"))
        .about("Form of the log lines on standard error."),
    setting("log.filter", Kind::Filter, Value("info,actix_server=warn,actix_http=off"))
        .about("Which log lines are written, such as info,passerby=debug."),
];
