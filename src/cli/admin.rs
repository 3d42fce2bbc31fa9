//! `passerby admin`: looks after admins, of a server that runs by its admin API, and of one that is stopped in its data folder.

use std::io::IsTerminal as _;

use passerby_actors::store::embedded::OpenError;
use serde_json::{Value, json};

use super::api::Api;
use super::line::{AdminCommand, AdminRole};
use super::outcome::{Failure, print};
use super::remote::{Remote, escaped, items, text};
use super::table::{Cell, Table, Tone};
use super::terminal::{self, first_line};
use crate::admin::{By, Change, Fault, Role, Who, local};
use crate::config::{Settings, Storage};
use crate::provider::password::Password;
use crate::startup::{Ports, StartError, Stopped};

/// What is asked for, with its password.
enum Wanted {
    Create(String, Role, String),
    List,
    ResetPassword(String, String),
    Disable(String),
}

/// Who asks by an address or with a token asks a server; whoever may use the data folder is an owner.
pub(super) fn admin(
    remote: &Remote,
    command: &AdminCommand,
    variables: &[(String, String)],
    settings: impl FnOnce() -> Result<Settings, Failure>,
) -> Result<(), Failure> {
    let wanted = match command {
        AdminCommand::Create { name, role, password_stdin } => {
            Wanted::Create(name.clone(), (*role).into(), password(*password_stdin)?)
        }
        AdminCommand::List => Wanted::List,
        AdminCommand::ResetPassword { name, password_stdin } => {
            Wanted::ResetPassword(name.clone(), password(*password_stdin)?)
        }
        AdminCommand::Disable { name } => Wanted::Disable(name.clone()),
    };
    let done = if remote.is_by_token(variables) {
        let api = remote.open(variables, settings)?;
        actix_web::rt::System::new().block_on(by_api(&api, &wanted))
    } else {
        by_owner(&settings()?, &wanted)
    }?;
    remote.show(&done, |done| say(done, &wanted));
    Ok(())
}

fn by_owner(settings: &Settings, wanted: &Wanted) -> Result<Value, Failure> {
    if settings.storage == Storage::Memory {
        return Err(Failure::usage("storage is memory: a command on this machine cannot look into it"));
    }
    if !matches!(wanted, Wanted::Create(..)) && !settings.data_dir.is_dir() {
        return Err(Failure::other(format!("there is no folder {}", settings.data_dir.display())));
    }
    actix_web::rt::System::new().block_on(async {
        match Stopped::open(settings, Ports::system()).await {
            Ok(stopped) => {
                let done = in_folder(&stopped, wanted).await;
                stopped.close().await;
                done.map_err(Failure::other)
            }
            Err(StartError::Store(OpenError::InUse(_))) => by_api(&Api::of(settings, None)?, wanted).await,
            // only its own server opens a folder of tests
            Err(StartError::ForTestsAlone(_)) if local::read(&settings.data_dir).is_ok() => {
                by_api(&Api::of(settings, None)?, wanted).await
            }
            Err(error) => Err(error.into()),
        }
    })
}

/// On a server that is stopped.
async fn in_folder(Stopped { handle, admins, .. }: &Stopped, wanted: &Wanted) -> Result<Value, Fault> {
    let by = By::new(&Who::Local, Role::Owner, None);
    match wanted {
        Wanted::Create(name, role, password) => {
            let name = admins.create(handle, name, Password::new(password.clone()), *role, &by).await?;
            Ok(json!({ "name": name, "role": role }))
        }
        Wanted::List => {
            let admins = admins.list(handle)?;
            let admins = admins.iter().map(|(name, account)| {
                let (role, disabled, totp) = (account.role, account.disabled, account.totp.is_some());
                json!({ "name": name, "role": role, "disabled": disabled, "totp": totp })
            });
            Ok(json!({ "admins": admins.collect::<Vec<_>>() }))
        }
        Wanted::ResetPassword(name, password) => {
            let password = Some(Password::new(password.clone()));
            let change = Change { password, without_totp: true, ..Change::default() };
            admins.change(handle, name, change, &by).await?;
            Ok(reset(name))
        }
        Wanted::Disable(name) => {
            let change = Change { disabled: Some(true), ..Change::default() };
            admins.change(handle, name, change, &by).await?;
            Ok(disabled(name))
        }
    }
}

/// On a server that runs.
async fn by_api(api: &Api, wanted: &Wanted) -> Result<Value, Failure> {
    const ADMINS: &str = "/v1/admin/admins";
    let of = |name: &str| format!("{ADMINS}/{}", escaped(name));
    match wanted {
        Wanted::Create(name, role, password) => {
            api.ask("POST", ADMINS, Some(json!({ "name": name, "role": role, "password": password }))).await
        }
        Wanted::List => api.ask("GET", ADMINS, None).await,
        Wanted::ResetPassword(name, password) => {
            api.ask("PATCH", &of(name), Some(json!({ "password": password, "totp": false }))).await?;
            Ok(reset(name))
        }
        Wanted::Disable(name) => {
            api.ask("PATCH", &of(name), Some(json!({ "disabled": true }))).await?;
            Ok(disabled(name))
        }
    }
}

fn reset(name: &str) -> Value {
    json!({ "name": name, "password_set": true, "totp": false })
}

fn disabled(name: &str) -> Value {
    json!({ "name": name, "disabled": true })
}

fn say(done: &Value, wanted: &Wanted) {
    let name = text(done, "name");
    match wanted {
        Wanted::Create(..) => print(&format!("{name} is created with the role {}\n", text(done, "role"))),
        Wanted::List => {
            let mut table = Table::new(["NAME", "ROLE", "STATE", "SECOND FACTOR"]);
            for admin in items(done, "admins") {
                let state = match admin["disabled"] == true {
                    true => Cell::new("disabled", Tone::Bad),
                    false => Cell::new("enabled", Tone::Good),
                };
                let totp = if admin["totp"] == true { "yes" } else { "no" };
                table.row([text(admin, "name").into(), text(admin, "role").into(), state, totp.into()]);
            }
            table.print();
        }
        Wanted::ResetPassword(..) => {
            print(&format!("{name} has a new password, and neither a session nor a second factor any more\n"));
        }
        Wanted::Disable(_) => print(&format!("{name} is disabled\n")),
    }
}

/// Typed, or the first line of standard input for who says so.
fn password(from_stdin: bool) -> Result<String, Failure> {
    if from_stdin {
        return first_line().map_err(Failure::other);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask for the password on: give it with --password-stdin"));
    }
    terminal::password()
}

impl From<AdminRole> for Role {
    fn from(role: AdminRole) -> Self {
        match role {
            AdminRole::Read => Self::Read,
            AdminRole::Operate => Self::Operate,
            AdminRole::Owner => Self::Owner,
        }
    }
}
