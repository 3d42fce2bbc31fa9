//! `passerby audit`: what admins did.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::api::Api;
use super::outcome::{Failure, print};
use super::remote::{Remote, items, text, with_query};
use super::table::{Cell, Table, Tone};
use super::terminal::clean_json;

/// What can be done with the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AuditCommand {
    /// List entries, the newest first
    List {
        /// Which ones.
        #[command(flatten)]
        filter: AuditFilter,
        /// How many, at most 500
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
        /// Go on where the page before ended, which names this
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Print all entries, a JSON object a line; with --json one object with all of them
    Export {
        /// Which ones.
        #[command(flatten)]
        filter: AuditFilter,
    },
}

/// Which entries are meant: those to which all of it applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct AuditFilter {
    /// Of this admin or key
    #[arg(long)]
    who: Option<String>,
    /// Of this action, such as user.delete
    #[arg(long)]
    what: Option<String>,
    /// About this user, admin or key
    #[arg(long)]
    whom: Option<String>,
}

impl AuditFilter {
    fn query(&self) -> Vec<(&'static str, Option<String>)> {
        vec![("who", self.who.clone()), ("what", self.what.clone()), ("whom", self.whom.clone())]
    }
}

pub(super) async fn audit(api: &Api, remote: &Remote, command: &AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::List { filter, limit, cursor } => {
            let mut query = filter.query();
            query.extend([("limit", Some(limit.to_string())), ("cursor", cursor.clone())]);
            let answer = api.ask("GET", &with_query("/v1/admin/audit", &query), None).await?;
            remote.show(&answer, list);
        }
        AuditCommand::Export { filter } => {
            let path = with_query("/v1/admin/audit/export", &filter.query());
            let lines = api.ask_bytes("GET", &path, None).await?;
            let lines = String::from_utf8(lines).map_err(|_| Failure::other("the server's answer is not text"))?;
            if !remote.json {
                print(&clean_json(&lines));
                return Ok(());
            }
            let entries: Result<Vec<Value>, _> = lines.lines().map(serde_json::from_str).collect();
            let entries = entries.map_err(|_| Failure::other("the server's answer is not lines of JSON"))?;
            remote.show(&json!({ "entries": entries }), |_| {});
        }
    }
    Ok(())
}

fn list(answer: &Value) {
    let mut table = Table::new(["AT", "WHO", "WHAT", "WHOM", "OUTCOME", "FROM", "AFTER"]).cutting(["AFTER"]);
    for entry in items(answer, "entries") {
        let outcome = text(entry, "outcome");
        let tone = if outcome == "done" { Tone::Good } else { Tone::Bad };
        let after = if entry["after"].is_null() { String::new() } else { entry["after"].to_string() };
        let [at, who, what, whom, from] = ["at", "who", "what", "whom", "address"].map(|name| text(entry, name).into());
        table.row([at, who, what, whom, Cell::new(outcome, tone), from, after.into()]);
    }
    table.print();
    if let Some(next) = answer["next"].as_str() {
        print(&format!("there are more: --cursor {next}\n"));
    }
}
