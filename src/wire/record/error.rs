//! What can be wrong with the bytes of a record batch.

use thiserror::Error;

/// A batch or its records cannot be read. Offsets in messages count bytes from the start of the batch.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The bytes end before the batch does: a partial read, or a torn write at the end of a segment.
    #[error("the batch needs {need} bytes but only {have} are here")]
    Truncated {
        /// Bytes the batch says that it has, or the smallest header if that is not yet known.
        need: usize,
        /// Bytes that are here.
        have: usize,
    },
    /// The length field cannot be right: smaller than a header, or negative.
    #[error("batch length {0} is smaller than a batch header; the data is corrupt or not a record batch")]
    BatchLength(i32),
    /// Not format 2.
    #[error("batch magic {0} is not 2; only record format 2 (Kafka 0.11 and later) is supported")]
    Magic(i8),
    /// The checksum does not cover these bytes.
    #[error("batch CRC is {stored:#010x} in the header but {computed:#010x} over its bytes")]
    Crc {
        /// From the header.
        stored: u32,
        /// Over attributes to end.
        computed: u32,
    },
    /// Attributes name a codec that does not exist.
    #[error("unknown compression codec id {0}; known are 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd")]
    CodecId(u8),
    /// The compressed records do not decompress.
    #[error("the {codec} data of the batch does not decompress: {reason}")]
    Decompress {
        /// Name of the codec.
        codec: &'static str,
        /// What the decompressor said.
        reason: String,
    },
    /// The records would be larger than the bound when decompressed.
    #[error("the batch decompresses to more than {limit} bytes; send smaller batches")]
    Uncompressed {
        /// The bound, in bytes.
        limit: usize,
    },
    /// One record is malformed.
    #[error("record {index} of the batch is malformed: {reason}")]
    Record {
        /// Position in the batch, from 0.
        index: i32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The header's count is negative.
    #[error("the batch header counts {0} records")]
    Count(i32),
    /// Bytes follow the last record that the header counts.
    #[error("{left} bytes follow the last of the {count} records that the batch header counts")]
    Trailing {
        /// The header's count.
        count: i32,
        /// Bytes left over.
        left: usize,
    },
}
