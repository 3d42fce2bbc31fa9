//! Why a server did not start; its listeners, whose addresses may be taken.

use std::net::SocketAddr;
use std::path::PathBuf;

use passerby_actors::store::embedded::OpenError;

use crate::config::Settings;
use crate::deployment::DeployError;
use crate::provider::password::PasswordError;
use crate::tls::TlsError;
use crate::token::KeyError;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The data folder belongs to a different app, whose users would all be refused.
    #[error("the data folder {} belongs to the app id {found}, not {wanted}", folder.display())]
    OtherApp {
        /// The data folder.
        folder: PathBuf,
        /// The app id that it was begun with.
        found: String,
        /// The app id of the settings.
        wanted: String,
    },
    /// The data folder does not say whose users it has.
    #[error("the data folder {} has a file APP_ID that {what}: write the app id into it that the users' clients are built with", folder.display())]
    NoApp {
        /// The data folder.
        folder: PathBuf,
        /// What is wrong with the file.
        what: &'static str,
    },
    /// `serve --test` on data that is not its own: moving the clock would end users for good.
    #[error("the data folder {} was not begun by `serve --test`, whose clock would end its users: choose a different --data-dir", .0.display())]
    NotForTests(PathBuf),
    /// The data of `serve --test`, whose passwords are worth nothing, without that flag.
    #[error("the data folder {} was begun by `serve --test`, where passwords are hashed for speed alone: choose a different --data-dir", .0.display())]
    ForTestsAlone(PathBuf),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The certificate of a listener.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An address.
    #[error("the {} listener cannot have {address}: {}", listener.name(), why_not(*listener, error))]
    Listen {
        /// Whose it is.
        listener: Listener,
        /// Which one.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// A thread or a listener.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The thread that hashes admins' passwords.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// The app is not in force: what was deployed last may not go together with the settings.
    #[error("{}{}", .0, advice(.0))]
    Deployment(#[from] DeployError),
    /// The actors.
    #[error(transparent)]
    Actors(#[from] passerby_actors::handle::Error),
}

/// What can be done about an app that is not in force.
fn advice(error: &DeployError) -> &'static str {
    match error {
        DeployError::Wrong(_) => {
            "\nsettings and the newest deployment do not go together: change the settings, or the app folder, which is then deployed"
        }
        _ => "",
    }
}

/// One of the two listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// For clients.
    Public,
    /// For operators.
    Admin,
}

impl Listener {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Admin => "admin",
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::Public => "--listen",
            Self::Admin => "--admin-listen",
        }
    }

    /// Its address in the settings.
    pub fn address(self, settings: &Settings) -> SocketAddr {
        match self {
            Self::Public => settings.listen,
            Self::Admin => settings.admin_listen,
        }
    }

    /// Tries its address, and lets go of it.
    ///
    /// # Errors
    /// [`StartError::Listen`].
    pub fn probe(self, settings: &Settings) -> Result<(), StartError> {
        let address = self.address(settings);
        let failed = |error| StartError::Listen { listener: self, address, error };
        std::net::TcpListener::bind(address).map(drop).map_err(failed)
    }
}

/// What can be done about an address that cannot be had.
fn why_not(listener: Listener, error: &std::io::Error) -> String {
    let flag = listener.flag();
    match error.kind() {
        std::io::ErrorKind::AddrInUse => format!("another program has this port; take another one by {flag}"),
        std::io::ErrorKind::PermissionDenied => {
            format!("{error}; ports below 1024 need a right of their own, so take a higher one by {flag}")
        }
        std::io::ErrorKind::AddrNotAvailable => format!("it is no address of this machine; give another by {flag}"),
        _ => format!("{error} ({flag})"),
    }
}
