//! Proofs of work in place of a budget that is used up: asking for a challenge, and paying with its proof.

use actix_web::HttpRequest;
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, ServiceConfig};
use serde_json::{Map, Value};

use crate::http::schemas::WorkChallenge;
use crate::http::{Answer, Context, Problem, at, client, json, spend, spend_on_password};
use crate::limits::budget::{OverBudget, Spend, Why};
use crate::limits::proof_of_work::ProofError;

/// Adds the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(at("/v1/challenge").on(Method::GET, challenge));
}

/// Issues a proof of work to solve.
///
/// What a request that was answered 429 `work-needed` needs: with its proof in the field `altcha` it is taken at once. Good for this
/// network, for 5 minutes (`expiresAt`), once. In the format of ALTCHA (proof of work version 2): the key that PBKDF2 derives from `nonce`, followed by
/// a number (4 bytes, big-endian), begins with `keyPrefix`. The proof is base64 of a JSON object with `challenge`, as it came, and
/// `solution`, with `counter` and `derivedKey`. The more of them a network asks for, the harder they are.
#[utoipa::path(get, path = "/v1/challenge", tag = "Sessions", operation_id = "getChallenge",
    responses((status = 200, body = WorkChallenge, description = "The challenge.")),
    extensions(("x-problems" = json!("network-blocked over-budget internal"))))]
pub(crate) async fn challenge(request: HttpRequest, context: Data<Context>) -> Answer {
    let server = &context.server;
    let client = client(&request, &context);
    let doublings = server.budgets.challenge(client)?;
    let challenge =
        server.challenges.issue(client, doublings, server.clock().running(), server.wall_s(), &*server.entropy);
    let challenge = challenge.map_err(|error| {
        tracing::error!(%error, "no challenge could be issued");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no challenge could be issued")
    })?;
    Ok(json(StatusCode::OK, &challenge))
}

/// Spends one from the budget of the request's network or, when that is used up, the proof of work in its body.
///
/// # Errors
/// 429 `work-needed`, or `challenge-expired`: there is no proof, or it is not valid; with a new one, or after `Retry-After`, the request may be repeated.
pub(super) fn afford(
    request: &HttpRequest,
    context: &Context,
    what: Spend,
    body: &Map<String, Value>,
) -> Result<(), Problem> {
    spend(request, context, what).or_else(|over| prove_work(request, context, what, over, body))
}

/// The same before a password is hashed, for which there must be room too.
///
/// # Errors
/// As [`afford`].
pub(super) fn afford_password(
    request: &HttpRequest,
    context: &Context,
    body: &Map<String, Value>,
) -> Result<(), Problem> {
    spend_on_password(request, context, true).or_else(|over| prove_work(request, context, Spend::Link, over, body))
}

/// Takes the proof of work in a request's body in place of a budget that is used up.
///
/// # Errors
/// As [`afford`].
pub(super) fn prove_work(
    request: &HttpRequest,
    context: &Context,
    what: Spend,
    over: OverBudget,
    body: &Map<String, Value>,
) -> Result<(), Problem> {
    let server = &context.server;
    if matches!(over.why, Why::Share | Why::Blocked) {
        // no work creates room, or lifts a block
        return Err(over.into());
    }
    let Some(proof) = body.get("altcha") else { return Err(work_needed(over, None)) };
    let proof = proof.as_str().ok_or(ProofError::Form);
    let taken =
        proof.and_then(|proof| server.challenges.take(client(request, context), proof, server.clock().running()));
    taken.map_err(|error| work_needed(over, Some(error)))?;
    if what == Spend::Create {
        server.budgets.claim_users(client(request, context), 1)?;
    }
    Ok(())
}

fn work_needed(over: OverBudget, error: Option<ProofError>) -> Problem {
    let code = if error == Some(ProofError::Late) { "challenge-expired" } else { "work-needed" };
    let why = error.map_or_else(|| over.to_string(), |error| error.to_string());
    let detail = format!("{why}; or solve a challenge of /v1/challenge and send the proof as altcha");
    Problem::from(over).renamed(code, detail)
}
