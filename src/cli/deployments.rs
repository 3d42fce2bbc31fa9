//! `passerby deployments`: what was deployed, and deploying it again.

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Api;
use super::outcome::{Failure, complain, print};
use super::remote::{Remote, items, number, text};
use super::table::{Cell, Table, Tone};
use super::terminal::{can_ask, clean, confirm, is_coloured};

/// What can be done with deployments.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum DeploymentsCommand {
    /// List those that are kept, the newest first
    List,
    /// Show one, and what would change if it were deployed again
    Show {
        /// Its number
        number: u64,
    },
    /// Deploy one again, under a number of its own
    Deploy {
        /// Its number
        number: u64,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Said instead of a difference.
pub(super) const NOTHING: &str = "nothing differs from what is in force\n";
const DEPLOYMENTS: &str = "/v1/admin/deployments";
/// Lines that did not change, before and after those that did.
const CONTEXT: usize = 3;

pub(super) async fn deployments(api: &Api, remote: &Remote, command: &DeploymentsCommand) -> Result<(), Failure> {
    match command {
        DeploymentsCommand::List => {
            let answer = api.ask("GET", DEPLOYMENTS, None).await?;
            remote.show(&answer, |answer| list(items(answer, "deployments")));
        }
        DeploymentsCommand::Show { number } => {
            let answer = api.ask("GET", &format!("{DEPLOYMENTS}/{number}"), None).await?;
            remote.show(&answer, |answer| {
                list([answer].into_iter());
                show_difference(answer);
            });
        }
        DeploymentsCommand::Deploy { number, yes } => {
            can_ask(*yes)?;
            let one = api.ask("GET", &format!("{DEPLOYMENTS}/{number}"), None).await?;
            show_before_asking(remote, &one, *yes);
            confirm("This is deployed, and is in force at once", *yes)?;
            let body = json!({ "seen": one["deployment"] });
            let answer = api.ask("POST", &format!("{DEPLOYMENTS}/{number}/deploy"), Some(body)).await?;
            remote.show(&answer, is_deployed);
        }
    }
    Ok(())
}

/// What is in force now.
pub(super) fn is_deployed(answer: &Value) {
    if answer["changed"] == false {
        return print(NOTHING);
    }
    print(&format!("deployment {} is in force\n", number(answer, "number")));
}

fn list<'a>(deployments: impl Iterator<Item = &'a Value>) {
    let mut table = Table::new(["NUMBER", "STATE", "AT", "BY", "FROM", "NAME"]).cutting(["NAME"]);
    for one in deployments {
        let state = match one["in_force"] == true {
            true => Cell::new("in force", Tone::Good),
            false => Cell::new("", Tone::Plain),
        };
        let from = match one["redeploy_of"].as_u64() {
            Some(again) => format!("deployment {again}"),
            None => text(one, "origin").to_owned(),
        };
        let (at, by, name) = (text(one, "at"), text(one, "by"), text(one, "name"));
        table.row([number(one, "number").into(), state, at.into(), by.into(), from.into(), name.into()]);
    }
    table.print();
}

/// Prints what differs: a sentence for each change, and the lines round them.
pub(super) fn show_difference(difference: &Value) {
    print(&as_text(difference, is_coloured()));
}

/// What somebody is about to be asked about. Where standard output is for programs, it goes beside it.
pub(super) fn show_before_asking(remote: &Remote, difference: &Value, yes: bool) {
    if !remote.json {
        show_difference(difference);
    } else if !yes {
        complain(&as_text(difference, false));
    }
}

fn as_text(difference: &Value, coloured: bool) -> String {
    let mut out: String = items(difference, "changes")
        .map(|change| format!("{}\n", clean(change.as_str().unwrap_or_default())))
        .collect();
    let lines: Vec<_> = items(difference, "lines").collect();
    let changed: Vec<_> = (0..lines.len()).filter(|at| lines[*at]["side"] != "both").collect();
    let is_near = |at: usize| changed.iter().any(|of| of.abs_diff(at) <= CONTEXT);
    let mut is_after_gap = false;
    for (at, line) in lines.iter().enumerate() {
        if !is_near(at) {
            is_after_gap = true;
            continue;
        }
        if std::mem::take(&mut is_after_gap) {
            out.push_str("  …\n");
        }
        let (sign, colour) = match text(line, "side") {
            "before" => ('-', "31"),
            "after" => ('+', "32"),
            _ => (' ', "0"),
        };
        let line = clean(text(line, "text"));
        out.push_str(&match coloured && sign != ' ' {
            true => format!("\u{1b}[{colour}m{sign} {line}\u{1b}[0m\n"),
            false => format!("{sign} {line}\n"),
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_with_the_lines_round_it_and_in_colour_on_a_terminal() {
        let both = |text: &str| json!({ "side": "both", "text": text });
        let mut lines: Vec<_> = ["1", "2", "3", "4", "5"].into_iter().map(both).collect();
        lines.push(json!({ "side": "before", "text": "\"disabled\": false" }));
        lines.push(json!({ "side": "after", "text": "\"disabled\": true" }));
        lines.extend(["6", "7", "8", "9"].into_iter().map(both));
        let difference = json!({ "changes": ["anon-user: enabled → disabled\u{1b}[2J"], "lines": lines });
        assert_eq!(
            as_text(&difference, false),
            "anon-user: enabled → disabled\u{fffd}[2J\n  …\n  3\n  4\n  5\n- \"disabled\": false\n+ \"disabled\": true\n  6\n  7\n  8\n"
        );
        let coloured = as_text(&difference, true);
        assert!(coloured.contains("\u{1b}[31m- \"disabled\": false\u{1b}[0m\n"), "{coloured:?}");
        assert!(coloured.contains("\u{1b}[32m+ \"disabled\": true\u{1b}[0m\n"), "{coloured:?}");
    }
}
