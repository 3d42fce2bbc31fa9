//! Networks: what they have spent of their budgets, which are blocked, and both taken back.

use actix_web::http::StatusCode;
use ipnet::IpNet;
use serde_json::{Map, Value, json};

use super::shown::time;
use crate::admin::{Fault, NetworkBlock, Role};
use crate::http::admin::asked::{Asked, reason, text};
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::{Answer, Problem};
use crate::http::read::of_query;
use crate::limits::blocks::parse;
use crate::limits::network::Network;
use crate::server::Server;

/// Networks of an answer: without a word, and at most.
const SHOWN: usize = 50;
const MOST_SHOWN: usize = 500;

pub(super) fn rows() -> Vec<Row> {
    let operate = Some(Role::Operate);
    vec![
        row("GET /v1/admin/networks", Some(Role::Read), None, networks),
        row("POST /v1/admin/networks/block", operate, "network.block", block),
        row("POST /v1/admin/networks/lift", operate, "network.lift", lift),
    ]
}

fn of_block(net: &IpNet, block: &NetworkBlock) -> Value {
    json!({
        "network": net.to_string(),
        "until": block.until_ms.map(time),
        "reason": block.reason,
        "by": block.by,
        "at": time(block.at_ms),
    })
}

/// The blocks that have not ended.
fn blocks(asked: &Asked) -> Vec<(IpNet, NetworkBlock)> {
    let now_ms = asked.context.server.clock().wall_ms();
    let blocks = asked.admins().blocks(asked.handle());
    blocks.into_iter().filter(|(_, block)| !block.is_over(now_ms)).collect()
}

fn of_network(server: &Server, network: Network, blocks: &[(IpNet, NetworkBlock)]) -> Value {
    let budgets = server.budgets.standing(network).into_iter().map(|standing| {
        let spent = standing.burst - standing.left;
        (standing.name.to_owned(), json!({ "burst": standing.burst, "left": standing.left, "spent": spent }))
    });
    let net = network.prefix();
    let covering = blocks.iter().find(|(blocked, _)| blocked.contains(&net));
    json!({
        "network": net.to_string(),
        "budget": budgets.collect::<Map<_, _>>(),
        "blocked": covering.map(|(net, block)| of_block(net, block)),
    })
}

/// Those that have spent the most, up to `limit`; or with `network` those with a budget that it is part of. And all that are blocked.
async fn networks(asked: Asked) -> Answer {
    let query = of_query(&asked.request, &["network", "limit"])?;
    let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail);
    let limit = match query.get("limit").and_then(Value::as_str).map(str::parse) {
        None => SHOWN,
        Some(Ok(limit @ 1..=MOST_SHOWN)) => limit,
        Some(_) => return Err(bad(format!("limit must be a number from 1 to {MOST_SHOWN}"))),
    };
    let server = &asked.context.server;
    let shown: Vec<Network> = match query.get("network").and_then(Value::as_str) {
        None => server.budgets.spenders(limit),
        Some(text) => {
            let net = parse(text).map_err(bad)?;
            let networks = Network::of(net.addr()).into_iter().flat_map(Network::and_wider);
            networks.map(|(_, network)| network).filter(|network| network.prefix().contains(&net)).collect()
        }
    };
    let blocks = blocks(&asked);
    let body = json!({
        "limits": server.settings.limits,
        "networks": shown.into_iter().map(|network| of_network(server, network, &blocks)).collect::<Vec<_>>(),
        "blocked": blocks.iter().map(|(net, block)| of_block(net, block)).collect::<Vec<_>>(),
    });
    Ok(json(StatusCode::OK, &body))
}

fn network(fields: &Map<String, Value>) -> Result<IpNet, Problem> {
    parse(text(fields, "network")?).map_err(Problem::bad_field)
}

/// `network`, and `until` (RFC 3339) and `reason` if there are any.
async fn block(asked: Asked) -> Answer {
    let fields = asked.fields(&["network", "until", "reason"])?;
    let net = network(&fields)?;
    let at_ms = asked.context.server.clock().wall_ms();
    let until_ms = match fields.get("until") {
        None | Some(Value::Null) => None,
        Some(until) => {
            let until = until.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let until = until.and_then(|until| u64::try_from(until.as_millisecond()).ok());
            let until = until.filter(|until_ms| *until_ms > at_ms);
            let wrong = || Problem::bad_field("until must be a time to come, such as \"2027-01-31T00:00:00Z\"");
            Some(until.ok_or_else(wrong)?)
        }
    };
    let reason = reason(&fields)?.map(str::to_owned);
    let by = asked.by()?;
    let block = NetworkBlock { until_ms, reason, by: by.who.clone(), at_ms };
    let shown = of_block(&net, &block);
    // goes on to its end when the client has gone: what is stored is in force
    let context = asked.context.clone();
    let doing = actix_web::rt::spawn(async move {
        let (server, handle) = (&context.server, &context.handle);
        let blocked = server.admins.block(handle, net, &block, &by).await;
        server.admins.enforce_blocks(handle, server.budgets.blocks());
        blocked
    });
    doing.await.map_err(ended_early)??;
    Ok(json(StatusCode::CREATED, &shown))
}

/// `network`: its block is lifted, and its budgets are whole again.
async fn lift(asked: Asked) -> Answer {
    let net = network(&asked.fields(&["network"])?)?;
    let (by, context) = (asked.by()?, asked.context.clone());
    let doing = actix_web::rt::spawn(async move {
        let (server, handle) = (&context.server, &context.handle);
        let lifted = server.admins.lift(handle, net, &by).await;
        server.admins.enforce_blocks(handle, server.budgets.blocks());
        if lifted.is_ok() {
            server.budgets.give_back(&net);
        }
        lifted
    });
    let lifted: Result<bool, Fault> = doing.await.map_err(ended_early)?;
    let lifted = lifted?;
    let blocks = blocks(&asked);
    let covering = blocks.iter().find(|(blocked, _)| blocked.contains(&net));
    let body = json!({
        "network": net.to_string(),
        "lifted": lifted,
        "blocked": covering.map(|(net, block)| of_block(net, block)),
    });
    Ok(json(StatusCode::OK, &body))
}

fn ended_early(_: actix_web::rt::task::JoinError) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the action ended early")
}
