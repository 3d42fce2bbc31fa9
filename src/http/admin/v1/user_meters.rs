//! Meters of one user: more is granted, or they begin anew.

use actix_web::http::StatusCode;
use passerby_actors::handle::Handle;
use serde_json::{Value, json};

use crate::admin::Role;
use crate::http::admin::asked::Asked;
use crate::http::admin::table::{Row, row};
use crate::http::admin::whom;
use crate::http::json;
use crate::http::meters::{Adjustment, NotAdjusted, adjusting, admin_look};
use crate::http::problem::{Answer, Problem};

pub(super) fn rows() -> Vec<Row> {
    let operate = Some(Role::Operate);
    vec![
        row("POST /v1/admin/users/{user}/meters/{meter}/grant", operate, "meter.grant", grant),
        row("POST /v1/admin/users/{user}/meters/{meter}/reset", operate, "meter.reset", reset),
    ]
}

impl From<NotAdjusted> for Problem {
    fn from(why: NotAdjusted) -> Self {
        match why {
            NotAdjusted::NoSuchMeter => Self::no_such_meter(),
            NotAdjusted::TooMuch(most) => {
                let detail = format!("a meter that counts each item once allows at most {most} with what is granted");
                Self::bad_field(detail)
            }
        }
    }
}

/// `amount` more uses in the period that runs.
async fn grant(asked: Asked) -> Answer {
    let fields = asked.fields(&["amount"])?;
    let amount = fields.get("amount").and_then(Value::as_u64).and_then(|amount| u32::try_from(amount).ok());
    let bad = || Problem::bad_field("amount must be a whole number from 1 to 4294967295");
    let amount = amount.filter(|amount| *amount > 0).ok_or_else(bad)?;
    adjust(asked, "meter.grant", Adjustment::Grant(amount)).await
}

/// As if it was never used.
async fn reset(asked: Asked) -> Answer {
    asked.fields(&[])?;
    adjust(asked, "meter.reset", Adjustment::Reset).await
}

/// Answers the meter as it then is.
async fn adjust(asked: Asked, what: &str, adjustment: Adjustment) -> Answer {
    let user = whom::named(&asked)?;
    let meter = asked.parameter("meter").to_owned();
    let (count, before) = adjusting(&asked.context, &user, &meter, adjustment)?;
    let after = match adjustment {
        Adjustment::Grant(amount) => json!({ "meter": meter, "amount": amount }),
        Adjustment::Reset => json!({ "meter": meter }),
    };
    let operation = move |handle: Handle, user| async move {
        match adjustment {
            Adjustment::Grant(_) => handle.grant(&user, count).await,
            Adjustment::Reset => handle.reset_meter(&user, count).await,
        }
    };
    whom::done(&asked, what, user.id, (Some(before), Some(after)), operation).await?;
    let user = whom::named(&asked)?;
    let meter = admin_look(&asked.context, &user, &meter).ok_or_else(Problem::no_such_meter)?;
    Ok(json(StatusCode::OK, &meter))
}
