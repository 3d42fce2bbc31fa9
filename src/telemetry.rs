//! Log lines on standard error, for a person or as JSON. Times are UTC.

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Installs the process's one subscriber.
///
/// # Errors
/// The filter cannot be read, in one sentence.
pub fn install(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| format!("log.filter: {error}"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match log.format {
        LogFormat::Human => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    installed.map_err(|error| error.to_string())
}
