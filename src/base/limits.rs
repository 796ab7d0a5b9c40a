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
