//! Reading and writing Kafka's primitive types, and what every generated message can do.
//!
//! A [`Reader`] borrows the frame: strings and bytes are slices of it, and only arrays allocate. Every length is
//! checked against the bytes that remain, and what arrays may allocate in all is bounded by the frame's length
//! ([`ALLOC_PER_BYTE`]). A [`Writer`] keeps its first error, so that writing a field is one plain call; the error
//! comes out of [`Writer::finish`] and [`Message::write`].

mod body;
mod error;
mod reader;
pub mod utf8;
mod writer;

use std::ops::RangeInclusive;

pub use body::Body;
pub use error::{DecodeError, DecodeErrorKind, EncodeError, EncodeErrorKind};
pub use reader::{ALLOC_BASE, ALLOC_PER_BYTE, Reader};
pub use writer::{TagsAt, Writer};

use crate::base::Uuid;

/// A value that stands in an array or a struct: the structs of the generated messages and the numbers.
pub trait Element<'a>: Sized {
    /// The fewest bytes a value takes in any version; it bounds the count of an array.
    const WIRE_MIN: usize;

    /// Reads a value; `version` is the message's and must be one that has this struct.
    fn get(r: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError>;

    /// Writes a value; an error stays in the writer.
    fn put(&self, w: &mut Writer, version: i16);
}

/// A message of Kafka's protocol or a record of one of its logs: the schema's top level.
pub trait Message<'a>: Element<'a> {
    /// Kafka's name, as `FetchRequest`.
    const NAME: &'static str;
    /// The API key, metadata record type or coordinator record type; -1 for what has none.
    const KEY: i16;
    /// The versions that exist.
    const VERSIONS: RangeInclusive<i16>;
    /// The first version with compact lengths and tagged fields (KIP-482), if any has them.
    const FLEXIBLE_FROM: Option<i16>;

    /// Reads the message in `version`; bytes behind it stay in the reader.
    fn read(r: &mut Reader<'a>, version: i16) -> Result<Self, DecodeError> {
        let known = Self::VERSIONS.contains(&version);
        let read = if known { Self::get(r, version) } else { Err(r.error(DecodeErrorKind::Version)) };
        read.map_err(|e| e.of(Self::NAME, version))
    }

    /// Writes the message in `version`. On error the writer holds half a message and gives the error on finish.
    fn write(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if Self::VERSIONS.contains(&version) {
            self.put(w, version);
        } else {
            w.fail(EncodeErrorKind::Version);
        }
        w.name_error(Self::NAME, version);
        w.check()
    }
}

/// A message that is the whole of `bytes`.
pub fn decode<'a, M: Message<'a>>(bytes: &'a [u8], version: i16) -> Result<M, DecodeError> {
    let mut r = Reader::new(bytes);
    let message = M::read(&mut r, version)?;
    match r.remaining() {
        0 => Ok(message),
        _ => Err(r.error(DecodeErrorKind::Trailing).of(M::NAME, version)),
    }
}

/// A request at the start of `bytes`. What lies behind it is ignored, as Kafka does: librdkafka leaves three bytes
/// behind a Metadata request for all topics.
pub fn decode_request<'a, M: Message<'a>>(bytes: &'a [u8], version: i16) -> Result<M, DecodeError> {
    M::read(&mut Reader::new(bytes), version)
}

/// The bytes of a message.
pub fn encode<'a, M: Message<'a>>(message: &M, version: i16) -> Result<Vec<u8>, EncodeError> {
    let mut w = Writer::new();
    message.write(&mut w, version)?;
    w.finish()
}

macro_rules! number_elements {
    ($($type:ty, $method:ident;)*) => {$(
        impl<'a> Element<'a> for $type {
            const WIRE_MIN: usize = size_of::<$type>();

            fn get(r: &mut Reader<'a>, _version: i16) -> Result<Self, DecodeError> {
                r.$method()
            }

            fn put(&self, w: &mut Writer, _version: i16) {
                w.$method(*self);
            }
        }
    )*};
}

number_elements! {
    i8, i8; i16, i16; i32, i32; i64, i64; u16, u16; u32, u32; Uuid, uuid;
}

#[cfg(test)]
mod tests;
