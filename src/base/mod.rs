//! What every room may use: identifiers, time, bounds, a small deterministic random generator.
//!
//! Pure: no clock, thread, or I/O.

pub mod deadlines;
pub mod hash;
pub mod ids;
pub mod limits;
pub mod prng;
pub mod progress;
pub mod time;

pub use deadlines::Deadlines;
pub use hash::IdMap;
pub use ids::{
    BrokerId, DirectoryId, LeaderEpoch, Offset, ProducerId, ShardId, TopicId, TopicPartition, Uuid,
};
pub use time::{Ticks, WallMs};
