//! Coordinators as pure state machines: requests and time go in, records to append and replies come out.
//!
//! No clock, thread or I/O: whoever owns the partition of the coordinator's topic (a shard) hands in the time, appends
//! what it is asked to append, says when that is durable, and sends the replies.
//!
//! `group` is the group coordinator. The transaction coordinator and the share-state coordinator get rooms beside it.

pub mod group;

use crate::base::{Ticks, WallMs};

/// The caller's name for one request; every ticket is answered exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The name of one [`Append`] within its coordinator, ascending in the order of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

/// The two clocks at the moment of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: what timeouts count in.
    pub ticks: Ticks,
    /// The calendar, in milliseconds: what records carry and retention counts in.
    pub wall_ms: WallMs,
}

/// One record of a coordinator's topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The record's key: an int16 type and the key's message.
    pub key: Vec<u8>,
    /// The record's value: an int16 version and the value's message. None is a tombstone.
    pub value: Option<Vec<u8>>,
}

/// What a batch of one record takes beside the record's key and value, at most.
const BATCH_OF_ONE_BYTES: usize = 61 + 5 + 1 + 1 + 1 + 5 + 5 + 1;

impl Record {
    /// Bytes of its key and value.
    pub fn payload_bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Vec::len)
    }

    /// Bytes of a batch with this record alone.
    pub fn batch_bytes(&self) -> usize {
        self.payload_bytes() + BATCH_OF_ONE_BYTES
    }
}

/// Records for the coordinator's partition, to be appended as one batch, after all earlier appends of this coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// What to call `appended` with once the batch is committed, or refused.
    pub id: AppendId,
    /// The records, in order; never empty.
    pub records: Vec<Record>,
}
