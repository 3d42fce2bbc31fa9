//! `passerby networks`: what networks have spent of their budgets, and which are blocked.

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Api;
use super::outcome::{Failure, print};
use super::remote::{Remote, items, text, with_query};
use super::table::{Cell, Table, Tone};
use super::terminal::confirm;

/// What can be done with networks.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum NetworksCommand {
    /// List the networks that have spent the most of a budget, and all that are blocked
    List {
        /// How many, at most 500
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
    },
    /// Show what a network and the wider ones that it is part of have spent
    Show {
        /// An address or a prefix, such as 192.0.2.0/24
        network: String,
    },
    /// Refuse newcomers and logins of a network
    Block {
        /// An address or a prefix
        network: String,
        /// When that ends by itself, such as 2027-01-31T00:00:00Z
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Why, for other admins
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Lift the block of a network, and give it its budgets back
    Lift {
        /// An address or a prefix
        network: String,
    },
}

const NETWORKS: &str = "/v1/admin/networks";

pub(super) async fn networks(api: &Api, remote: &Remote, command: &NetworksCommand) -> Result<(), Failure> {
    match command {
        NetworksCommand::List { limit } => {
            let answer = api.ask("GET", &with_query(NETWORKS, &[("limit", Some(limit.to_string()))]), None).await?;
            remote.show(&answer, show);
        }
        NetworksCommand::Show { network } => {
            let answer = api.ask("GET", &with_query(NETWORKS, &[("network", Some(network.clone()))]), None).await?;
            remote.show(&answer, show);
        }
        NetworksCommand::Block { network, until, reason, yes } => {
            confirm(&format!("Newcomers and logins of {network} are refused"), *yes)?;
            let body = json!({ "network": network, "until": until, "reason": reason });
            let answer = api.ask("POST", &format!("{NETWORKS}/block"), Some(body)).await?;
            remote.show(&answer, |answer| print(&format!("{} is blocked\n", text(answer, "network"))));
        }
        NetworksCommand::Lift { network } => {
            let answer = api.ask("POST", &format!("{NETWORKS}/lift"), Some(json!({ "network": network }))).await?;
            let wider = answer["blocked"]["network"].as_str();
            remote.show(&answer, |answer| {
                let block = match (answer["lifted"] == true, wider) {
                    (true, _) => "the block is lifted",
                    (false, Some(_)) => "there is no block of its own",
                    (false, None) => "it was not blocked",
                };
                print(&format!("{}: {block}, and it has its budgets back\n", text(answer, "network")));
            });
            if let Some(wider) = wider {
                return Err(Failure::other(format!("{network} is still blocked, as a part of {wider}: lift that")));
            }
        }
    }
    Ok(())
}

fn show(answer: &Value) {
    let mut table = Table::new(["NETWORK", "STATE", "BUDGET", "SPENT", "LEFT"]);
    for network in items(answer, "networks") {
        let state = || match network["blocked"].is_null() {
            true => Cell::new("open", Tone::Good),
            false => Cell::new("blocked", Tone::Bad),
        };
        for (name, budget) in network["budget"].as_object().into_iter().flatten() {
            let [spent, left] = ["spent", "left"].map(|key| budget[key].to_string());
            table.row([text(network, "network").into(), state(), name.into(), spent.into(), left.into()]);
        }
    }
    table.print();
    if answer["limits"] == false {
        print("the limits are off in the settings, so nothing is spent\n");
    }
    let mut blocked = Table::new(["BLOCKED", "SINCE", "UNTIL", "BY", "REASON"]).cutting(["REASON"]);
    let mut blocks = items(answer, "blocked").peekable();
    if blocks.peek().is_some() {
        print("\n");
        for block in blocks {
            blocked.row(["network", "at", "until", "by", "reason"].map(|name| text(block, name).into()));
        }
        blocked.print();
    }
}
