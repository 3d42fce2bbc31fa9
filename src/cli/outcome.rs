//! What commands say, and with which code they end: 0 well, 64 usage and configuration, 65 unreadable data, 1 anything else. `diff`
//! ends with 1 where something differs, and with 2 instead of that 1.

use std::io::{ErrorKind, Write as _, stdout};
use std::sync::OnceLock;

use passerby_actors::store::embedded::OpenError;

use crate::deployment::DeployError;
use crate::startup::StartError;

/// Exit code of a wrong command line and of a bad configuration.
pub const EXIT_USAGE: u8 = 64;
/// Data that must be readable is not (sysexits: EX_DATAERR).
pub(super) const EXIT_DATA: u8 = 65;

/// Why a command failed: its exit code, and a line for each fault.
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) text: String,
}

impl Failure {
    pub(super) fn other(error: impl ToString) -> Self {
        Self { code: 1, text: error.to_string() }
    }

    /// The same of a command whose 1 is an answer.
    pub(super) fn trouble(self) -> Self {
        Self { code: if self.code == 1 { 2 } else { self.code }, ..self }
    }

    pub(super) fn usage(error: impl ToString) -> Self {
        Self { code: EXIT_USAGE, text: error.to_string() }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        let code = if matches!(error, OpenError::Damaged { .. }) { EXIT_DATA } else { 1 };
        Self { code, text: error.to_string() }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Store(error) => error.into(),
            StartError::OtherApp { .. }
            | StartError::NoApp { .. }
            | StartError::NotForTests(_)
            | StartError::ForTestsAlone(_)
            | StartError::Tls(_)
            | StartError::Deployment(DeployError::Wrong(_) | DeployError::TooLarge(_)) => Self::usage(error),
            StartError::Deployment(DeployError::Unreadable(_)) => Self { code: EXIT_DATA, text: error.to_string() },
            other => Self::other(other),
        }
    }
}

/// Why something that was printed is not where it should be.
static UNWRITTEN: OnceLock<String> = OnceLock::new();

/// What is printed is a command's answer; whether it was taken, [`written`] says at the end.
pub(super) fn print(text: &str) {
    print_bytes(text.as_bytes());
}

pub(super) fn print_bytes(text: &[u8]) {
    let done = stdout().write_all(text).and_then(|()| stdout().flush());
    // whoever reads only the beginning has what was wanted
    if let Err(error) = done.or_else(|error| if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }) {
        UNWRITTEN.get_or_init(|| error.to_string());
    }
}

/// Whether all that was printed was taken, or its reader had enough.
///
/// # Errors
/// It was not, as where the disk is full.
pub(super) fn written() -> Result<(), Failure> {
    let failed = |why| Err(Failure::other(format!("standard output could not be written: {why}")));
    UNWRITTEN.get().map_or(Ok(()), failed)
}

/// What a server says that goes on whether or not it is heard.
pub(super) fn announce(text: &str) {
    drop(stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()));
}

pub(super) fn complain(text: &str) {
    drop(std::io::stderr().write_all(text.as_bytes()));
}
