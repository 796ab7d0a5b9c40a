//! Kafka's wire protocol: primitives, generated messages, record batches, compression, error codes.
//!
//! Pure: bytes in, values out, and back.

pub mod codec;

pub mod messages;

pub mod api;
pub mod errors;
pub mod fetch;
pub mod frame;
pub mod produce;
pub mod topics;

pub mod record;

pub use api::{Api, ApiKey};
pub use codec::{DecodeError, EncodeError, Message, Reader, Writer};
pub use errors::ErrorCode;
