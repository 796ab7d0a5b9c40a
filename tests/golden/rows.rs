//! Every message as functions over bytes, so that tests can go through all of them.

#[path = "table.rs"]
mod table;

use std::ops::RangeInclusive;

use ottla::wire::codec::{DecodeError, EncodeError, Message, decode, encode};

pub use table::ROWS;

/// Reads bytes of the first version and writes them in the second.
type Recode = fn(&[u8], i16, i16) -> Result<Vec<u8>, Failure>;

/// A message.
pub struct Row {
    pub name: &'static str,
    pub versions: RangeInclusive<i16>,
    pub recode: Recode,
    /// The message with its defaults.
    pub default: fn(i16) -> Result<Vec<u8>, EncodeError>,
}

#[derive(Debug, PartialEq)]
pub enum Failure {
    Decode(DecodeError),
    Encode(EncodeError),
}

/// The row of a name.
pub fn row(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name)
}

pub fn recode<'a, M: Message<'a>>(bytes: &'a [u8], from: i16, to: i16) -> Result<Vec<u8>, Failure> {
    let message = decode::<M>(bytes, from).map_err(Failure::Decode)?;
    encode(&message, to).map_err(Failure::Encode)
}

macro_rules! message_row {
    ($name:ident) => {
        $crate::rows::Row {
            name: <ottla::wire::messages::$name as ottla::wire::codec::Message>::NAME,
            versions: <ottla::wire::messages::$name as ottla::wire::codec::Message>::VERSIONS,
            recode: |bytes, from, to| $crate::rows::recode::<ottla::wire::messages::$name>(bytes, from, to),
            default: |version| ottla::wire::codec::encode(&ottla::wire::messages::$name::default(), version),
        }
    };
}

pub(crate) use message_row;
