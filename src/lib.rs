//! Ottla: a Kafka-protocol broker for Linux. Thread per core, `io_uring`, direct I/O.
//!
//! The rooms and the direction of their imports are described in `src/README.md` and enforced by
//! `tests/tidy.rs`.

// `unsafe` is confined to the `io` room.
#![deny(unsafe_code)]

pub mod api;
pub mod base;
pub mod cli;
pub mod config;
pub mod coord;
#[allow(unsafe_code)] // the only room that speaks to the kernel
pub mod io;
pub mod log;
pub mod meta;
pub mod metrics;
pub mod net;
pub mod raft;
pub mod server;
pub mod shard;
pub mod wire;
