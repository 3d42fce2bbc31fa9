//! By which names the admin listener may be called. A page anywhere can make a name of its own lead to this machine (DNS rebinding)
//! and would then read what it answers; an address is not a name that a page can own.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, web};

use crate::http::body;

/// The names of `admin.hosts`.
#[derive(Clone)]
pub(crate) struct AdminHosts(Arc<[String]>);

impl AdminHosts {
    pub(crate) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Whether a request with this `Host` is answered: an address, a name without a dot, which is of the local network and no one's
    /// elsewhere (`localhost`, a service of Docker's), or one that is listed.
    fn takes(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[') {
            Some(rest) => return rest.split_once(']').is_some_and(|(address, _)| address.parse::<Ipv6Addr>().is_ok()),
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        name.parse::<Ipv4Addr>().is_ok()
            || !name.contains('.')
            || name.ends_with(".localhost")
            || self.0.contains(&name)
    }
}

/// Middleware: holds a body that nobody reads until its connection is closed, and refuses a request that names a different host. One that names none, as HTTP/1.0 may, comes from no browser.
pub(crate) async fn check_host(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let mut hosts = request.headers().get_all(header::HOST);
    let authority = request.uri().authority().map(ToString::to_string);
    let takes = |host: &str| request.app_data::<web::Data<AdminHosts>>().is_some_and(|hosts| hosts.takes(host));
    let is_fine = hosts.all(|host| host.to_str().is_ok_and(takes)) && authority.as_deref().is_none_or(takes);
    if is_fine {
        body::hold_what_nobody_reads(&mut request).await?;
        return next.call(request).await.map(body::release_unread);
    }
    let payload = request.extract::<web::Payload>().await?;
    body::leave(request.request(), payload);
    let detail = "the admin listener is called by an address, by a name without a dot, or by one in admin.hosts";
    let response = HttpResponse::build(StatusCode::MISDIRECTED_REQUEST)
        .insert_header(crate::http::NO_STORE)
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .json(serde_json::json!({ "status": "unknown-host", "detail": detail }));
    Ok(body::release_unread(request.into_response(response)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_this_machine_and_listed_names_are_taken_and_no_other_name() {
        let hosts = AdminHosts::new(&["Passerby.Internal".to_owned()]);
        for host in [
            "127.0.0.1:8081",
            "127.0.0.1",
            "10.42.0.7:8081",
            "192.0.2.1",
            "[::1]:8081",
            "[2001:db8::7]",
            "localhost",
            "LOCALHOST:8081",
            "localhost.:8081",
            "a.localhost:8081",
            "passerby:8081",
            "passerby.internal",
            "",
        ] {
            assert!(hosts.takes(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8081",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8081",
            "127.0.0.1.nip.example",
            "passerby.evil.example",
            "internal.evil.example",
            "[::1",
            "[evil.example]",
            "[::1.evil.example]:80",
            "127.1",
        ] {
            assert!(!hosts.takes(host), "{host}");
        }
    }
}
