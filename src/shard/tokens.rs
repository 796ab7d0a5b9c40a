//! Whose a disk event is. A token's upper half is a place: that of a partition, or one that no partition has. Its lower half
//! is a tag: logs count theirs up from zero, jobs have their own at the other end. Two with one number are a compiler's error.

use crate::io::Token;
use crate::log::journal;

/// Places that no partition has.
#[repr(u32)]
pub enum Place {
    /// The metadata log, which core 0 has, and what a core does for all its partitions ([`CoreTag`]).
    Core = 0,
    /// Of nobody: nothing waits for the job.
    Nobody = u32::MAX - 2,
    /// The core's journals.
    Journal = journal::SLOT,
    /// Work of requests that helper threads do.
    Heavy = u32::MAX,
}

/// What of [`Place::Core`] is not the metadata log's.
#[repr(u32)]
pub enum CoreTag {
    /// The metadata snapshot is written.
    Snapshot = u32::MAX,
    /// The checkpoints are written.
    Checkpoint = u32::MAX - 1,
    /// A helper thread has decided on a request to the controller.
    Decided = u32::MAX - 2,
    /// A helper thread has looked through a batch.
    Scanned = u32::MAX - 3,
}

/// Jobs for several partitions; their place is a number of the job.
#[repr(u32)]
pub enum JobTag {
    /// Partitions are opened.
    Opened = u32::MAX,
    /// The same where somebody waited for it.
    OpenedSoon = u32::MAX - 1,
    /// Leader epochs are written down.
    Epochs = u32::MAX - 2,
}

/// What a shard's disk event is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Checkpoints.
    Checkpoint,
    /// A lookup.
    Scan,
    /// The journals, by tag.
    Journal(u32),
    /// The controller, by tag.
    Controller(u32),
    /// Leader epochs, by the job's number.
    Epochs(u32),
    /// Partitions that are opened, by the job's number, and whether somebody waited.
    Opened(u32, bool),
    /// Nothing that anybody waits for.
    Nobody,
    /// A partition's log, by place and tag.
    Log(u32, u32),
}

impl Of {
    /// What the event with this token is of.
    pub fn token(token: Token) -> Of {
        const JOURNAL: u32 = Place::Journal as u32;
        const CORE: u32 = Place::Core as u32;
        const NOBODY: u32 = Place::Nobody as u32;
        const CHECKPOINT: u32 = CoreTag::Checkpoint as u32;
        const SCANNED: u32 = CoreTag::Scanned as u32;
        const OPENED: u32 = JobTag::Opened as u32;
        const OPENED_SOON: u32 = JobTag::OpenedSoon as u32;
        const EPOCHS: u32 = JobTag::Epochs as u32;
        match ((token.0 >> 32) as u32, token.0 as u32) {
            (CORE, CHECKPOINT) => Of::Checkpoint,
            (CORE, SCANNED) => Of::Scan,
            (CORE, tag) => Of::Controller(tag),
            (JOURNAL, tag) => Of::Journal(tag),
            (NOBODY, _) => Of::Nobody,
            (job, EPOCHS) => Of::Epochs(job),
            (job, OPENED) => Of::Opened(job, false),
            (job, OPENED_SOON) => Of::Opened(job, true),
            (slot, tag) => Of::Log(slot, tag),
        }
    }
}

/// A token of a place.
pub fn token(place: u32, tag: u32) -> Token {
    Token(u64::from(place) << 32 | u64::from(tag))
}

/// A token of what a core does for all its partitions.
pub fn of_core(tag: CoreTag) -> Token {
    token(Place::Core as u32, tag as u32)
}

/// The token of a job that nobody waits for.
pub fn of_nobody() -> Token {
    token(Place::Nobody as u32, 0)
}
