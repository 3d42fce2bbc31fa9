//! Drafts and deployments as both faces of the admin API change them: each change has its entry in the audit log.

use actix_web::http::StatusCode;
use passerby_actors::handle::Handle;
use serde_json::{Map, Value, json};

use super::asked::{Asked, Doubt};
use crate::deployment::{Change, DeployError, Deployments, How, Origin, sentences};
use crate::http::problem::Problem;
use crate::http::rfc3339;
use crate::provider::app_folder::AppContent;

/// Sentences of a change that an entry of the audit log has; what was deployed is kept whole with its deployment.
const MOST_TOLD: usize = 50;

/// Characters of a deployment's name.
const LONGEST_NAME: usize = 200;

impl Doubt for DeployError {
    fn is_unknown(&self) -> bool {
        matches!(self, Self::Core(error) if error.is_unknown())
    }
}

/// Changes the draft or what is in force from `before` to `after`, with an entry in the audit log before it.
///
/// # Errors
/// No entry could be written, and nothing is done; the operation's own.
pub(super) async fn change<T: 'static>(
    asked: &Asked,
    (what, whom): (&str, &str),
    (before, after): (&AppContent, &AppContent),
    operation: impl AsyncFnOnce(&Deployments, &Handle, How<'_>) -> Result<T, DeployError> + 'static,
) -> Result<T, Problem> {
    let mut changes = sentences(before, after);
    let untold = changes.len().saturating_sub(MOST_TOLD);
    if untold > 0 {
        changes.truncate(MOST_TOLD);
        changes.push(format!("and {untold} more"));
    }
    let (context, by) = (asked.context.clone(), asked.by()?.who);
    let origin = if asked.is_by_cookie() { Origin::Console } else { Origin::Api };
    let operation = async move {
        let how = How { by: &by, origin, name: None };
        operation(&context.server.deployments, &context.handle, how).await
    };
    let told = (None, Some(json!({ "changes": changes })));
    Ok(asked.audited(what, whom, told, operation).await??)
}

/// The name that a deployment is to have.
///
/// # Errors
/// It is none.
pub(super) fn name(fields: &Map<String, Value>) -> Result<Option<String>, Problem> {
    match fields.get("name") {
        None => Ok(None),
        Some(Value::String(name)) if name.chars().count() <= LONGEST_NAME && !name.contains(char::is_control) => {
            Ok(Some(name.trim().to_owned()).filter(|name| !name.is_empty()))
        }
        Some(_) => Err(Problem::bad_field(format!("name must be a text of {LONGEST_NAME} characters at most"))),
    }
}

/// A whole number in the fields.
///
/// # Errors
/// It is none.
pub(super) fn number(fields: &Map<String, Value>, name: &str) -> Result<Option<u64>, Problem> {
    let wrong = || Problem::bad_field(format!("{name} must be a whole number from 0 on"));
    fields.get(name).map(|value| value.as_u64().ok_or_else(wrong)).transpose()
}

/// What stands in `passerby.toml` is changed there.
pub(super) fn set_by_file(what: &str) -> Problem {
    Problem::new(StatusCode::CONFLICT, "set-by-file", format!("{what} {SET_BY_FILE}"))
}

/// Why it cannot be changed here.
pub(super) const SET_BY_FILE: &str = "is set by the settings of the server: change it there, and restart";

impl From<DeployError> for Problem {
    fn from(error: DeployError) -> Self {
        let (status, code) = match &error {
            DeployError::Core(error) => return (*error).into(),
            DeployError::Wrong(faults) => {
                let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
                let problem = Self::new(StatusCode::BAD_REQUEST, "invalid-parameter", faults.join("; "));
                return problem.with("faults", json!(faults));
            }
            DeployError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "app-too-large"),
            DeployError::Moved(last) => return Self::moved("deployment-moved", "number", &error, last.as_ref()),
            DeployError::DraftBehind(last) => return Self::moved("deployment-moved", "number", &error, Some(last)),
            DeployError::DraftMoved(last) => return Self::moved("draft-moved", "revision", &error, last.as_ref()),
            DeployError::NoSuch(_) => (StatusCode::NOT_FOUND, "deployment-not-found"),
            DeployError::Passwords(_) => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            DeployError::Unreadable(unreadable) => {
                tracing::error!(error = %unreadable, "a deployment cannot be read, and is left as it is");
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl Problem {
    /// Somebody else was faster: who, when, and what it is now.
    fn moved(code: &'static str, number: &str, error: &DeployError, last: Option<&Change>) -> Self {
        let problem = Self::new(StatusCode::CONFLICT, code, error.to_string());
        match last {
            None => problem,
            Some(last) => {
                let problem = problem.with(number, json!(last.number)).with("by", json!(last.by));
                problem.with("at", json!(rfc3339(i64::try_from(last.at_ms / 1000).unwrap_or(i64::MAX))))
            }
        }
    }
}
