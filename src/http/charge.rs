//! What a request costs the network that it came from: tokens of its budgets, and its share of the users.

use std::net::IpAddr;

use actix_web::HttpRequest;
use passerby_actors::actor::USERS_PER_ENDED;
use passerby_actors::domain::Flags;
use passerby_actors::handle::Live;

use super::context::{Context, client};
use crate::limits::budget::{OverBudget, Spend};
use crate::limits::network::Network;

/// Takes one from the budget of where a request came from.
///
/// # Errors
/// There is none left: 429.
pub(crate) fn spend(request: &HttpRequest, context: &Context, what: Spend) -> Result<(), OverBudget> {
    context.server.budgets.spend(what, client(request, context))
}

/// A session was found live: a user who comes back for the first time no longer counts as one who never did, nor does the name of
/// an account that is in use.
pub(crate) fn came_back(request: &HttpRequest, context: &Context, live: &Live) {
    if live.returned > 0 {
        came_back_from(client(request, context), context, live);
    }
}

/// The same for a user of a socket, which may have been open for all that time.
pub(crate) fn came_back_from(client: IpAddr, context: &Context, live: &Live) {
    context.server.budgets.give_back_users(client, live.returned as u64);
}

/// Whether the network's share still counts a user: one who was created a moment ago. A user who was there for longer is back
/// by this very request, or was before it, and was given back then.
fn is_counted(context: &Context, live: &Live) -> bool {
    let record = &live.record;
    let age_s = context.server.clock().now().saturating_sub(record.session_started);
    record.is_visitor()
        && record.last_seen == record.session_started
        && age_s < context.server.settings.expiry.touch_granularity_s
}

/// A session has ended, and with the last one its user is gone, perhaps without having come back. The id of a reader who was created
/// lazily is kept, in the room of some users.
pub(crate) fn went(request: &HttpRequest, context: &Context, live: &Live) {
    let (budgets, client) = (&context.server.budgets, client(request, context));
    if !live.record.is_anonymous() || context.handle.exists(&live.user) {
        return;
    }
    let counted = u64::from(is_counted(context, live));
    if live.record.flags.has(Flags::MADE_LAZILY) {
        // it is kept whatever the network has had, and counted up to its share
        let _counted = budgets.claim_users(client, USERS_PER_ENDED - counted);
    } else {
        budgets.give_back_users(client, counted);
    }
}

/// A user has become part of a different one, who has come back by that. The id of a reader who was created lazily is kept.
pub(crate) fn became_part(request: &HttpRequest, context: &Context, live: &Live) {
    if is_counted(context, live) && !live.record.flags.has(Flags::MADE_LAZILY) {
        context.server.budgets.give_back_users(client(request, context), 1);
    }
}

/// The same for a request that is about to have a password hashed: while many wait, those whose network has its share of them
/// have to work first (S35). `can_work`: whether a proof of work can be sent along.
///
/// # Errors
/// There is none left, or they have to: 429.
pub(crate) fn spend_on_password(request: &HttpRequest, context: &Context, can_work: bool) -> Result<(), OverBudget> {
    spend(request, context, Spend::Link)?;
    let network = Network::of(client(request, context));
    let app = context.server.app();
    let userpass = app.providers.userpass().filter(|_| context.server.settings.limits);
    let pressed = userpass.is_some_and(|userpass| userpass.passwords().are_pressed_by(network, can_work));
    if pressed { Err(context.server.budgets.busy()) } else { Ok(()) }
}
