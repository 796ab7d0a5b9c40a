//! Every bound of the broker in one place, with the relations between them asserted at compile time.

/// The unit of direct I/O: offsets, lengths and addresses are multiples of it.
pub const BLOCK_BYTES: usize = 4096;

/// The smallest request frame: API key, version, correlation id.
pub const FRAME_BYTES_MIN: usize = 8;

/// Topic names: Kafka's `Topic.MAX_NAME_LENGTH`.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

/// Shards in one process.
pub const SHARDS_MAX: usize = 256;

/// A batch's records when decompressed, in bytes. Kafka has no such bound, but decompresses in small steps.
pub const RECORDS_UNCOMPRESSED_BYTES_MAX: usize = 128 << 20;

/// Refused records that a Produce response lists per partition. Clients fail the whole batch anyway.
pub const RECORD_ERRORS_MAX: usize = 1000;

const _: () = assert!(BLOCK_BYTES.is_power_of_two());
const _: () = assert!(SHARDS_MAX <= u16::MAX as usize);

/// Entries of a core's submission queue.
pub const RING_SUBMISSIONS: u32 = 1024;

/// Entries of a core's completion queue.
pub const RING_COMPLETIONS: u32 = 8192;

/// Receive buffers of a core that small frames arrive in, and the size of each.
pub const RECEIVE_BUFFERS: usize = 256;
/// See [`RECEIVE_BUFFERS`].
pub const RECEIVE_BUFFER_BYTES: usize = 16 << 10;

/// Parts of one vectored send: Linux's `IOV_MAX`.
pub const SEND_PARTS_MAX: usize = 1024;

const _: () = assert!(RING_COMPLETIONS >= 8192 && RING_COMPLETIONS >= 2 * RING_SUBMISSIONS);
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two() && RECEIVE_BUFFERS <= 32768);
const _: () = assert!(RECEIVE_BUFFER_BYTES.is_multiple_of(BLOCK_BYTES));

/// Connections of one core.
pub const CONNECTIONS_PER_CORE_MAX: usize = 1 << 20;

/// Connections that wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Threads for file work beside the cores.
pub const BACKGROUND_THREADS_MAX: usize = 2;
