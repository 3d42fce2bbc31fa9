//! The admin listener: health, readiness, metrics and the admin API. It answers from the first moment, also while recovering.

mod answer;
mod asked;
mod console;
mod created;
mod deploying;
mod exposition;
mod host;
mod listener;
mod phase;
mod routes;
mod rule;
mod table;
mod test_clock;
mod v1;
mod v3;
mod whom;

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use passerby_actors::actor::{Bound, Fullness};
use passerby_actors::domain::Family;
use passerby_actors::histogram::{self, Histogram};
use passerby_actors::store::Health;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use self::asked::Way;
use self::exposition::{Form, as_text};
pub use self::listener::AdminListener;
pub(crate) use self::phase::Phase;
use self::phase::SharedPhase;
pub use self::routes::rules;
pub use self::rule::Rule;
use super::body;
use super::context::{NO_STORE, allow, options};
use crate::provider::PasswordWork;
use crate::provider::password::Passwords;
use crate::server::Server;
use crate::telemetry;

/// Adds the routes.
fn routes(config: &mut web::ServiceConfig) {
    let other = || {
        web::to(|request: HttpRequest, payload: web::Payload| async move {
            body::leave(&request, payload);
            if *request.method() == Method::OPTIONS {
                return options("GET");
            }
            let mut response = status(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed");
            let (name, value) = allow("GET");
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
            response
        })
    };
    let head = web::head;
    let health = web::resource("/healthz").get(healthz).route(head().to(healthz)).default_service(other());
    let ready = web::resource("/readyz").get(readyz).route(head().to(readyz)).default_service(other());
    let figures = web::resource("/metrics").get(metrics).route(head().to(metrics)).default_service(other());
    console::routes(config, other);
    config.service(health).service(ready).service(figures).default_service(web::to(nowhere));
}

async fn nowhere(
    request: HttpRequest,
    payload: web::Payload,
    phase: web::Data<SharedPhase>,
    way: web::Data<Way>,
) -> HttpResponse {
    body::leave(&request, payload);
    if *request.method() == Method::OPTIONS && request.path() == "*" {
        return options("GET");
    }
    let of_the_api = routes::not_found(&request, &phase, &way);
    of_the_api.unwrap_or_else(|| status(StatusCode::NOT_FOUND, "not-found"))
}

fn status(code: StatusCode, status: &str) -> HttpResponse {
    HttpResponse::build(code)
        .insert_header(NO_STORE)
        .insert_header(("x-content-type-options", "nosniff"))
        .json(serde_json::json!({ "status": status }))
}

/// The process lives.
async fn healthz() -> HttpResponse {
    status(StatusCode::OK, "alive")
}

/// Whether requests should be sent here.
async fn readyz(phase: web::Data<SharedPhase>) -> HttpResponse {
    let unready = |why| status(StatusCode::SERVICE_UNAVAILABLE, why);
    match &*phase.read() {
        Phase::Recovering => unready("recovering"),
        Phase::Draining(_) => unready("draining"),
        Phase::Serving(server) if server.store.health() != Health::Writable => unready("not-writable"),
        Phase::Serving(server) => ready(server),
    }
}

/// Requests should be sent here, since no known user is refused; but newcomers or changes may be, or the next start would
/// fail, and the body says why.
fn ready(server: &Server) -> HttpResponse {
    let reason = |bound: &Bound| match bound.fullness() {
        Fullness::Room => None,
        Fullness::Nearly => Some(format!("{}-nearly-full", bound.name)),
        Fullness::Full => Some(format!("{}-full", bound.name)),
    };
    let keys = server.keys.is_missing().then(|| "keys-missing".to_owned());
    let reasons: Vec<_> = server.core.bounds().iter().filter_map(reason).chain(keys).collect();
    if reasons.is_empty() {
        return status(StatusCode::OK, "ready");
    }
    HttpResponse::Ok()
        .insert_header(NO_STORE)
        .insert_header(("x-content-type-options", "nosniff"))
        .json(serde_json::json!({ "status": "ready", "reasons": reasons }))
}

/// All figures, in the form that is asked for.
async fn metrics(request: HttpRequest, phase: web::Data<SharedPhase>) -> HttpResponse {
    let mut registry = Registry::with_prefix("passerby");
    let phase = phase.read().clone();
    match &phase {
        Phase::Recovering => {}
        Phase::Serving(server) | Phase::Draining(server) => register(&mut registry, server),
    }
    let mut text = String::new();
    if encode(&mut text, &registry).is_err() {
        return status(StatusCode::INTERNAL_SERVER_ERROR, "metrics-failed");
    }
    let form = Form::asked_for(request.headers());
    let text = match form {
        Form::OpenMetrics => text,
        Form::Text => as_text(&text),
    };
    HttpResponse::Ok().content_type(form.content_type()).insert_header((header::VARY, "Accept")).body(text)
}

fn register(registry: &mut Registry, server: &Server) {
    let mut counter = |name: &str, help: &str, value: &AtomicU64| {
        registry.register(name, help, ConstCounter::new(value.load(Ordering::Relaxed)));
    };
    let actors = server.core.stats();
    counter("logins", "Users created", &actors.logins);
    counter("activations", "Session actors started", &actors.activations);
    counter("passivations", "Session actors passivated", &actors.passivations);
    counter("actor_deaths", "Session actors that died", &actors.deaths);
    counter("requests_shed", "Operations refused without a permit", &actors.shed);
    counter(
        "strangers",
        "Genuine tokens and cookies of users who were never here: a second server has the same keys and different data",
        &actors.strangers,
    );
    counter("refresh_grace_uses", "Uses of the refresh token before the current one", &actors.grace_uses);
    counter("refresh_reuses", "Sessions ended because a refresh token was used again", &actors.reuses);
    let store = server.store.stats();
    counter("groups", "Groups made durable", &store.groups);
    counter("change_sets_done", "Change sets done", &store.sets_done);
    counter(
        "change_sets_conflicted",
        "Change sets that found a different version than they named",
        &store.sets_conflicted,
    );
    counter("change_sets_failed", "Change sets whose outcome is unknown", &store.sets_failed);
    counter("write_failures", "Failed writes or syncs of the journal", &store.write_failures);
    counter("generations", "Generations completed", &store.generations);
    counter("generation_failures", "Generations that could not be completed", &store.generation_failures);
    let links = server.linker.stats();
    counter("links", "Identities linked", &links.links);
    counter("link_conflicts", "Links refused because the identity has a different owner", &links.conflicts);
    counter("unlinks", "Identities unlinked", &links.unlinks);
    counter("merges", "Anonymous users who became part of an account", &links.merges);
    counter("merge_repeats", "Links and merges whose answer was given again", &links.repeats);
    counter("identity_logins", "Logins by an identity", &links.logins);
    counter("credential_changes", "Registrations, confirmations, requested e-mails, passwords set", &links.credentials);
    let sweep = server.janitor.stats();
    counter("sweep_pages", "Pages of users and values swept", &sweep.pages);
    counter("users_expired", "Users who were inactive for the whole window", &sweep.expired);
    counter("users_given_up", "Users who were created, never came back and were removed to make room", &sweep.given_up);

    let (unread, repeated) = telemetry::left_out();
    for (name, help, count) in [
        (
            "over_share_users",
            "Users not created because too many of their network never came back",
            server.budgets.over_share()[0],
        ),
        (
            "over_share_documents",
            "Changes refused to grow a document because their network had written too much",
            server.budgets.over_share()[1],
        ),
        (
            "connections_refused",
            "Connections closed at once because the server or their network has as many as it may",
            server.connections.refused(),
        ),
        (
            "network_blocked",
            "Newcomers and logins refused because an admin has blocked their network",
            server.budgets.blocks().refused(),
        ),
        (
            "admin_tokens_refused",
            "Tokens, keys and cookies shown to the admin API that were not good",
            server.admins.tokens_refused(),
        ),
        (
            "log_lines_dropped",
            "Log lines dropped because their reader was too slow, and events that came faster than they could be logged",
            unread + server.core.stats().unlogged.load(Ordering::Relaxed),
        ),
        ("log_lines_sampled", "Warnings left out because one place in the code wrote too many", repeated),
    ] {
        registry.register(name, help, ConstCounter::new(count));
    }
    let [create, link, bad_tokens, challenges] = server.budgets.refused();
    let proofs = server.challenges.counts();
    for (name, help, count) in [
        ("over_budget_creates", "Users not created because their network had created too many", create),
        ("over_budget_links", "Identities not tried because their network had tried too many", link),
        ("over_budget_tokens", "Tokens that are not ours, beyond what their network may present", bad_tokens),
        (
            "over_budget_challenges",
            "Proofs of work not asked for because their network had been asked too often",
            challenges,
        ),
        (
            "data_refused",
            "Requests refused because of the work on documents that they would cost",
            server.data_work.refused(),
        ),
        (
            "data_waited",
            "Requests that waited for their turn because of the work on documents that they ask for",
            server.data_work.waited(),
        ),
        ("challenges_made", "Proofs of work that were asked for", proofs.issued),
        ("proofs_taken", "Proofs of work that were accepted", proofs.taken),
        ("proofs_refused", "Proofs of work that were wrong, late, used or of a different network", proofs.refused),
    ] {
        registry.register(name, help, ConstCounter::new(count));
    }
    let passwords = server.deployments.password_work().map(PasswordWork::passwords);
    for (name, help, count) in [
        (
            "passwords_turned_away",
            "Passwords not hashed because too many were waiting",
            passwords.map_or(0, Passwords::turned_away),
        ),
        (
            "password_work_wanted",
            "Passwords not hashed without a proof of work because many of their network were waiting",
            server.budgets.busy_count(),
        ),
    ] {
        registry.register(name, help, ConstCounter::new(count));
    }
    let waiting = passwords.map_or(0, |passwords| i64::try_from(passwords.waiting()).unwrap_or(i64::MAX));
    registry.register("passwords_waiting", "Passwords that wait to be hashed", ConstGauge::new(waiting));
    if let Some(mailer) = &server.mailer {
        let counts = mailer.counts();
        for (name, help, count) in [
            ("mails_delivered", "E-mails accepted by the mail server or the webhook", counts.delivered),
            ("mails_failed", "E-mails given up", counts.failed),
            ("mail_retries", "Attempts at an e-mail beyond the first", counts.retries),
            ("mails_refused", "E-mails refused because too many were waiting", counts.refused),
        ] {
            registry.register(name, help, ConstCounter::new(count));
        }
    }
    let mut gauge = |name: &str, help: &str, unit: Option<Unit>, value: u64| {
        let metric = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        match unit {
            Some(unit) => registry.register_with_unit(name, help, unit, metric),
            None => registry.register(name, help, metric),
        }
    };
    gauge("deployment_number", "Number of the deployment in force", None, server.app().number);
    gauge("users", "Users who are stored", None, server.store.users() as u64);
    let bytes = server.store.document_bytes() as u64;
    gauge("data", "Size of all documents", Some(Unit::Bytes), bytes);
    let bytes = server.core.policy().documents_bytes as u64;
    gauge("data_limit", "Limit on the size of all documents", Some(Unit::Bytes), bytes);
    gauge("sockets", "Open sockets", None, server.sockets.count());
    gauge("sockets_limit", "Limit on open sockets", None, server.sockets.most());
    gauge("connections", "Open connections of the public listener", None, server.connections.count());
    gauge("connections_limit", "Limit on open connections of the public listener", None, server.connections.most());
    gauge(
        "user_index",
        "1 if there is an index of users for the admin API's lists",
        None,
        u64::from(server.core.has_user_index()),
    );
    gauge("accounts", "Users who are accounts", None, server.store.accounts() as u64);
    gauge("live_users", "Users with a session actor", None, server.core.live_users() as u64);
    gauge(
        "commits_waiting",
        "Commits that wait until those before them are on the disk",
        None,
        server.store.waiting() as u64,
    );
    gauge("writable", "1 if changes can be stored", None, u64::from(server.may_refuse()));
    let missing = server.keys.is_missing();
    gauge("keys_missing", "1 if a start would not find the signing keys in use", None, u64::from(missing));
    let bytes = store.journal_bytes.load(Ordering::Relaxed);
    gauge("journal", "The journal's length", Some(Unit::Bytes), bytes);
    let round_s = sweep.round_s.load(Ordering::Relaxed);
    gauge("sweep_round", "Duration of the last whole sweep", Some(Unit::Seconds), round_s);
    gauge(
        "service_time",
        "Seconds of service, by which everything expires",
        Some(Unit::Seconds),
        server.clock().now().into(),
    );

    let stored = &server.store;
    let keys = Family::NAMES.map(|(family, name)| (name, stored.keys(family) as u64));
    let indexes = [("identities", stored.identities() as u64), ("aliases", stored.aliases() as u64)];
    let in_memory = [
        ("budgets", server.budgets.held() as u64),
        ("one-time-codes", server.codes.count(server.clock().running()) as u64),
        ("left-sessions", server.left.count() as u64),
        ("solved-challenges", server.challenges.remembered() as u64),
        ("networks-with-sockets", server.sockets.networks() as u64),
        ("networks-with-connections", server.connections.networks() as u64),
    ];
    let keys = keys.into_iter().chain(indexes).chain(in_memory).collect();
    registry.register("keys", "Keys of each family, in the store and in memory", Labelled("family", keys));
    let bounds = server.core.bounds();
    let of_bounds = |figure: fn(&Bound) -> u64| Labelled("bound", bounds.iter().map(|b| (b.name, figure(b))).collect());
    registry.register("bound_used", "Use of each bound over all users", of_bounds(|bound| bound.used as u64));
    registry.register("bound_limit", "The bounds", of_bounds(|bound| bound.most as u64));
    registry.register("bound_percent", "How much of each bound is used", of_bounds(Bound::percent));

    let mut duration = |name: &str, help: &str, histogram: &Histogram| {
        registry.register_with_unit(name, help, Unit::Seconds, Durations(histogram.snapshot()));
    };
    duration("group", "Time of a group: checked, written, synced, applied, answered", &store.group);
    duration("snapshot_hold", "Time a map was held for a snapshot", &store.snapshot_hold);
    duration("generation_pause", "Time a generation kept the writer from its next group", &store.generation_pause);
    duration("sweep_hold", "Time a map was held by the sweep", &sweep.hold);
    duration("sweep_tick", "Time a tick of the sweep spent on maps", &sweep.tick);
    duration("shed", "Time until a request was answered 503", &server.shed);
    let classes = std::array::from_fn(|class| server.responses[class].load(Ordering::Relaxed));
    registry.register("http_responses", "Responses of the public listener by class of status", Responses(classes));
}

/// A histogram as Prometheus reads it, in seconds.
#[derive(Debug)]
struct Durations(histogram::Snapshot);

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        let seconds = |us: u64| us as f64 / 1e6;
        let bucket = |&(bound, count): &(Option<u64>, u64)| (bound.map_or(f64::MAX, seconds), count);
        let buckets: Vec<(f64, u64)> = self.0.buckets.iter().map(bucket).collect();
        let count = self.0.buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(seconds(self.0.sum_us), count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// A gauge for each value of a label.
#[derive(Debug)]
struct Labelled(&'static str, Vec<(&'static str, u64)>);

impl EncodeMetric for Labelled {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        for (value, number) in &self.1 {
            let number = i64::try_from(*number).unwrap_or(i64::MAX);
            encoder.encode_family(&[(self.0, *value)])?.encode_gauge(&number)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

/// Counts of responses: 1xx first.
#[derive(Debug)]
struct Responses([u64; 5]);

impl EncodeMetric for Responses {
    fn encode(&self, mut encoder: MetricEncoder) -> Result<(), std::fmt::Error> {
        for (class, count) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(&self.0) {
            encoder.encode_family(&[("class", class)])?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}
