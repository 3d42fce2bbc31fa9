//! The listener itself, which answers from the first moment.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_http::HttpService;
use actix_http::error::DispatchError;
use actix_server::Server as Listener;
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::{AppConfig, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::{App, web};
use parking_lot::RwLock;

use super::asked::Way;
use super::host::{AdminHosts, check_host};
use super::phase::{Phase, SharedPhase};
use super::{routes, test_clock};
use crate::config::Settings;
use crate::http::stream::{self, Stream};
use crate::test_clock::TestClock;
use crate::tls::Tls;

/// The listener for operators, while it runs.
pub struct AdminListener {
    phase: SharedPhase,
    handle: ServerHandle,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
}

impl AdminListener {
    /// Binds it; `/readyz` says that the store is being read. With a clock for tests it also moves that.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn start(settings: &Settings, test_clock: Option<Arc<TestClock>>, tls: Option<Arc<Tls>>) -> io::Result<Self> {
        let phase: SharedPhase = Arc::new(RwLock::new(Phase::Recovering));
        let shared = web::Data::new(Arc::clone(&phase));
        let hosts = web::Data::new(AdminHosts::new(&settings.admin.hosts));
        let app = move || {
            let clock = test_clock.clone();
            App::new()
                .app_data(shared.clone())
                .app_data(hosts.clone())
                .app_data(web::Data::new(Way::default()))
                .wrap(from_fn(check_host))
                .configure(|routes| test_clock::routes(routes, clock))
                .configure(routes::routes)
                .configure(routes)
        };
        let socket = stream::listen(settings.admin_listen)?;
        let address = socket.local_addr()?;
        let certificate = tls.clone();
        let listener = Listener::build().workers(1).disable_signals().listen("admin", socket, move || {
            let app = app().into_factory().map_err(|error| error.error_response());
            let service = HttpService::build()
                .client_disconnect_timeout(Duration::from_secs(1))
                // a stream of events ends with its client, and gives its place back
                .h1_allow_half_closed(false)
                .local_addr(address)
                .on_connect_ext(|stream: &Stream, extensions| stream.mark(extensions))
                .h1(map_config(app, |()| AppConfig::default()));
            let tls = tls.clone();
            fn_service(move |stream: TcpStream| {
                let peer = stream.peer_addr().ok();
                std::future::ready(Ok::<_, DispatchError>((Stream::new(stream, tls.as_deref()), peer)))
            })
            .and_then(service)
        })?;
        let running = listener.run();
        let handle = running.handle();
        actix_web::rt::spawn(running);
        Ok(Self { phase, handle, address, tls: certificate })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its certificate.
    pub(crate) fn tls(&self) -> &Option<Arc<Tls>> {
        &self.tls
    }

    /// From now on it answers as in this phase.
    pub(crate) fn enter(&self, phase: Phase) {
        *self.phase.write() = phase;
    }

    /// Ends it.
    pub(crate) async fn stop(&self) {
        self.handle.stop(false).await;
    }
}
