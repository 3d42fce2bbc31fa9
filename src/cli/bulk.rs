//! One action on many users: how many fit is said first, and then how far it has come.

use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::api::Api;
use super::outcome::{Failure, complain, print};
use super::remote::{Remote, number, text};
use super::terminal::{can_ask, confirm};
use super::user_filter::UserFilter;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(200);
const JOB: &str = "/v1/admin/bulk";

/// Users by their ids, or all to whom something applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Whom {
    /// Ids of users, as `users list` shows them
    #[arg(value_name = "USER")]
    users: Vec<String>,
    #[command(flatten)]
    filter: UserFilter,
    /// Everybody
    #[arg(long, help_heading = "Which users")]
    everybody: bool,
    /// Only say how many users it is
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// What is meant by it.
pub(super) enum Meant<'a> {
    /// These.
    These(&'a [String]),
    /// All to whom these fields of a filter apply.
    All(Value),
}

impl Whom {
    /// Either ids or a filter, and nothing by mistake.
    pub(super) fn meant(&self) -> Result<Meant<'_>, Failure> {
        let fields = self.filter.fields();
        match (self.users.is_empty(), fields.is_empty(), self.everybody) {
            (false, true, false) if self.dry_run => {
                Err(Failure::usage("--dry-run is for a filter: these users are named"))
            }
            (false, true, false) => Ok(Meant::These(&self.users)),
            (true, false, false) | (true, true, true) => Ok(Meant::All(Value::Object(fields))),
            (true, true, false) => {
                Err(Failure::usage("which users? give their ids, a filter such as --anonymous, or --everybody"))
            }
            _ => Err(Failure::usage("give ids, a filter or --everybody, and not several of them")),
        }
    }

    pub(super) fn yes(&self) -> bool {
        self.yes
    }

    /// Does an action of a bulk job to all to whom the filter applies.
    pub(super) async fn all(&self, api: &Api, remote: &Remote, action: &str, filter: &Value) -> Result<(), Failure> {
        if !self.dry_run {
            can_ask(self.yes)?;
        }
        let dry = run(api, action, filter, true).await?;
        let matched = number(&dry["users"], "matched");
        if self.dry_run {
            remote.show(&dry, |_| print(&format!("{matched} users\n")));
            return Ok(());
        }
        confirm(&format!("{action}: {matched} users"), self.yes)?;
        let done = run(api, action, filter, false).await?;
        remote.show(&done, say);
        if text(&done, "state") == "done" { Ok(()) } else { Err(Failure::other(why_not(&done))) }
    }
}

fn why_not(job: &Value) -> String {
    let (state, error) = (text(job, "state"), text(job, "error"));
    if error.is_empty() { format!("the job was {state}") } else { format!("the job {state}: {error}") }
}

/// In words, how far a job has come.
pub(super) fn say(job: &Value) {
    let users = &job["users"];
    let dry = if job["dry_run"] == true { " (dry run)" } else { "" };
    let (number_of_job, action, state) = (number(job, "number"), text(job, "action"), text(job, "state"));
    print(&format!(
        "job {number_of_job}, {action}{dry}: {state}; {} users fit, {} changed, {} deleted, {} were so already, {} busy\n",
        number(users, "matched"),
        number(users, "changed"),
        number(users, "removed"),
        number(users, "unchanged"),
        number(users, "busy"),
    ));
}

/// How far something has come that takes long; nothing is drawn where standard error is no terminal.
pub(super) fn progress(length: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}") {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_owned());
    bar
}

/// Begins a job and waits for its end.
async fn run(api: &Api, action: &str, filter: &Value, dry_run: bool) -> Result<Value, Failure> {
    let body = json!({ "action": action, "filter": filter, "dry_run": dry_run });
    let mut job = api.ask("POST", JOB, Some(body)).await?;
    let begun = job["number"].clone();
    let bar = progress(job["about"].as_u64().unwrap_or(0), if dry_run { "counting" } else { action });
    while text(&job, "state") == "running" {
        let at = job["users"]["matched"].as_u64().unwrap_or(0);
        bar.set_length(job["about"].as_u64().unwrap_or(0).max(at));
        bar.set_position(at);
        tokio::time::sleep(EVERY).await;
        job = api.ask("GET", JOB, None).await?;
        if job["number"] != begun {
            bar.abandon();
            return Err(Failure::other("another job was begun meanwhile: the end of this one is in the audit log"));
        }
    }
    bar.finish_and_clear();
    Ok(job)
}

/// Shows the job that was begun last, or stops it.
pub(super) async fn job(api: &Api, remote: &Remote, stop: bool) -> Result<(), Failure> {
    let job = api.ask("GET", JOB, None).await?;
    if !stop {
        remote.show(&job, say);
        return Ok(());
    }
    api.ask("POST", &format!("{JOB}/{}/stop", number(&job, "number")), None).await?;
    complain("it stops after the users whose change is under way\n");
    Ok(())
}
