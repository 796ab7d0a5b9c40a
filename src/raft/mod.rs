//! The quorum behind `__cluster_metadata`: for now a single voter.
//!
//! KRaft is Raft with pull replication (KIP-595), snapshots (KIP-630) and, from `kraft.version` 1 on, voters that are
//! kept in the log itself (KIP-853). This room knows the formats of all of these and drives the one role that a lone
//! voter can have; followers, candidates and observers find their place beside [`leader`](Leader) as further roles of
//! [`Raft`]. It does no I/O: [`Raft::step`] takes what happened and says what is to be done, in order.
//!
//! What the data records mean is not its business: to it they are values.

mod control;
mod describe;
mod entries;
mod error;
mod leader;
mod node;
mod quorum_state;
mod snapshot;

#[cfg(test)]
mod tests;

pub use control::{ControlRecord, KRAFT_VERSION_LATEST, Voter, VoterEndpoint, VoterSet};
pub use entries::{Entries, Entry, EntryKind, data_batch};
pub use error::RaftError;
pub use leader::Leader;
pub use node::{Effect, Identity, Input, Proposed, Raft, Role};
pub use quorum_state::QuorumState;
pub use snapshot::{
    BOOTSTRAP_CHECKPOINT, KeptSnapshot, Snapshot, SnapshotId, SnapshotPolicy, bootstrap_checkpoint,
    superfluous_snapshots, write_snapshot,
};

/// The topic of the metadata log; its only partition is 0 and its id [`crate::base::Uuid::ONE`].
pub const CLUSTER_METADATA_TOPIC: &str = "__cluster_metadata";
