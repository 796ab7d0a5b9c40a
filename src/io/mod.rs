//! The only room that speaks to the kernel: the per-core reactor on `io_uring`, aligned buffers, direct-I/O
//! files, sockets, the clock, the background executor, and the simulated twin of all of it.
//!
//! Everything above sees four traits ([`Clock`], [`Disk`], [`Sockets`], [`World`]) and the blocking [`Files`];
//! `ring` and `sim` implement them. The traits are object safe on purpose: rooms above take `&mut dyn Disk`
//! and are compiled once.

mod background;
pub mod buf;
pub mod clock;
#[cfg(test)]
mod conformance;
pub mod descriptors;
pub mod file;
mod host_name;
mod jobs;
pub mod lack;
pub mod lock;
mod memory;
pub mod os_files;
mod remedy;
pub mod repeats;
pub mod ring;
pub mod signals;
pub mod sim;
pub mod volume;
pub mod world;

pub use buf::AlignedBuf;
pub use file::{DirEntry, File, Files, OpenMode, side_by_side};
pub use host_name::canonical_host_name;
pub use lack::{Lack, errno_of};
pub use os_files::OsFiles;
pub use remedy::remedy;
pub use ring::{Remote, Ring, RingError};
pub use volume::volume_bytes;
pub use world::{
    Clock, ConnId, Disk, DiskOutcome, Event, FileJob, FileJobOutcome, FileWork, ListenerId, Socket,
    SocketEvent, Sockets, Token, World,
};
