//! `passerby admin`: looks after admins, of a server that runs by its admin API, and of one that is stopped in its data folder.

use std::io::{IsTerminal as _, Write as _};

use passerby_actors::store::embedded::OpenError;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;

use super::api::Api;
use super::line::{AdminCommand, AdminRole};
use super::outcome::{Failure, print};
use super::terminal::first_line;
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

pub(super) fn admin(settings: &Settings, command: &AdminCommand) -> Result<(), Failure> {
    if settings.storage == Storage::Memory {
        return Err(Failure::usage("storage is memory: a command on this machine cannot look into it"));
    }
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
    let creates = matches!(wanted, Wanted::Create(..));
    if !creates && !settings.data_dir.is_dir() {
        return Err(Failure::other(format!("there is no folder {}", settings.data_dir.display())));
    }
    actix_web::rt::System::new().block_on(async {
        match Stopped::open(settings, Ports::system()).await {
            Ok(stopped) => {
                let done = in_folder(&stopped, wanted).await;
                stopped.close().await;
                done
            }
            Err(StartError::Store(OpenError::InUse(_))) => by_api(settings, wanted).await,
            // only its own server opens a folder of tests
            Err(StartError::ForTestsAlone(_)) if local::read(&settings.data_dir).is_ok() => {
                by_api(settings, wanted).await
            }
            Err(error) => Err(error.into()),
        }
    })
}

/// On a server that is stopped.
async fn in_folder(Stopped { handle, admins, .. }: &Stopped, wanted: Wanted) -> Result<(), Failure> {
    let by = By::new(&Who::Local, Role::Owner, None);
    let failed = |fault: Fault| Failure::other(fault);
    match wanted {
        Wanted::Create(name, role, password) => {
            let name = admins.create(handle, &name, Password::new(password), role, &by).await.map_err(failed)?;
            print(&format!("{name} is created with the role {}\n", role.name()));
        }
        Wanted::List => {
            for (name, account) in admins.list(handle).map_err(failed)? {
                show(&name, account.role.name(), account.disabled);
            }
        }
        Wanted::ResetPassword(name, password) => {
            let change = Change { password: Some(Password::new(password)), without_totp: true, ..Change::default() };
            admins.change(handle, &name, change, &by).await.map_err(failed)?;
            print(&format!("{name} has a new password, and neither a session nor a second factor any more\n"));
        }
        Wanted::Disable(name) => {
            let change = Change { disabled: Some(true), ..Change::default() };
            admins.change(handle, &name, change, &by).await.map_err(failed)?;
            print(&format!("{name} is disabled\n"));
        }
    }
    Ok(())
}

/// On a server that runs.
async fn by_api(settings: &Settings, wanted: Wanted) -> Result<(), Failure> {
    let api = Api::of(settings)?;
    let of = |name: &str| format!("/v1/admin/admins/{name}");
    match wanted {
        Wanted::Create(name, role, password) => {
            let body = json!({ "name": name, "role": role, "password": password });
            api.ask("POST", "/v1/admin/admins", Some(body)).await?;
            print(&format!("{} is created with the role {}\n", name.to_ascii_lowercase(), role.name()));
        }
        Wanted::List => {
            let answer = api.ask("GET", "/v1/admin/admins", None).await?;
            for admin in answer["admins"].as_array().into_iter().flatten() {
                let text = |key: &str| admin[key].as_str().unwrap_or_default();
                show(text("name"), text("role"), admin["disabled"] == true);
            }
        }
        Wanted::ResetPassword(name, password) => {
            api.ask("PATCH", &of(&name), Some(json!({ "password": password, "totp": false }))).await?;
            print(&format!("{name} has a new password, and neither a session nor a second factor any more\n"));
        }
        Wanted::Disable(name) => {
            api.ask("PATCH", &of(&name), Some(json!({ "disabled": true }))).await?;
            print(&format!("{name} is disabled\n"));
        }
    }
    Ok(())
}

fn show(name: &str, role: &str, disabled: bool) {
    print(&format!("{name:<24} {role:<8}{}\n", if disabled { " disabled" } else { "" }));
}

/// Typed twice and not shown, or the first line of standard input.
fn password(from_stdin: bool) -> Result<String, Failure> {
    if from_stdin {
        return first_line().map_err(Failure::other);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask for the password on: give it with --password-stdin"));
    }
    let (one, other) = (typed("Password: ")?, typed("Again: ")?);
    if one == other { Ok(one) } else { Err(Failure::usage("the two passwords are not the same")) }
}

fn typed(prompt: &str) -> Result<String, Failure> {
    let mut out = std::io::stderr();
    drop(out.write_all(prompt.as_bytes()).and_then(|()| out.flush()));
    let terminal = std::io::stdin();
    let before = tcgetattr(&terminal).map_err(Failure::other)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &silent).map_err(Failure::other)?;
    let line = first_line();
    let restored = tcsetattr(&terminal, OptionalActions::Flush, &before);
    drop(out.write_all(b"\n"));
    restored.map_err(Failure::other)?;
    line.map_err(Failure::other)
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
