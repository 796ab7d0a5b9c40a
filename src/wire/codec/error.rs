//! What can be wrong with a frame that came, or with a message that is to go.

use std::fmt;

use thiserror::Error;

/// Why bytes are not a message, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// What was wrong.
    pub kind: DecodeErrorKind,
    /// The message being read, empty before it is known.
    pub message: &'static str,
    /// The version in which it was read.
    pub version: i16,
    /// Bytes from the start of the reader's input.
    pub offset: usize,
    /// Bytes behind the offset.
    pub remaining: usize,
}

/// The ways in which bytes can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeErrorKind {
    /// A value ends behind the end of the input.
    #[error("{what} of {needs} bytes ends behind the input")]
    Short {
        /// The kind of value.
        what: &'static str,
        /// Its length in bytes.
        needs: usize,
    },
    /// A varint has more bytes or bits than its type.
    #[error("a varint is too long")]
    Varint,
    /// A string is not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// A null where this version has none.
    #[error("{0} is null, which this version does not allow")]
    Null(&'static str),
    /// A length below -1, or a string longer than 32767 bytes.
    #[error("{what} has the impossible length {length}")]
    Length {
        /// The kind of value.
        what: &'static str,
        /// Its length as written.
        length: i64,
    },
    /// More elements than the bytes that remain can hold.
    #[error("an array of {count} elements cannot fit the input")]
    Count {
        /// The count as written.
        count: usize,
    },
    /// More topics and partitions than are allowed.
    #[error("more than {max} topics and partitions are named; name each once")]
    Many {
        /// How many are.
        max: usize,
    },
    /// The arrays of this input want more memory than its length allows.
    #[error("the arrays want more memory than a frame of this length may take")]
    Memory,
    /// A tagged field is longer or shorter than its value.
    #[error("tagged field {tag} has a size that is not its value's")]
    Tag {
        /// The field's tag.
        tag: u32,
    },
    /// Bytes behind the end of the message.
    #[error("bytes are left behind the message")]
    Trailing,
    /// The message has no such version.
    #[error("there is no such version")]
    Version,
}

impl DecodeError {
    /// The same error with the message's name, unless it has one already.
    #[must_use]
    pub fn of(mut self, message: &'static str, version: i16) -> DecodeError {
        if self.message.is_empty() {
            self.message = message;
            self.version = version;
        }
        self
    }
}

impl std::error::Error for DecodeError {}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DecodeError { kind, message, version, offset, remaining } = self;
        if !message.is_empty() {
            write!(f, "{message} version {version}: ")?;
        }
        write!(f, "{kind}, at byte {offset} with {remaining} remaining")
    }
}

/// Why a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeError {
    /// What was wrong.
    pub kind: EncodeErrorKind,
    /// The message being written, empty if a primitive was written by itself.
    pub message: &'static str,
    /// The version in which it was written.
    pub version: i16,
}

/// The ways in which a message can be wrong for a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodeErrorKind {
    /// A value that cannot be left out is set in a version that lacks its field.
    #[error("{0} is set, but the version lacks it: leave the default or use another version")]
    Lacks(&'static str),
    /// A null in a version that does not allow it.
    #[error("{0} is null, which this version does not allow")]
    Null(&'static str),
    /// A value is longer than its length field can say.
    #[error("{what} of {length} bytes or elements is too long")]
    Long {
        /// The kind of value.
        what: &'static str,
        /// Its length.
        length: usize,
    },
    /// The message has no such version.
    #[error("there is no such version")]
    Version,
}

impl std::error::Error for EncodeError {}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.message.is_empty() {
            write!(f, "{} version {}: ", self.message, self.version)?;
        }
        write!(f, "{}", self.kind)
    }
}
