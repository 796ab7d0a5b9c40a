//! What can go wrong in the quorum.

use thiserror::Error;

use crate::base::Offset;
use crate::wire::DecodeError;
use crate::wire::record::RecordError;

/// A file or batch that cannot be trusted, or a proposal that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RaftError {
    /// The quorum-state file is not what Kafka writes.
    #[error(
        "the quorum-state file is damaged: {0}. It says which epoch this node has seen, and without it the node could \
         vote twice; restore it from a backup"
    )]
    QuorumState(String),
    /// A snapshot is damaged. Nothing of it was used.
    #[error(
        "snapshot {file} is damaged: {reason}. Restore it from a backup, or remove it if an older snapshot or the \
         whole log is there"
    )]
    Snapshot {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A batch of the log cannot be read.
    #[error("the metadata log is damaged at offset {offset}: {source}")]
    Batch {
        /// The offset where the batch should start, as far as it is known.
        offset: Offset,
        /// What is wrong with it.
        source: RecordError,
    },
    /// A batch of the log does not follow the one before it.
    #[error("the metadata log has a batch at offset {found} where {expected} should follow")]
    Gap {
        /// The offset that should follow.
        expected: Offset,
        /// The offset that is there.
        found: Offset,
    },
    /// A data record has no value.
    #[error("the metadata log has a record without a value at offset {0}")]
    NoValue(Offset),
    /// A control record cannot be read.
    #[error("the control record at offset {offset} cannot be read: {source}")]
    Control {
        /// Its offset.
        offset: Offset,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// Only a leader takes proposals.
    #[error("this node is not the leader of the metadata quorum")]
    NotLeader,
    /// Records that take effect together must fit one batch.
    #[error("the records have {bytes} bytes together, more than the {max} of a batch; change less at once")]
    TooLarge {
        /// Their size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// This node is not in the voter set, so that it cannot lead.
    #[error(
        "node {node_id} with directory {directory_id} is not a voter of this cluster ({voters}); this build leads only \
         a quorum of its own"
    )]
    NotTheVoter {
        /// This node.
        node_id: i32,
        /// Its directory.
        directory_id: crate::base::DirectoryId,
        /// The voters.
        voters: String,
    },
}
