//! Record batches, format 2 (KIP-98): header, view, records, compression, building, produce validation.
//!
//! A batch is a 61-byte header and the records, which are compressed together. Only magic 2 is spoken:
//! Kafka 4 refuses the older formats on the wire and none are on its disks.

mod header;
mod varint;

mod view;

mod records;

mod codec;
mod gzip;
mod lz4;
mod snappy;

mod build;
mod validate;

mod error;

#[cfg(test)]
mod tests;

pub use build::{BatchBuilder, ControlType, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE};
pub use codec::{Codec, Compression, Scratch, compress, decompress, decompressed_here};
pub use error::RecordError;
pub use header::{
    Attributes, BatchHeader, CRC_FROM, HEADER_BYTES, LOG_OVERHEAD, MAGIC, NO_LEADER_EPOCH, NO_TIMESTAMP,
    TimestampType, set_base_offset, set_leader_epoch, set_log_append_time, set_max_timestamp,
};
pub use records::{Header, Headers, Record, Records};
pub use validate::{
    Accepted, Origin, RecordIssue, Validated, ValidationError, ValidationRules, validate, validate_shallow,
};
pub use view::{BatchView, Batches};
