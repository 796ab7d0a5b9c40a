//! Kafka's wire protocol: primitives, generated messages, record batches, compression, error codes.
//!
//! Pure: bytes in, values out, and back.

pub mod record;
