//! `passerby sessions`: the sessions of a user and of admins, and the end of one.

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Api;
use super::outcome::{Failure, print};
use super::remote::{Remote, escaped, given, items, text};
use super::table::Table;
use super::terminal::confirm;

/// What can be done with sessions.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum SessionsCommand {
    /// List the sessions of a user
    List {
        /// The user's id
        #[arg(value_parser = given)]
        user: String,
    },
    /// List the sessions of all admins and API keys
    Admins,
    /// End a session of an admin or an API key
    EndAdmin {
        /// The session's id, as in the list
        #[arg(value_parser = given)]
        session: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// End one session; with its last one an anonymous user is gone
    End {
        /// The user's id
        #[arg(value_parser = given)]
        user: String,
        /// The session's id, as in the list
        #[arg(value_parser = given)]
        session: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

fn list_of_admins(answer: &Value) {
    let mut table = Table::new(["SESSION", "WHO", "BEGAN", "LAST USED", "ENDS", "FROM"]);
    for session in items(answer, "sessions") {
        let row = ["id", "who", "began", "last_used", "ends", "address"];
        table.row(row.map(|name| text(session, name).into()));
    }
    table.print();
}

pub(super) async fn sessions(api: &Api, remote: &Remote, command: &SessionsCommand) -> Result<(), Failure> {
    match command {
        SessionsCommand::List { user } => {
            let answer = api.ask("GET", &format!("/v1/admin/users/{}", escaped(user)), None).await?;
            let told = json!({ "user_id": answer["user_id"], "sessions": answer["sessions"] });
            remote.show(&told, list);
        }
        SessionsCommand::Admins => {
            let answer = api.ask("GET", "/v1/admin/sessions", None).await?;
            remote.show(&answer, list_of_admins);
        }
        SessionsCommand::EndAdmin { session, yes } => {
            confirm(&format!("The admin's session {session} ends"), *yes)?;
            api.ask("DELETE", &format!("/v1/admin/sessions/{}", escaped(session)), None).await?;
            remote.show(&json!({ "id": session, "ended": true }), |_| print(&format!("{session} is ended\n")));
        }
        SessionsCommand::End { user, session, yes } => {
            confirm(
                &format!("The session {session} ends, and if it is an anonymous user's last one the user is gone"),
                *yes,
            )?;
            let path = format!("/v1/admin/users/{}/sessions/{}", escaped(user), escaped(session));
            api.ask("DELETE", &path, None).await?;
            let told = json!({ "user_id": user, "id": session, "ended": true });
            remote.show(&told, |_| print(&format!("{session} is ended\n")));
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
