//! `passerby sessions`: the sessions of a user, and the end of one.

use clap::Subcommand;
use serde_json::Value;

use super::api::Api;
use super::outcome::{Failure, print};
use super::remote::{Remote, escaped, items, text};
use super::table::Table;
use super::terminal::confirm;

/// What can be done with sessions.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum SessionsCommand {
    /// List the sessions of a user
    List {
        /// The user's id
        user: String,
    },
    /// End one session; with its last one an anonymous user is gone
    End {
        /// The user's id
        user: String,
        /// The session's id, as in the list
        session: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn sessions(api: &Api, remote: &Remote, command: &SessionsCommand) -> Result<(), Failure> {
    match command {
        SessionsCommand::List { user } => {
            let answer = api.ask("GET", &format!("/v1/admin/users/{}", escaped(user)), None).await?;
            remote.show(&answer["sessions"], |_| list(&answer));
        }
        SessionsCommand::End { user, session, yes } => {
            confirm(
                &format!("The session {session} ends, and if it is an anonymous user's last one the user is gone"),
                *yes,
            )?;
            let path = format!("/v1/admin/users/{}/sessions/{}", escaped(user), escaped(session));
            let answer = api.ask("DELETE", &path, None).await?;
            remote.show(&answer, |_| print(&format!("{session} is ended\n")));
        }
    }
    Ok(())
}

fn list(user: &Value) {
    let mut table = Table::new(["SESSION", "BEGUN BY", "BEGAN", "LAST USED", "DEVICE"]);
    for session in items(user, "sessions") {
        table.row(["id", "method", "started", "last_used", "device_id"].map(|name| text(session, name).into()));
    }
    table.print();
}
