//! Ottla: a Kafka-protocol broker for Linux. Thread per core, `io_uring`, direct I/O.
//!
//! [`server`] runs one loop per core: [`net`] cuts frames, [`api`] answers requests from the metadata image or mails jobs
//! to the core that owns a partition, and there [`shard`] keeps logs ([`log`]), group coordinators ([`coord`]) and, on
//! core 0, the controller ([`meta`], [`raft`]). Only [`io`] speaks to the kernel.
//!
//! The rooms, the direction of their imports and the way data walks through them are described in `src/README.md`; the
//! imports are enforced by `tests/tidy.rs`.

// `unsafe` is confined to the `io` room.
#![deny(unsafe_code)]

pub mod api;
pub mod base;
pub mod bench;
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
