//! What goes into a partition and what comes out of it.

use std::path::PathBuf;

use bytes::Bytes;

use super::cache::Cache;
use super::error::LogError;
use super::journal::Journal;
use super::lookup::Paused;
use crate::base::{LeaderEpoch, Offset, ProducerId, Ticks, TopicId, WallMs};
use crate::io::Disk;
use crate::wire::record::TimestampType;

/// What a partition needs from its core for the length of one call.
pub struct Env<'a> {
    /// Where disk operations go. Their tokens are `slot << 32 | tag`.
    pub disk: &'a mut dyn Disk,
    /// The core's read cache.
    pub cache: &'a mut Cache,
    /// The core's journal; None where every append goes straight to its segment.
    pub journal: Option<&'a mut Journal>,
}

/// What a new partition is.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// The partition's place in its core's table: the upper half of its tokens, and its key in the cache.
    pub slot: u32,
    /// Goes to `partition.metadata`; zero for none.
    pub topic_id: TopicId,
    /// Where the log starts; zero unless a snapshot takes the place of what came before.
    pub start_offset: Offset,
    /// Wall clock.
    pub now_ms: WallMs,
    /// Seed of the roll jitter.
    pub seed: u64,
}

/// What is known about a partition before it is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The partition's place in its core's table: the upper half of its tokens, and its key in the cache.
    pub slot: u32,
    /// `.kafka_cleanshutdown` was there: what the indexes and snapshots say is believed.
    pub clean_shutdown: bool,
    /// Everything below is flushed, as a checkpoint of this topic says; None if nothing is known, so that all is read.
    pub recovery_point: Option<Offset>,
    /// Everything below was acknowledged, as the journal says, and its end was no power cut that could have taken it.
    pub acknowledged: Offset,
    /// Where the log starts; None if nothing is known.
    pub log_start_offset: Option<Offset>,
    /// The log start was written down for this topic, and not only for its name: the log begins there even if it ends
    /// before. Else it is believed only if it is within the log.
    pub log_start_is_certain: bool,
    /// Wall clock.
    pub now_ms: WallMs,
    /// Seed of the roll jitter.
    pub seed: u64,
}

/// What opening a partition found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Bytes read to validate batches.
    pub scanned_bytes: u64,
    /// Bytes cut off behind the last whole batch (of a torn write, not of allocated zeros).
    pub truncated_bytes: u64,
    /// Ranges of offsets (first, last) that were damaged in the midst of the log and are lost. Their bytes were
    /// saved in a file `<segment>.damaged`.
    pub lost_offsets: Vec<(Offset, Offset)>,
    /// Indexes that were missing or wrong and were built anew.
    pub rebuilt_indexes: u32,
    /// Everything worth a line in the broker's log.
    pub warnings: Vec<String>,
}

/// Who appends; decides what is validated (Kafka's `AppendOrigin`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A client's Produce: everything is validated, offsets are assigned.
    Client,
    /// A coordinator or transaction marker: producer epochs are validated, sequences are not; offsets are assigned.
    Coordinator,
    /// The Raft leader: batches carry the offsets that follow the log's end, and their epoch.
    RaftLeader,
    /// A copy from a leader: offsets and epochs are kept as they are.
    Replication,
}

/// How to append.
#[derive(Clone, Copy, Debug)]
pub struct AppendInfo {
    /// Who appends.
    pub origin: AppendOrigin,
    /// The epoch written into assigned batches.
    pub leader_epoch: LeaderEpoch,
    /// Wall clock.
    pub now_ms: WallMs,
    /// Written to every batch, with its checksum: the append time, or a batch's right maximum timestamp as
    /// validation found it. None leaves both as they are.
    pub timestamp: Option<(TimestampType, WallMs)>,
    /// Transaction version of a marker (0, 1 or 2); decides how strictly its producer epoch is checked.
    pub transaction_version: i16,
}

/// What an append gave. It is not on disk yet: acknowledge when [`LogEffect::Durable`] passes `last_offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The first record's offset.
    pub base_offset: Offset,
    /// The last record's offset.
    pub last_offset: Offset,
    /// With `LogAppendTime`: the timestamp given; else -1. Of a duplicate: its largest timestamp, as Kafka does.
    pub log_append_time_ms: WallMs,
    /// The log start offset.
    pub log_start_offset: Offset,
    /// The batch was appended earlier (idempotent retry); the offsets are those of then.
    pub duplicate: bool,
}

/// A fetch from a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The first offset wanted. The first batch may begin before it.
    pub offset: Offset,
    /// Bound on the bytes given.
    pub max_bytes: usize,
    /// Give one batch even if it exceeds `max_bytes`.
    pub min_one_message: bool,
    /// Exclusive upper bound (high watermark, last stable offset, or the log's end for a follower). What is not
    /// durable yet is never given.
    pub upper: Offset,
}

/// Whole batches in order of offsets.
#[derive(Clone, Debug, Default)]
pub struct ReadData {
    /// The batches' bytes, shared with the cache.
    pub slices: Vec<Bytes>,
    /// The sum of the slices' lengths.
    pub bytes: usize,
    /// The offset after the last batch given; the offset asked for if none was.
    pub next_offset: Offset,
}

/// What to look up by timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The first record whose timestamp is at least this.
    Timestamp(WallMs),
    /// The record with the largest timestamp (KIP-734).
    MaxTimestamp,
}

/// The answer to a [`Lookup`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAndTimestamp {
    /// The record's offset.
    pub offset: Offset,
    /// The record's timestamp.
    pub timestamp: WallMs,
    /// The epoch of the record's batch.
    pub leader_epoch: LeaderEpoch,
}

/// The end of a leader epoch (`OffsetForLeaderEpoch`). Both -1 if unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch known that is not above the one asked for.
    pub epoch: LeaderEpoch,
    /// The first offset of the next epoch, or the log's end.
    pub end_offset: Offset,
}

/// An aborted transaction, for Fetch with `read_committed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// The producer.
    pub producer_id: ProducerId,
    /// The first offset of its transaction.
    pub first_offset: Offset,
    /// The offset of its abort marker.
    pub last_offset: Offset,
    /// The last stable offset when it was aborted.
    pub last_stable_offset: Offset,
}

/// A producer as `DescribeProducers` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerDescription {
    /// The producer's id.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub producer_epoch: i16,
    /// Its last sequence number, -1 for none.
    pub last_sequence: i32,
    /// The timestamp of its last batch.
    pub last_timestamp: WallMs,
    /// The epoch of the last marker's coordinator, -1 for none.
    pub coordinator_epoch: i32,
    /// The first offset of its open transaction, -1 for none.
    pub current_txn_start_offset: Offset,
}

/// What a partition tells its core.
#[derive(Debug)]
pub enum LogEffect {
    /// Everything below this offset is written (and flushed, if the flush settings ask for it).
    Durable {
        /// The new durable end.
        log_end_offset: Offset,
    },
    /// Everything below this offset is flushed; the recovery point may move here.
    Flushed {
        /// The flushed end.
        upto: Offset,
    },
    /// Something failed before anything was written; it is tried again.
    PutOff {
        /// Why.
        error: LogError,
        /// When to call [`Partition::retry`](super::Partition::retry).
        retry_at: Ticks,
        /// It has lasted: who waits for what is queued is to be told.
        give_up: bool,
    },
    /// Everything that was put off is done.
    Resumed,
    /// The partition takes no more appends; nothing beyond the durable end will become durable. Once.
    Failed {
        /// Why.
        error: LogError,
    },
    /// A read ended that was not answered at once.
    ReadDone {
        /// As given with the request.
        ticket: u64,
        /// As [`Partition::read`](super::Partition::read).
        result: Result<ReadData, LogError>,
    },
    /// A lookup ended that was not answered at once.
    LookupDone {
        /// As given with the request.
        ticket: u64,
        /// None if there is no such record.
        result: Result<Option<OffsetAndTimestamp>, LogError>,
    },
    /// A lookup has looked at as much as one may in one go; it goes on with [`Partition::go_on`](super::Partition::go_on).
    LookupPaused {
        /// As given with the request.
        ticket: u64,
        /// Where it was.
        paused: Paused,
    },
    /// The log start offset moved (retention, or `delete_records`); the checkpoint wants to know.
    LogStartMoved {
        /// The new log start offset.
        log_start_offset: Offset,
    },
    /// [`Partition::truncate_to`](super::Partition::truncate_to) ended.
    Truncated {
        /// The log's end now.
        result: Result<Offset, LogError>,
    },
    /// [`Partition::delete`](super::Partition::delete) ended: nothing goes by the directory's old
    /// name any more.
    Deleted {
        /// Its new name, to be removed; None if there was none of this topic.
        result: Result<Option<PathBuf>, LogError>,
    },
    /// Something worth a line in the broker's log, which may be one of many like it.
    Warning(String),
    /// What is damaged or lost, where, and what it costs: once, and of a file not more often than is worth reading.
    Damage(String),
}
