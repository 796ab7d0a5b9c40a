//! What can go wrong with a bench.

use crate::wire::errors::ErrorCode;
use std::io;
use thiserror::Error;

/// Why a bench ended without figures. Figures of a run that lost a record are worth nothing, so there are none.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The connection.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system says.
        error: io::Error,
    },
    /// The broker refused something.
    #[error("{what}: {error}")]
    Refused {
        /// What was asked.
        what: String,
        /// Why not.
        error: ErrorCode,
    },
    /// A reply that cannot be read, or that is not one to the request.
    #[error("{what}: {error}")]
    Reply {
        /// To what.
        what: String,
        /// What is wrong with it.
        error: String,
    },
    /// A record is lost, doubled, out of order or changed.
    #[error("partition {partition}, offset {offset}: {what}")]
    Record {
        /// Counted over all topics.
        partition: usize,
        /// Where.
        offset: i64,
        /// What should have come, and what did.
        what: String,
    },
    /// Something was expected and did not come in time.
    #[error("{0}")]
    Late(String),
    /// The bench cannot be run as it was asked for.
    #[error("{0}")]
    Usage(String),
}

impl BenchError {
    /// For `map_err`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> BenchError {
        let what = what.into();
        move |error| BenchError::Io { what, error }
    }

    /// For `map_err`.
    pub fn reply<E: ToString>(what: impl Into<String>) -> impl FnOnce(E) -> BenchError {
        let what = what.into();
        move |error| BenchError::Reply { what, error: error.to_string() }
    }

    /// The error unless the code is zero.
    pub fn check(what: impl FnOnce() -> String, code: i16) -> Result<(), BenchError> {
        if code == 0 {
            return Ok(());
        }
        Err(BenchError::Refused { what: what(), error: ErrorCode(code) })
    }
}
