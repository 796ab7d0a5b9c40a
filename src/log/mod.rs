//! Partitions on disk, in Apache Kafka's format.
//!
//! A [`Partition`] belongs to one core. Its methods change state at once and submit disk operations through
//! [`Env`]; what those operations bring comes back through [`Partition::on_disk`] and leaves as [`LogEffect`]s.
//! Nothing here blocks, except what takes a [`Files`](crate::io::Files): creating, opening and closing, which run
//! at start-up, at the end, or in a background job.

mod types;

mod partition;
mod writer;

mod behind;
mod believe;
mod beside;
pub mod journal;

mod flow;
mod segment;
mod shortage;

mod ahead;
mod cache;
mod damage;
mod lookup;
mod reader;

mod retain;
mod truncate;

mod aside;
mod open;
mod recover;
mod replay;
mod resync;
mod scanner;

mod epochs;
mod index;
mod producers;
mod snapshot;
mod txn_index;

pub mod checkpoint;
mod config;
mod error;
pub mod names;
pub mod retire;

pub use cache::Cache;
pub use config::LogConfig;
pub use error::{AppendError, LogError};
pub use lookup::{BatchScan, Paused, TakesLong};
pub use open::flush_created;
pub use partition::Partition;
pub use replay::{Damage, Walk, Walked, replay, walk_log};
pub use types::{
    AbortedTransaction, AppendInfo, AppendOrigin, Appended, CreateOptions, Env, EpochEnd, LogEffect, Lookup,
    OffsetAndTimestamp, OpenOptions, ProducerDescription, ReadData, ReadRequest, RecoveryReport,
};
#[cfg(test)]
mod tests;
