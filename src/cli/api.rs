//! The admin API as commands ask it: by the file in the data folder of a server on this machine, or by an address and a token.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Request, StatusCode};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::Value;

use super::outcome::Failure;
use super::terminal::clean;
use crate::admin::local::{self, LocalDoor};
use crate::config::Settings;
use crate::outbound::{Allowed, Failure as NoAnswer, Outbound, SystemResolver, allowed_origin, system_roots};

/// How long an answer may take, and how long it may be: lists and exports are larger than what a server fetches.
const MAX_TIME: Duration = Duration::from_secs(120);
const MAX_BODY: usize = 256 << 20;

/// A way to a server's admin API.
pub(super) struct Api {
    origin: String,
    /// The data folder that named it.
    folder: Option<PathBuf>,
    token: String,
    client: Outbound,
}

impl Api {
    /// That of the server which has the data folder of these settings. Without a token it is an owner's, as whoever may read
    /// the folder is one.
    pub(super) fn of(settings: &Settings, token: Option<String>) -> Result<Self, Failure> {
        let folder = settings.data_dir.display();
        let door = local::read(&settings.data_dir).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failure::other(format!("no server runs with the data folder {folder}")),
            ErrorKind::PermissionDenied => Failure::other(format!(
                "the data folder {folder} is not this user's: ask as the user who runs the server, or with --server and a token"
            )),
            _ => Failure::other(format!("the admin.token in {folder} cannot be read: {error}")),
        })?;
        let api = Self::local(LocalDoor { token: token.unwrap_or(door.token), ..door })?;
        Ok(Self { folder: Some(settings.data_dir.clone()), ..api })
    }

    /// That of a server on this machine.
    pub(super) fn local(door: LocalDoor) -> Result<Self, Failure> {
        let origin = format!("{}://{}", door.scheme, door.address);
        if !door.address.ip().is_loopback() {
            let why = "its admin listener is not on this machine's loopback address";
            return Err(Failure::other(format!("the server runs, and {why}: stop it first ({})", door.address)));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(Failure::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OnThisMachine(provider)))
            .with_no_client_auth();
        let allowed = Allowed::parse(&[&origin]).map_err(Failure::other)?;
        let client = Outbound::with_tls(allowed, Arc::new(SystemResolver), tls).bounded(MAX_TIME, MAX_BODY);
        Ok(Self { origin, folder: None, token: door.token, client })
    }

    /// That of a server at this address, with the token of a session or an API key.
    pub(super) fn at(server: &str, token: String) -> Result<Self, Failure> {
        let origin = allowed_origin(server).map_err(|why| Failure::usage(format!("--server: {why}")))?;
        let allowed = Allowed::parse(&[&origin]).map_err(Failure::usage)?;
        let client = Outbound::new(allowed, Arc::new(SystemResolver), system_roots()).map_err(Failure::other)?;
        Ok(Self { origin, folder: None, token, client: client.bounded(MAX_TIME, MAX_BODY) })
    }

    /// Asks for something, and reads what is told; null where nothing is.
    pub(super) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        let told = self.ask_bytes(method, path, body).await?;
        if told.is_empty() {
            return Ok(Value::Null);
        }
        let is_none = |_| Failure::other(format!("{} answers something that is not JSON", self.origin));
        serde_json::from_slice(&told).map_err(is_none)
    }

    /// The same, whatever is told.
    pub(super) async fn ask_bytes(&self, method: &str, path: &str, body: Option<Value>) -> Result<Vec<u8>, Failure> {
        let body = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.origin))
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/json")
            .body(body)
            .map_err(|_| Failure::usage("this can be neither a part of an address nor a token"))?;
        let answer = self.client.send(request).await.map_err(|error| match &self.folder {
            Some(folder) if error.failure == NoAnswer::Unreachable => {
                let why = "no server answers where the admin.token in it says: it ended without removing the file";
                Failure::other(format!("{}: {why} ({})", folder.display(), self.origin))
            }
            _ => Failure::other(error),
        })?;
        let (status, body) = (answer.status(), answer.into_body());
        if status.is_success() {
            return Ok(body);
        }
        let told: Value = serde_json::from_slice(&body).unwrap_or_default();
        let detail = told["detail"].as_str().map_or_else(|| format!("{} answers {status}", self.origin), clean);
        if status == StatusCode::UNAUTHORIZED {
            let why = "the token is not, or no more, that of a session or an API key of this server";
            return Err(Failure::other(format!("{why}: {detail}")));
        }
        Err(Failure::other(detail))
    }
}

/// Takes any certificate. It is for a server's public name, and not for the loopback address at which a command finds it; and the
/// file that names the address says who is there, as it does without TLS.
#[derive(Debug)]
struct OnThisMachine(Arc<CryptoProvider>);

impl ServerCertVerifier for OnThisMachine {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That the address is this machine's is more than a command can know.
    #[test]
    fn a_listener_that_is_not_on_loopback_is_not_asked_and_the_command_says_what_to_do() {
        for scheme in ["http", "https"] {
            let address = "192.0.2.1:8081".parse().unwrap();
            let Err(failure) = Api::local(LocalDoor { scheme, address, token: "pbl_x".to_owned() }) else {
                panic!("it would be asked")
            };
            assert!(failure.text.contains("stop it first") && !failure.text.contains("pbl_x"), "{}", failure.text);
        }
    }
}
