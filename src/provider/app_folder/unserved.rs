//! What an app folder has beside what is served. It does not stop the server, but nothing of it is ignored in silence: each
//! thing is a line with its file and what to do.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use super::document::{Document, OLD_PROVIDERS, PROVIDERS, ROOTS, names};

/// Files in the root that do not matter here.
const OTHERS: [&str; 4] = ["package.json", "package-lock.json", "tsconfig.json", "jsconfig.json"];
const SECRETS: &str = "secrets.json";
pub(super) const CUSTOM_USER_DATA: &str = "auth/custom_user_data.json";

/// The lines about a folder, whose own file is `root`.
pub(super) fn find(folder: &Path, root: Option<&Document>) -> Vec<String> {
    let mut found = Found { folder, lines: Vec::new(), unreadable: RefCell::default() };
    found.superseded(root);
    found.custom_user_data(root);
    found.triggers();
    found.sync(root);
    found.data();
    found.functions();
    found.the_rest(root);
    found.unknown();
    let unreadable =
        found.unreadable.into_inner().into_iter().map(|error| format!("{error}; what it configures is not known"));
    found.lines.extend(unreadable);
    found.lines
}

/// What a folder says of custom user data, if it can be read.
pub(super) fn custom_user_data(folder: &Path, root: Option<&Document>) -> Option<Map<String, Value>> {
    let own = Document::read(folder, CUSTOM_USER_DATA).ok().flatten().map(|document| document.content);
    own.or_else(|| root?.content.get("custom_user_data_config")?.as_object().cloned())
}

struct Found<'a> {
    folder: &'a Path,
    lines: Vec<String>,
    /// Files of which nothing can be said but this.
    unreadable: RefCell<BTreeSet<String>>,
}

impl Found<'_> {
    fn say(&mut self, file: &str, what: &str) {
        self.lines.push(format!("{}: {what}", self.folder.join(file).display()));
    }

    fn names(&self, inside: &str) -> Vec<String> {
        names(&self.folder.join(inside)).into_iter().filter(|name| !name.starts_with('.')).collect()
    }

    /// The JSON files of a folder that is there, without those that cannot be read.
    fn json(&self, inside: &str) -> Vec<(String, Map<String, Value>)> {
        let files = self.names(inside).into_iter().filter(|name| name.ends_with(".json"));
        files.filter_map(|name| Some((format!("{inside}/{name}"), self.object(&format!("{inside}/{name}"))?))).collect()
    }

    fn object(&self, file: &str) -> Option<Map<String, Value>> {
        let read = Document::read(self.folder, file);
        if let Err(error) = &read {
            self.unreadable.borrow_mut().insert(error.to_string());
        }
        read.ok().flatten().map(|document| document.content)
    }

    fn value(&self, file: &str) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.folder.join(file)).ok()?).ok()
    }

    /// Files of an older layout beside those of a newer one.
    fn superseded(&mut self, root: Option<&Document>) {
        let is_root = |name: &str| root.is_some_and(|root| Path::new(&root.file) == self.folder.join(name));
        if let Some(used) = ROOTS.iter().position(|name| is_root(name)) {
            for name in ROOTS.iter().skip(used + 1).filter(|name| self.folder.join(name).is_file()).collect::<Vec<_>>()
            {
                self.say(name, &format!("is not read, since {} is there: remove it", ROOTS[used]));
            }
        }
        if self.folder.join(PROVIDERS).is_file() && !self.names(OLD_PROVIDERS).is_empty() {
            self.say(OLD_PROVIDERS, &format!("is not read, since {PROVIDERS} is there: remove it"));
        }
    }

    fn custom_user_data(&mut self, root: Option<&Document>) {
        let of_root = root.and_then(|root| Some((root, root.content.get("custom_user_data_config")?.as_object()?)));
        let of_root = of_root.map(|(root, config)| (file_name(&root.file), config.clone()));
        let own = self.object(CUSTOM_USER_DATA).map(|config| (CUSTOM_USER_DATA.to_owned(), config));
        for (file, config) in own.into_iter().chain(of_root).filter(|(_, config)| is_on(config, "enabled")) {
            self.say(
                &file,
                "custom user data is enabled, but is not read from MongoDB here: user.customData is what data.token_fields \
                 shows of the user's document; set enabled to false",
            );
            if config.get("on_user_creation_function_name").and_then(Value::as_str).is_some_and(|name| !name.is_empty())
            {
                self.say(&file, "no function is run when a user is created: remove on_user_creation_function_name");
            }
        }
    }

    fn triggers(&mut self) {
        for (file, trigger) in self.json("triggers") {
            if is_on(&trigger, "disabled") {
                continue;
            }
            match trigger.get("type").and_then(Value::as_str) {
                Some("AUTHENTICATION") => self.say(
                    &file,
                    "no AUTHENTICATION trigger runs here: set disabled to true, and take the log's lines of the target \
                     passerby::events, which say who was created, linked, logged in and deleted",
                ),
                kind => {
                    let kind = kind.unwrap_or("such");
                    self.say(
                        &file,
                        &format!("no {kind} trigger runs here: leave it to Atlas, and set disabled to true"),
                    );
                }
            }
        }
    }

    fn sync(&mut self, root: Option<&Document>) {
        const WHAT: &str = "Device Sync is enabled, but is not served: clients that open a synced realm fail; \
                            set state to \"disabled\"";
        let enabled = |config: &Map<String, Value>| config.get("state").and_then(Value::as_str) == Some("enabled");
        for (file, _) in self.json("sync").iter().filter(|(_, config)| enabled(config)) {
            self.say(file, WHAT);
        }
        let in_development = |root: &&Document| {
            let sync = root.content.get("sync").or_else(|| root.content.get("realm_config"));
            sync.and_then(Value::as_object).is_some_and(|sync| is_on(sync, "development_mode_enabled"))
        };
        if let Some(root) = root.filter(in_development) {
            let what = "Device Sync's development mode is on, but Device Sync is not served: set it to false";
            self.say(&file_name(&root.file), what);
        }
        for inside in ["data_sources", "services"] {
            for name in self.names(inside) {
                let file = format!("{inside}/{name}/config.json");
                let config = self.object(&file).and_then(|config| config.get("config")?.as_object().cloned());
                let syncs = |config: &Map<String, Value>| {
                    ["sync", "flexible_sync"].iter().filter_map(|key| config.get(*key)?.as_object()).any(enabled)
                };
                if config.is_some_and(|config| syncs(&config)) {
                    self.say(&file, WHAT);
                }
            }
        }
    }

    fn data(&mut self) {
        for inside in ["data_sources", "services"] {
            for name in self.names(inside) {
                let file = format!("{inside}/{name}");
                let config = self.object(&format!("{file}/config.json"));
                let kind = config.as_ref().and_then(|config| config.get("type")?.as_str());
                match kind {
                    None | Some("mongodb-atlas" | "datalake" | "mongodb") => self.say(
                        &file,
                        "clients do not reach MongoDB through this server: reads and writes go through a server of yours, \
                         which checks the access token; a user's own document is /v1/data",
                    ),
                    Some(kind) => {
                        self.say(&file, &format!("the service {kind:?} is not served: call it from a server of yours"));
                    }
                }
                if !self.names(&format!("{file}/incoming_webhooks")).is_empty() {
                    let what = "webhooks are not served: point their callers at a server of yours";
                    self.say(&format!("{file}/incoming_webhooks"), what);
                }
            }
        }
    }

    fn functions(&mut self) {
        const FOLDER: &str = "functions";
        let is_function =
            |name: &String| name.ends_with(".js") || self.folder.join(FOLDER).join(name).join("source.js").is_file();
        let count = self.names(FOLDER).iter().filter(|name| is_function(name)).count();
        if count > 0 {
            self.say(FOLDER, &format!("functions are not run ({count} here): move what they do to a server of yours"));
        }
    }

    fn the_rest(&mut self, root: Option<&Document>) {
        let some = |value: Option<Value>| match value {
            Some(Value::Array(items)) => !items.is_empty(),
            Some(Value::Object(object)) => !object.is_empty(),
            _ => false,
        };
        let endpoints = |name: &String| name != "config.json" || some(self.value("http_endpoints/config.json"));
        if self.names("http_endpoints").iter().any(endpoints) {
            self.say("http_endpoints", "HTTPS endpoints are not served: point their callers at a server of yours");
        }
        if !self.names("graphql/custom_resolvers").is_empty() {
            self.say("graphql/custom_resolvers", "GraphQL is not served: serve it from a server of yours");
        }
        let hosting = self.object("hosting/config.json").map(|config| ("hosting/config.json".to_owned(), config));
        let of_root =
            root.and_then(|root| Some((file_name(&root.file), root.content.get("hosting")?.as_object()?.clone())));
        for (file, _) in hosting.into_iter().chain(of_root).filter(|(_, config)| is_on(config, "enabled")) {
            self.say(
                &file,
                "hosting is enabled, but no files are hosted here: host them elsewhere, and set enabled to false",
            );
        }
        for (file, forwarder) in self.json("log_forwarders") {
            if !is_on(&forwarder, "disabled") {
                self.say(&file, "logs are not forwarded: collect the lines of standard error (log.format = \"json\")");
            }
        }
        if !self.names("values").is_empty() {
            self.say("values", "values are not read: nothing that is served names one");
        }
        for (file, environment) in self.json("environments") {
            if some(environment.get("values").cloned()) {
                self.say(&file, "values of environments are not read: write them where they are used");
            }
        }
        if some(self.value(SECRETS)) {
            let what = "is not read: secrets come from variables such as PASSERBY_SECRET_NAME or from secrets_file, outside \
                        this folder";
            self.say(SECRETS, what);
        }
    }

    fn unknown(&mut self) {
        let known_in_auth = ["providers.json", "custom_user_data.json"];
        let of_auth = self.names("auth").into_iter().filter(|name| !known_in_auth.contains(&name.as_str()));
        let of_auth: Vec<_> = of_auth.map(|name| format!("auth/{name}")).collect();
        let known = |name: &str| ROOTS.contains(&name) || OTHERS.contains(&name) || name == SECRETS;
        let of_root = self.names("").into_iter().filter(|name| name.ends_with(".json") && !known(name));
        for file in of_auth.into_iter().chain(of_root.collect::<Vec<_>>()) {
            self.say(&file, "is not known here, and not read");
        }
    }
}

fn is_on(object: &Map<String, Value>, key: &str) -> bool {
    object.get(key) == Some(&Value::Bool(true))
}

fn file_name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
