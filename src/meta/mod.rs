//! The metadata image built from `KRaft` records, and the controller that writes them.
//!
//! Records ([`record`]) are the only way in which metadata changes. Committed ones build the [`image`] that every core
//! holds; the [`controller`] decides which are written. Pure: who stores and replicates them is `raft`'s and the
//! shard's business.

pub mod controller;
mod error;
pub mod image;
pub mod record;
pub mod topic_name;

pub use error::MetaError;
