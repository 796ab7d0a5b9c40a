//! What cores say to each other.
//!
//! A request is served by the core that its connection lives on (its *home*). Work on a partition is a [`Job`]
//! mailed to the partition's *owner*; the answer comes back as a [`Done`]. No core ever waits for another: the
//! home parks the request, the owner parks the job.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Offset, ProducerId, ShardId, TopicId, WallMs};
use crate::coord::group::{ClientInfo, GroupReply, GroupRequest};
use crate::io::Socket;
use crate::log::{OffsetAndTimestamp, ProducerDescription};
use crate::meta::image::{Delta, Image};
use crate::wire::api::ApiKey;
use crate::wire::codec::Body;
use crate::wire::errors::ErrorCode;
use crate::wire::record::TimestampType;

/// A partition by its topic's id, so that a topic made anew under an old name is never mistaken for the old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition's number.
    pub partition: i32,
}

impl PartitionKey {
    /// The core that owns this partition. Every core computes the same answer from the number of cores alone, so a
    /// data directory opens under any number of them.
    pub fn owner(self, shards: usize) -> ShardId {
        let id = u128::from_be_bytes(self.topic_id.0);
        let spread = (id >> 64) as u64 ^ id as u64;
        // Neighbouring partitions of one topic go to neighbouring cores: the load of a topic spreads evenly.
        ShardId((spread.wrapping_add(self.partition as u64) % shards as u64) as u16)
    }
}

/// Where the answer to a job goes: a parked request of a core, and which of its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo {
    /// The home core.
    pub shard: ShardId,
    /// The parked request; never reused.
    pub request: u64,
    /// Which part of it.
    pub part: u32,
}

/// Mail between cores.
pub enum Mail {
    /// A connection accepted elsewhere that this core shall serve; the number is the listener's place in the
    /// configuration.
    Connection(u32, Socket),
    /// A connection of this core and client has ended: core 0 counts them.
    ConnectionGone(ShardId, std::net::IpAddr),
    /// Work for a partition that this core owns. `image` is the metadata offset that the sender had seen: a job
    /// from the future waits until this core has seen it too.
    Job {
        /// Where the answer goes.
        reply_to: ReplyTo,
        /// The sender's metadata offset.
        image: Offset,
        /// The work.
        job: Job,
    },
    /// The answer to a job.
    Done(ReplyTo, Done),
    /// The home has lost interest in what it parked under this address (a watch).
    Forget(ReplyTo),
    /// The metadata has changed.
    Metadata(Arc<Image>, Arc<Delta>),
    /// No space is left on the volume of this path: what only makes things faster gives its space back.
    NoSpace(Arc<Path>),
    /// Take no new connections or requests, and finish what is in flight.
    Drain,
    /// To core 0, at a start: this core has the metadata in which this broker serves.
    Active,
    /// A core has no connections and no parked work left (during shutdown).
    Drained(ShardId),
    /// Close the partitions cleanly and end.
    Close,
}

/// Mail is moved several times on its way.
const _: () = assert!(size_of::<Mail>() <= 96);

/// Work for the owner of a partition.
pub enum Job {
    /// Append batches.
    Append {
        /// One per partition.
        parts: Vec<AppendPart>,
        /// Whether the answer waits until they are durable (acks other than 0).
        durable: bool,
    },
    /// Read batches.
    Read(ReadJob),
    /// Find offsets (ListOffsets).
    Offsets(Vec<OffsetsPart>),
    /// Ends of leader epochs (OffsetForLeaderEpoch).
    Epochs(Vec<EpochPart>),
    /// Move log starts (DeleteRecords): the offset before which to delete, -1 for the high watermark.
    DeleteRecords(Vec<(PartitionKey, Offset)>),
    /// The state of idempotent producers (DescribeProducers), of each partition from an id on.
    Producers(Vec<(PartitionKey, ProducerId)>),
    /// Sizes of the partitions of this core (DescribeLogDirs): all, or the given ones.
    Sizes(Option<Vec<PartitionKey>>),
    /// A request for the group coordinator of one partition of `__consumer_offsets`.
    Group(Box<GroupJob>),
    /// A request for the controller (core 0).
    Control(ControlJob),
}

/// One partition's batches. It goes to the owner and comes back with the outcome.
pub struct AppendPart {
    /// The partition.
    pub key: PartitionKey,
    /// Its place in the request.
    pub place: u32,
    /// Validated batches; empty once they are in the log.
    pub batches: Bytes,
    /// What to write into the batches under their checksum: the append time, or the right maximum timestamp.
    pub timestamp: Option<(TimestampType, WallMs)>,
    /// Replicas that must be in sync (acks=all), else zero.
    pub min_insync: i32,
    /// The outcome. An error on the way to the owner: validation has refused the batches already, and the owner only
    /// adds what it knows.
    pub done: AppendDone,
}

impl AppendPart {
    /// Without batches.
    pub fn new(key: PartitionKey) -> AppendPart {
        AppendPart {
            key,
            place: 0,
            batches: Bytes::new(),
            timestamp: None,
            min_insync: 0,
            done: AppendDone::error(ErrorCode::NONE, None),
        }
    }
}

/// Outcome of one [`AppendPart`].
#[derive(Clone, Debug)]
pub struct AppendDone {
    /// None, or what was wrong.
    pub error: ErrorCode,
    /// The first record's offset, -1 on error.
    pub base_offset: Offset,
    /// The append time, -1 unless the topic uses LogAppendTime.
    pub log_append_time_ms: i64,
    /// The partition's first offset.
    pub log_start_offset: Offset,
    /// Words for the client.
    pub message: Option<String>,
}

/// A read of several partitions of one owner.
pub struct ReadJob {
    /// Which, from where, how much.
    pub parts: Vec<ReadPart>,
    /// Bytes in all that are worth collecting.
    pub max_bytes: usize,
    /// Whether records of open transactions are held back (read_committed).
    pub committed: bool,
    /// When set: if the job finds fewer bytes than this, it also leaves a watch, and [`Done::Wake`] follows once
    /// so many bytes more were appended to the partitions of this job.
    pub watch_bytes: Option<usize>,
}

/// One partition of a read. It goes to the owner and comes back with the outcome.
#[derive(Debug)]
pub struct ReadPart {
    /// The partition.
    pub key: PartitionKey,
    /// The first offset wanted.
    pub offset: Offset,
    /// Bytes at most, save for a first batch that is larger; None for less than none, which is an error where there is
    /// something to read.
    pub max_bytes: Option<usize>,
    /// The leader epoch the reader knows, -1 if none.
    pub current_leader_epoch: i32,
    /// The epoch of the last record that the reader has, -1 if none (KIP-595).
    pub last_fetched_epoch: i32,
    /// The outcome.
    pub done: ReadDone,
}

impl AppendDone {
    /// A refusal.
    pub fn error(error: ErrorCode, message: Option<String>) -> AppendDone {
        AppendDone { error, base_offset: -1, log_append_time_ms: -1, log_start_offset: -1, message }
    }
}

/// Outcome of one [`ReadPart`].
#[derive(Clone, Debug)]
pub struct ReadDone {
    /// None, or what was wrong.
    pub error: ErrorCode,
    /// Consumers see records below this.
    pub high_watermark: Offset,
    /// Read_committed consumers see records below this.
    pub last_stable_offset: Offset,
    /// The first offset.
    pub log_start_offset: Offset,
    /// Aborted transactions among the records: producer id and first offset.
    pub aborted: Vec<(i64, Offset)>,
    /// Whole batches.
    pub records: Vec<Bytes>,
    /// Their length.
    pub bytes: usize,
    /// Where the reader's log leaves ours: epoch and end offset.
    pub diverging: Option<(i32, Offset)>,
}

impl ReadDone {
    /// A refusal.
    pub fn error(error: ErrorCode) -> ReadDone {
        ReadDone {
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted: Vec::new(),
            records: Vec::new(),
            bytes: 0,
            diverging: None,
        }
    }
}

/// One question of ListOffsets.
#[derive(Clone, Debug)]
pub struct OffsetsPart {
    /// The partition.
    pub key: PartitionKey,
    /// A time, or one of Kafka's negative sentinels.
    pub timestamp: i64,
    /// The leader epoch the asker knows, -1 if none.
    pub current_leader_epoch: i32,
    /// Whether the latest offset is the last stable one.
    pub committed: bool,
}

/// One question of OffsetForLeaderEpoch.
#[derive(Clone, Debug)]
pub struct EpochPart {
    /// The partition.
    pub key: PartitionKey,
    /// The leader epoch the asker knows, -1 if none.
    pub current_leader_epoch: i32,
    /// The epoch whose end is asked for.
    pub leader_epoch: i32,
}

/// A request for a group coordinator.
pub struct GroupJob {
    /// The partition of `__consumer_offsets` that holds the group; None for all of this core's (ListGroups).
    pub partition: Option<i32>,
    /// The client.
    pub client: ClientInfo,
    /// The version of its request.
    pub api_version: i16,
    /// What it asks.
    pub request: GroupRequest,
}

/// A request for the controller.
pub struct ControlJob {
    /// The API.
    pub api_key: ApiKey,
    /// Its version.
    pub api_version: i16,
    /// The request's body.
    pub body: Body,
}

/// The size of a partition on disk.
#[derive(Clone, Debug)]
pub struct PartitionSize {
    /// The partition.
    pub key: PartitionKey,
    /// Which log directory holds it.
    pub log_dir: u32,
    /// Bytes of all its segments.
    pub size_bytes: u64,
}

/// The answer to a job.
pub enum Done {
    /// Of [`Job::Append`]: its parts, in order, with their outcomes.
    Append(Vec<AppendPart>),
    /// Of [`Job::Read`].
    Read {
        /// Its parts, in order, with their outcomes.
        parts: Vec<ReadPart>,
        /// Whether a watch was left: [`Done::Wake`] follows.
        watching: bool,
    },
    /// A watch has seen enough; it is gone now.
    Wake,
    /// Of [`Job::Offsets`], in order.
    Offsets(Vec<Result<Option<OffsetAndTimestamp>, ErrorCode>>),
    /// Of [`Job::Epochs`], in order: epoch and end offset.
    Epochs(Vec<Result<(i32, Offset), ErrorCode>>),
    /// Of [`Job::DeleteRecords`], in order: the new log start.
    DeleteRecords(Vec<Result<Offset, ErrorCode>>),
    /// Of [`Job::Producers`], in order: the first ones, and whether there are more producers of the last one.
    Producers(Vec<Result<(Vec<ProducerDescription>, bool), ErrorCode>>),
    /// Of [`Job::Sizes`].
    Sizes(Vec<PartitionSize>),
    /// A whole response body, or the error to answer with.
    Body(Result<Vec<u8>, ErrorCode>),
    /// Of no job: what a helper thread made for a request of this core.
    Computed(Box<dyn Any + Send>),
    /// Of [`Job::Group`]: the coordinator's reply, or a refusal in its form.
    Group(Box<GroupReply>),
}
