//! `passerby meters`: the meters as they are configured, and those of a user.

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Api;
use super::outcome::Failure;
use super::remote::{Remote, escaped, given, items, number, text};
use super::table::Table;
use super::terminal::confirm;

/// What can be done with meters.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum MetersCommand {
    /// List the meters as they are configured, and how often each was used up
    List,
    /// Show the meters of a user
    Show {
        /// The user's id
        #[arg(value_parser = given)]
        user: String,
    },
    /// Allow a user more in the period that runs
    Grant {
        /// The user's id
        #[arg(value_parser = given)]
        user: String,
        /// The meter
        #[arg(value_parser = given)]
        meter: String,
        /// How much more
        amount: u32,
    },
    /// Let a meter of a user begin anew: nothing is used and nothing granted
    Reset {
        /// The user's id
        #[arg(value_parser = given)]
        user: String,
        /// The meter
        #[arg(value_parser = given)]
        meter: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn meters(api: &Api, remote: &Remote, command: &MetersCommand) -> Result<(), Failure> {
    let of = |user: &str, meter: &str, what: &str| {
        format!("/v1/admin/users/{}/meters/{}/{what}", escaped(user), escaped(meter))
    };
    let one = |answer: &Value| list([answer].into_iter());
    match command {
        MetersCommand::List => {
            let answer = api.ask("GET", "/v1/admin/meters", None).await?;
            remote.show(&answer, configured);
        }
        MetersCommand::Show { user } => {
            let answer = api.ask("GET", &format!("/v1/admin/users/{}", escaped(user)), None).await?;
            let told = json!({ "user_id": answer["user_id"], "meters": answer["meters"] });
            remote.show(&told, |told| list(items(told, "meters")));
        }
        MetersCommand::Grant { user, meter, amount } => {
            let answer = api.ask("POST", &of(user, meter, "grant"), Some(json!({ "amount": amount }))).await?;
            remote.show(&answer, one);
        }
        MetersCommand::Reset { user, meter, yes } => {
            confirm(&format!("The meter {meter} of {user} forgets what is used, and what was granted"), *yes)?;
            let answer = api.ask("POST", &of(user, meter, "reset"), None).await?;
            remote.show(&answer, one);
        }
    }
    Ok(())
}

fn configured(answer: &Value) {
    let mut table = Table::new(["METER", "LIMIT", "WINDOW", "ACCOUNTS", "WALLS, HOUR", "MONTH"]);
    for meter in items(answer, "meters") {
        let accounts = match &meter["accounts"] {
            Value::Null => "same".to_owned(),
            told => told.as_str().map_or_else(|| told.to_string(), str::to_owned),
        };
        let (name, limit, window) = (text(meter, "name"), number(meter, "limit"), text(meter, "window"));
        let (hour, month) = (number(&meter["walls"], "hour"), number(&meter["walls"], "month"));
        table.row([name.into(), limit.into(), window.into(), accounts.into(), hour.into(), month.into()]);
    }
    table.print();
}

fn list<'a>(meters: impl Iterator<Item = &'a Value>) {
    let mut table = Table::new(["METER", "USED", "LIMIT", "LEFT", "GRANTED", "RESETS"]);
    for meter in meters {
        let [used, limit, left, granted] = ["used", "limit", "left", "granted"].map(|name| number(meter, name));
        let (name, resets) = (text(meter, "name"), text(meter, "resets"));
        table.row([name.into(), used.into(), limit.into(), left.into(), granted.into(), resets.into()]);
    }
    table.print();
}
