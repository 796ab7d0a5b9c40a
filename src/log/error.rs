//! What can go wrong in this room, one variant per cause.

use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use crate::base::{Offset, ProducerId};
use crate::io::{Lack, errno_of};

/// Why an operation on a partition failed.
///
/// Kafka codes: `Storage` and `Fenced` are `KAFKA_STORAGE_ERROR` (56); `Corrupt` is `CORRUPT_MESSAGE` (2), which a consumer
/// is told of instead of asking again; `OffsetOutOfRange` is `OFFSET_OUT_OF_RANGE` (1); `Closed` is `NOT_LEADER_OR_FOLLOWER` (6).
#[derive(Clone, Debug, Error)]
pub enum LogError {
    /// The disk answered with an error.
    #[error("{action} {path}: {error}")]
    Storage {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: String,
        /// What the system said.
        error: Arc<std::io::Error>,
    },
    /// An earlier write or flush failed; the partition takes no more until the broker is restarted.
    #[error("the partition is fenced since a failed write: {0}")]
    Fenced(Arc<str>),
    /// Bytes on disk that cannot be what was written.
    #[error("{path} is damaged at byte {position}: {what}")]
    Corrupt {
        /// The file.
        path: String,
        /// Where in the file.
        position: u64,
        /// What is wrong there.
        what: Arc<str>,
    },
    /// The offset is not in `start..=end`.
    #[error("offset {offset} is outside of {start}..={end}")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: Offset,
        /// The log start offset.
        start: Offset,
        /// The upper bound of the request.
        end: Offset,
    },
    /// The partition is being closed, deleted or truncated.
    #[error("the partition is closed")]
    Closed,
}

impl LogError {
    /// An error of the system, with what was tried.
    pub fn storage(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> LogError {
        let path = path.display().to_string();
        move |error| LogError::Storage { action, path, error: Arc::new(error) }
    }

    /// Whether opening a partition may work later without a restart: the system refused, and not because it could not read.
    pub fn may_pass(&self) -> bool {
        let LogError::Storage { error, .. } = self else { return false };
        errno_of(error).is_some_and(|errno| errno != libc::EIO)
    }

    /// What the disk lacked, if that was the cause.
    pub fn lack(&self) -> Option<Lack> {
        match self {
            LogError::Storage { error, .. } => Lack::of(error),
            _ => None,
        }
    }
}

/// Why an append was refused. Nothing was changed.
///
/// Kafka codes in the order of the variants: 56 or as [`LogError`], 45 `OUT_OF_ORDER_SEQUENCE_NUMBER`,
/// 47 `INVALID_PRODUCER_EPOCH`, 48 `INVALID_TXN_STATE`, 52 `TRANSACTION_COORDINATOR_FENCED`,
/// 46 `DUPLICATE_SEQUENCE_NUMBER`, 18 `RECORD_LIST_TOO_LARGE`, 2 `CORRUPT_MESSAGE`, 7 `REQUEST_TIMED_OUT`.
#[derive(Clone, Debug, Error)]
pub enum AppendError {
    /// The partition cannot take appends.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The first sequence number does not follow the last one of this producer.
    #[error("producer {producer_id} sent sequence {sequence} where {expected} follows")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: ProducerId,
        /// What it sent.
        sequence: i32,
        /// What would have been right.
        expected: i32,
    },
    /// A newer instance of the producer has written already.
    #[error("producer {producer_id} has epoch {epoch}, {current} was seen")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// What it sent.
        epoch: i16,
        /// The newest epoch seen.
        current: i16,
    },
    /// A non-transactional batch while the producer has a transaction open.
    #[error("producer {0} has an open transaction here and sent a batch outside of it")]
    InvalidTransactionState(ProducerId),
    /// A marker of a transaction coordinator that was replaced.
    #[error("marker for producer {producer_id} has coordinator epoch {epoch}, {current} was seen")]
    CoordinatorFenced {
        /// The producer.
        producer_id: ProducerId,
        /// What was sent.
        epoch: i32,
        /// The newest epoch seen.
        current: i32,
    },
    /// One batch of several is a duplicate: the request mixes old and new.
    #[error("producer {0} repeated one of several batches")]
    DuplicateSequence(ProducerId),
    /// The batches are larger than a segment may be.
    #[error("batches of {bytes} bytes exceed segment.bytes {max}")]
    TooLarge {
        /// The size of what was sent.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// The bytes are not whole batches, or their explicit offsets do not follow the log's end.
    #[error("malformed batches: {0}")]
    Malformed(&'static str),
    /// Too much waits to be written.
    #[error("{0} bytes wait to be written to this partition")]
    Backlog(usize),
}
