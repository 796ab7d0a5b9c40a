//! What keeps a broker from serving.

use thiserror::Error;

use super::metadata::MetadataError;
use crate::log::LogError;

/// Why `serve` ended with an error. The kind decides the exit code.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The configuration or the command line.
    #[error("{0}")]
    Config(String),
    /// The machine: a port, a limit, a file that cannot be opened.
    #[error("{0}")]
    Environment(String),
    /// The data directory.
    #[error("{0}")]
    Data(String),
    /// It has stopped, and not as cleanly as a hand-over to another broker needs.
    #[error("{0}")]
    Unclean(String),
    /// A bug of ours.
    #[error("{0}")]
    Bug(String),
}

impl ServeError {
    /// Something that the system refused, and what helps.
    pub fn environment(what: &str, error: &std::io::Error) -> ServeError {
        ServeError::Environment(format!("{what}: {error}{}", crate::io::remedy(error)))
    }

    /// An address that cannot be listened on.
    pub fn listen(address: &str, error: &std::io::Error) -> ServeError {
        let remedy = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "; stop what uses it, or choose another port with --set listeners=PLAINTEXT://localhost:PORT"
            }
            std::io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
            _ => "",
        };
        ServeError::Environment(format!("cannot listen on {address}: {error}{remedy}"))
    }
}

impl From<MetadataError> for ServeError {
    fn from(error: MetadataError) -> ServeError {
        match &error {
            MetadataError::File { error: system, .. } => {
                ServeError::Environment(format!("{error}{}", crate::io::remedy(system)))
            }
            // The disk, not what is on it.
            MetadataError::Log(LogError::Storage { error: system, .. }) => {
                ServeError::Environment(format!("{error}{}", crate::io::remedy(system)))
            }
            _ => ServeError::Data(error.to_string()),
        }
    }
}
