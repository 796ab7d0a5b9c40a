//! What can be wrong with metadata.

use thiserror::Error;

use crate::base::{BrokerId, TopicId};
use crate::wire::{DecodeError, EncodeError};

/// A metadata record that cannot be read, written or applied. All of them mean that the log (or this program) is
/// wrong, so the node stops instead of going on with a wrong image.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MetaError {
    /// The value does not start with frame version 1.
    #[error(
        "metadata record has frame version {0}, only 1 is known; the log was written by a newer Kafka or is corrupt"
    )]
    FrameVersion(u32),
    /// No record has this key.
    #[error("unknown metadata record type {0}; the log was written by a newer Kafka or is corrupt")]
    UnknownRecord(u32),
    /// The record has no such version.
    #[error("{name} version {version} is unknown; the log was written by a newer Kafka or is corrupt")]
    UnknownVersion {
        /// The record's name.
        name: &'static str,
        /// The version it was written in.
        version: u32,
    },
    /// The record's bytes are wrong.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The record cannot be written in the version that `metadata.version` asks for.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A record names a topic that does not exist.
    #[error("{record} names topic id {topic_id}, which does not exist")]
    UnknownTopic {
        /// The record's name.
        record: &'static str,
        /// The id.
        topic_id: TopicId,
    },
    /// A record names a topic that does not exist.
    #[error("{record} names topic '{topic}', which does not exist")]
    UnknownTopicName {
        /// The record's name.
        record: &'static str,
        /// The name.
        topic: String,
    },
    /// A record names a partition that does not exist.
    #[error("{record} names partition {partition} of topic '{topic}', which does not exist")]
    UnknownPartition {
        /// The record's name.
        record: &'static str,
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// A topic is created twice.
    #[error("TopicRecord creates topic '{0}', which exists")]
    TopicExists(String),
    /// A record names a broker that is not registered with that epoch.
    #[error("{record} names broker {broker_id} with epoch {epoch}, which is not registered")]
    UnknownBroker {
        /// The record's name.
        record: &'static str,
        /// The broker.
        broker_id: BrokerId,
        /// The epoch.
        epoch: i64,
    },
    /// A field has a value that no reader understands.
    #[error("{record} has {value} as {field}")]
    BadValue {
        /// The record's name.
        record: &'static str,
        /// The field.
        field: &'static str,
        /// Its value.
        value: i64,
    },
    /// Begin inside of a transaction, or end or abort outside of one.
    #[error("{0} is out of place: metadata transactions do not nest and must begin before they end")]
    Transaction(&'static str),
}
