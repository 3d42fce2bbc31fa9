//! One action on many users: how many fit is said first, and then how far it has come.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::api::Api;
use super::outcome::{Failure, complain, print};
use super::remote::{Remote, given, many, number, text};
use super::terminal::{can_ask, confirm};
use super::user_filter::UserFilter;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(200);
const JOB: &str = "/v1/admin/bulk";

/// Users by their ids, or all to whom something applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Whom {
    /// Ids of users, as `users list` shows them
    #[arg(value_name = "USER", value_parser = given)]
    users: Vec<String>,
    #[command(flatten)]
    filter: UserFilter,
    /// Everybody
    #[arg(long, help_heading = "Which users")]
    everybody: bool,
    /// Only say how many users it is, and what would become of them
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
        if self.dry_run || !self.yes {
            let dry = run(api, action, filter, true).await?;
            is_done(&dry)?;
            let matched = fitting(&dry);
            let is_needless = count(&dry, "changed") + count(&dry, "removed") == 0;
            let will = if is_needless { "this changes none of them".to_owned() } else { will(action, &dry) };
            if self.dry_run || is_needless {
                remote.show(&dry, |_| print(&format!("{matched}, and nothing is done: {will}\n")));
                return Ok(());
            }
            confirm(&format!("{matched}: {will}"), false)?;
        }
        if std::io::stderr().is_terminal() {
            complain("the server goes on with it also if this command ends; `passerby users job --stop` stops it\n");
        }
        let done = run(api, action, filter, false).await?;
        remote.show(&done, say);
        is_done(&done)
    }
}

fn count(job: &Value, what: &str) -> u64 {
    job["users"][what].as_u64().unwrap_or(0)
}

/// How many users the filter takes.
fn fitting(job: &Value) -> String {
    let matched = count(job, "matched");
    many(matched, "user") + if matched == 1 { " fits" } else { " fit" }
}

/// What an action does to so many users.
fn will(action: &str, job: &Value) -> String {
    let (changed, removed) = (count(job, "changed"), count(job, "removed"));
    match action {
        "end-sessions" => {
            let accounts = || format!("ends all sessions of {}", many(changed, "account"));
            let strangers =
                || format!("deletes {} for good, who could never come back", many(removed, "anonymous user"));
            match (changed, removed) {
                (_, 0) => format!("this {}", accounts()),
                (0, _) => format!("this {}", strangers()),
                _ => format!("this {}, and {}", accounts(), strangers()),
            }
        }
        "delete" => {
            format!("this deletes {} for good, with all that is held about them", many(changed + removed, "user"))
        }
        action => format!("this {action}s {}", many(changed, "user")),
    }
}

fn is_done(job: &Value) -> Result<(), Failure> {
    if text(job, "state") == "done" { Ok(()) } else { Err(Failure::other(why_not(job))) }
}

fn why_not(job: &Value) -> String {
    let (state, error) = (text(job, "state"), text(job, "error"));
    if error.is_empty() { format!("the job was {state}") } else { format!("the job {state}: {error}") }
}

/// In words, how far a job has come.
pub(super) fn say(job: &Value) {
    let (dry, would) = if job["dry_run"] == true { (" (dry run)", " would be") } else { ("", "") };
    let (number_of_job, action, state) = (number(job, "number"), text(job, "action"), text(job, "state"));
    print(&format!(
        "job {number_of_job}, {action}{dry}: {state}; {}, {}{would} changed, {}{would} deleted, {} were so already, {} busy\n",
        fitting(job),
        count(job, "changed"),
        count(job, "removed"),
        count(job, "unchanged"),
        count(job, "busy"),
    ));
}

/// How far something has come that takes long; nothing is drawn where standard error is no terminal.
pub(super) fn progress(length: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {human_pos}/{human_len} {eta}") {
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
        let about = job["about"].as_u64().unwrap_or(0).max(at);
        // how many it will be is not known at once
        if about > 0 {
            bar.set_length(about);
            bar.set_position(at);
        }
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
    let mut job = api.ask("GET", JOB, None).await?;
    if stop {
        api.ask("POST", &format!("{JOB}/{}/stop", number(&job, "number")), None).await?;
        job = api.ask("GET", JOB, None).await?;
    }
    remote.show(&job, |job| {
        say(job);
        if stop {
            print("it stops after the users whose change is under way\n");
        }
    });
    Ok(())
}
