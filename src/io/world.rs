//! The seam between a core's state and the outside: submissions out, completions in.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::file::{File, Files, OpenMode};
use crate::base::limits::BLOCK_BYTES;
use crate::base::{ShardId, Ticks, WallMs};

/// Chosen by whoever submits a disk operation; comes back with its completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// A listening socket of this core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u32);

/// A connection of this core. Never reused within a process's life: a late completion cannot reach a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// An accepted socket on its way to the core that will serve it.
pub struct Socket {
    /// The world's own handle.
    pub handle: Box<dyn Any + Send>,
    /// The client's address.
    pub peer: SocketAddr,
}

/// Time as this core reads it. Both clocks are read once per turn, so one turn sees one time.
pub trait Clock {
    /// Monotonic time.
    fn now(&self) -> Ticks;
    /// Wall-clock time.
    fn wall_ms(&self) -> WallMs;
}

/// Asynchronous disk operations. Every call is answered by exactly one [`Event::Disk`] with its token.
///
/// Offsets and lengths of `read` and `write` are multiples of the block size.
pub trait Disk: Clock {
    /// Reads `len` bytes at `offset`; fewer at the end of the file.
    fn read(&mut self, file: &File, offset: u64, len: usize, token: Token);
    /// Writes all of `bytes` (whole, aligned blocks) at `offset`; short writes are completed inside.
    fn write(&mut self, file: &File, offset: u64, bytes: Bytes, token: Token);
    /// As `write`, and flushes these bytes to the medium before the completion.
    fn write_durable(&mut self, file: &File, offset: u64, bytes: Bytes, token: Token);
    /// Writes at once, through the page cache of a file opened as [`OpenMode::Buffered`], at any alignment: what is
    /// written outlives the process, but not a power cut. The one operation that has ended when it returns.
    ///
    /// # Errors
    /// Those of `pwrite`.
    fn stage(&mut self, file: &File, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Bytes that are free on the volume of a path: a short system call.
    fn free_bytes(&self, _path: &Path) -> u64 {
        u64::MAX
    }
    /// Flushes the file's data to the medium.
    fn sync(&mut self, file: &File, token: Token);
    /// Runs a job that may block, on the background executor. Jobs of one core run in order of submission.
    fn background(&mut self, job: FileJob, token: Token);
    /// As [`Disk::background`], for what may take long and nobody waits for with work in hand: such jobs of one core run
    /// in order among themselves, beside its others.
    fn background_slow(&mut self, job: FileJob, token: Token) {
        self.background(job, token);
    }
    /// Runs work that needs the processor, not the disk, beside the cores and behind them in the scheduler's eyes: such
    /// jobs of one core run in order, one at a time.
    fn compute(&mut self, job: FileJob, token: Token) {
        self.background_slow(job, token);
    }
    /// As [`Disk::compute`], for what takes long, or much memory: one such job of the process runs at a time, beside others.
    fn compute_long(&mut self, job: FileJob, token: Token) {
        self.compute(job, token);
    }
    /// Bytes of this core's buffers that are in use, by whomever; zero where nobody counts.
    fn buffer_bytes(&self) -> usize {
        0
    }
    /// Gives memory back to the system that is not needed any more. To be called now and then, also a while after the last
    /// work: other cores free what they were lent when they are done with it.
    fn tidy_memory(&mut self) {}
}

/// Blocking work of [`FileJob::Run`]; its value comes back as [`FileJobOutcome::Ran`].
pub type FileWork = Box<dyn FnOnce(&dyn Files) -> io::Result<Box<dyn Any + Send>> + Send>;

/// A job that may take its time.
pub enum FileJob {
    /// Opens a file, reserving `allocate` bytes if that is more than it has. A file that this creates is flushed
    /// into its directory.
    Open {
        /// Where.
        path: PathBuf,
        /// How.
        mode: OpenMode,
        /// Bytes to reserve; zero for none.
        allocate: u64,
    },
    /// Reserves space in an open file.
    Allocate(File, u64),
    /// Sets an open file's length.
    SetLen(File, u64),
    /// Renames a file or directory and flushes the directory it is in.
    Rename(PathBuf, PathBuf),
    /// Removes a file.
    RemoveFile(PathBuf),
    /// Removes a directory with all it holds.
    RemoveDirAll(PathBuf),
    /// Replaces a small file atomically.
    WriteAtomic(PathBuf, Vec<u8>),
    /// Anything else that blocks: start-up scans, checkpoints, directory creation.
    Run(FileWork),
}

/// The contract of [`Disk::read`] and [`Disk::write`]; a breach is our own bug.
pub(super) fn assert_aligned(offset: u64, len: usize, address: usize) {
    assert!(
        offset.is_multiple_of(BLOCK_BYTES as u64)
            && len.is_multiple_of(BLOCK_BYTES)
            && address.is_multiple_of(BLOCK_BYTES),
        "unaligned disk operation: offset {offset}, {len} bytes, address {address:#x}"
    );
}

/// What came of a disk operation.
pub enum DiskOutcome {
    /// The bytes read.
    Read(io::Result<Bytes>),
    /// A write has reached the device.
    Written(io::Result<()>),
    /// A flush has ended.
    Synced(io::Result<()>),
    /// A background job has ended.
    Job(io::Result<FileJobOutcome>),
}

/// What a background job gives.
pub enum FileJobOutcome {
    /// The file of [`FileJob::Open`].
    Opened(File),
    /// The job of another kind is done.
    Done,
    /// The value of [`FileJob::Run`].
    Ran(Box<dyn Any + Send>),
}

/// Something happened to a socket.
pub enum SocketEvent {
    /// A client connected to a listener of this core.
    Accepted(ListenerId, Socket),
    /// Bytes arrived (never empty). Reading pauses after [`Sockets::pause`] until [`Sockets::resume`].
    Received(ConnId, Bytes),
    /// A [`Sockets::recv_into`] has filled its buffer or as much as had arrived: the buffer with its new length.
    Filled(ConnId, Vec<u8>),
    /// The send in flight has left completely.
    Sent(ConnId),
    /// As asked for by [`Sockets::watch`]: the peer sends no more than what is still to be read.
    Ending(ConnId),
    /// The peer sends no more, but may still receive: it has closed one direction of the connection, or both (which shows
    /// when something is sent). Nothing more is read, and it is to be closed.
    Ended(ConnId),
    /// The connection was closed, or has failed. Nothing more follows for this id.
    Closed(ConnId, io::Result<()>),
}

/// Asynchronous sockets.
pub trait Sockets: Clock {
    /// Listens on an address (port 0 chooses one); gives the address bound.
    fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)>;
    /// Stops accepting.
    fn unlisten(&mut self, listener: ListenerId);
    /// Takes over an accepted socket (from this core or another) and starts reading from it.
    fn adopt(&mut self, socket: Socket) -> io::Result<ConnId>;
    /// Stops reading from a connection (what was already taken from the socket may still arrive).
    fn pause(&mut self, conn: ConnId);
    /// Reads on.
    fn resume(&mut self, conn: ConnId);
    /// While paused: tells by [`SocketEvent::Ending`] or [`SocketEvent::Closed`] if the peer ends, although nothing is
    /// read.
    fn watch(&mut self, conn: ConnId);
    /// Bytes that have come from the peer, and that it has taken, since the connection began: whether there is progress
    /// while a send or a receive is in flight.
    fn transferred(&self, conn: ConnId) -> u64;
    /// While paused: reads straight into `buffer` (from its length up to its capacity), for large frames. What arrives
    /// from this call on comes in the buffer; [`SocketEvent::Received`] events that a turn has already handed out do not,
    /// so they are to be handled first.
    fn recv_into(&mut self, conn: ConnId, buffer: Vec<u8>);
    /// Sends the parts in order, and takes them out of the list. One send in flight per connection.
    fn send(&mut self, conn: ConnId, parts: &mut Vec<Bytes>);
    /// Closes a connection; [`SocketEvent::Closed`] follows unless it was already reported.
    fn close(&mut self, conn: ConnId);
}

/// What a core wakes up for.
pub enum Event<M> {
    /// A disk operation ended.
    Disk(Token, DiskOutcome),
    /// Something happened to a socket.
    Socket(SocketEvent),
    /// Another core, or this one, sent mail.
    Mail(ShardId, M),
    /// The process is asked to stop (SIGTERM, SIGINT).
    Stop,
}

/// All of a core's outside. `M` is the mail between cores.
pub trait World<M>: Disk + Sockets {
    /// This core.
    fn shard(&self) -> ShardId;
    /// The number of cores.
    fn shards(&self) -> usize;
    /// Blocking file operations, for start-up.
    fn files(&self) -> &dyn Files;
    /// Sends mail to a core (also to this one: it arrives in a later turn). Never blocks; order per pair is kept.
    fn post(&mut self, to: ShardId, mail: M);
    /// Submits what is queued, waits until something happened or `until` has come, and appends what happened.
    /// Does not wait when something already has.
    fn turn(&mut self, until: Ticks, events: &mut Vec<Event<M>>);
}
