//! Registrations by e-mail that wait for their confirmation: a page of them, confirmed, mailed again, forgotten.

use actix_web::http::StatusCode;
use actix_web::{FromRequest as _, HttpResponse, web};
use passerby_actors::domain::{CredentialRefusal, Refusal};
use passerby_actors::handle::{self, Handle, Registration};
use serde_json::{Value, json};

use super::apps::{must_be_this, not_implemented};
use crate::admin::Role;
use crate::http::admin::asked::{Asked, Doubt};
use crate::http::admin::created;
use crate::http::admin::table::{Row, row};
use crate::http::problem::{Answer, Problem};
use crate::http::read::of_query;
use crate::http::{json, within_time};
use crate::provider::local_userpass::{self, UserpassError};

/// Registrations of a page.
const PAGE: usize = 50;

pub(super) fn rows() -> Vec<Row> {
    let (read, operate) = (Some(Role::Read), Some(Role::Operate));
    vec![
        row("GET /api/admin/v3.0/groups/{group}/apps/{app}/user_registrations/pending_users", read, None, list),
        row(
            "DELETE /api/admin/v3.0/groups/{group}/apps/{app}/user_registrations/by_email/{email}",
            operate,
            "registration.delete",
            delete,
        ),
        row(
            "POST /api/admin/v3.0/groups/{group}/apps/{app}/user_registrations/by_email/{email}/confirm",
            operate,
            "registration.confirm",
            confirm,
        ),
        row(
            "POST /api/admin/v3.0/groups/{group}/apps/{app}/user_registrations/by_email/{email}/send_confirm",
            operate,
            "registration.mail",
            send_confirm,
        ),
        row(
            "POST /api/admin/v3.0/groups/{group}/apps/{app}/user_registrations/by_email/{email}/run_confirm",
            operate,
            "registration.run",
            run_confirm,
        ),
    ]
}

/// At most 50, `after` the id of one.
async fn list(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    let query = of_query(&asked.request, &["after"])?;
    let after = query.get("after").and_then(Value::as_str).map(str::to_owned);
    let waiting = within_time(&asked.context, asked.handle().unconfirmed(after, PAGE)).await?;
    let domain = asked.context.server.tokens.domain_id();
    let shown = |Registration { id, name }: &Registration| {
        // no user has it yet: its identity's id stands for one
        json!({ "_id": &**id, "user_id": &**id, "domain_id": domain, "login_ids": [{ "id_type": "email", "id": &**name }] })
    };
    Ok(json(StatusCode::OK, &waiting.iter().map(shown).collect::<Vec<_>>()))
}

fn refused(error: handle::Error) -> Problem {
    match error {
        handle::Error::Refused(Refusal::Credential(CredentialRefusal::Unknown)) => {
            Problem::new(StatusCode::NOT_FOUND, "user-not-found", "user not found")
        }
        handle::Error::Refused(Refusal::Credential(CredentialRefusal::AlreadyConfirmed)) => {
            Problem::new(StatusCode::BAD_REQUEST, "user-already-confirmed", "user already confirmed")
        }
        other => other.into(),
    }
}

/// The name in the path, with what is escaped in it.
async fn named(asked: &Asked) -> Result<String, Problem> {
    must_be_this(asked)?;
    let path = web::Path::<(String, String, String)>::extract(&asked.request).await;
    Ok(path.map_err(|_| Problem::not_found())?.into_inner().2)
}

async fn done<Doing: Future<Output = Result<(), handle::Error>> + 'static>(
    asked: &Asked,
    (what, name): (&str, String),
    operation: impl FnOnce(Handle, String) -> Doing,
) -> Answer {
    let operation = operation(asked.handle().clone(), name.clone());
    asked.audited(what, &name, (None, None), operation).await?.map_err(refused)?;
    Ok(HttpResponse::NoContent().finish())
}

/// Forgets the registration of this name.
async fn forget(asked: &Asked, name: String) -> Answer {
    let what = ("registration.delete", name);
    done(asked, what, |handle, name| async move { handle.forget_registration(&name).await }).await
}

/// Forgets the registration of this id, if there is one that waits.
pub(super) async fn forget_of_id(asked: &Asked, id: &str) -> Option<Answer> {
    let waiting = asked.handle().registration(id)?;
    Some(forget(asked, waiting.name.into()).await)
}

async fn delete(asked: Asked) -> Answer {
    let name = named(&asked).await?;
    forget(&asked, name).await
}

async fn confirm(asked: Asked) -> Answer {
    let what = ("registration.confirm", named(&asked).await?);
    done(&asked, what, |handle, name| async move { handle.confirm_by_hand(&name).await }).await
}

/// Sends the e-mail again.
async fn send_confirm(asked: Asked) -> Answer {
    let name = named(&asked).await?;
    let userpass = created::userpass(&asked)?;
    let address = asked.source.address;
    let to = name.clone();
    let mailing = async move { userpass.resend_confirmation(&to, address, local_userpass::Answer::Documented).await };
    match asked.audited("registration.mail", &name, (None, None), mailing).await? {
        Err(UserpassError::Core(error)) => Err(refused(error)),
        other => {
            other?;
            Ok(json(StatusCode::OK, &json!({})))
        }
    }
}

impl Doubt for UserpassError {
    fn is_unknown(&self) -> bool {
        self.may_have_stored()
    }
}

/// Functions are not served.
async fn run_confirm(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    Err(not_implemented("functions are not served here: there is none that confirms"))
}
