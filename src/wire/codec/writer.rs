//! The writer: appends to a growing buffer and keeps the first error.

use super::{Element, EncodeError, EncodeErrorKind};
use crate::base::Uuid;
use crate::base::limits::{ERROR_TEXT_BYTES_MAX, MESSAGE_BYTES_MAX};

/// Appends values to a buffer. Writing cannot fail at once: the first error is kept, and what was written after it
/// is of no use. [`Writer::check`] and [`Writer::finish`] give it.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    buffer: Vec<u8>,
    error: Option<EncodeError>,
}

/// Where the count of a struct's tagged fields stands, or the size of one of them.
#[derive(Clone, Copy, Debug)]
pub struct TagsAt(usize);

macro_rules! numbers {
    ($($method:ident: $type:ty, $text:literal;)*) => {$(
        #[doc = concat!("A big-endian ", $text, ".")]
        #[inline]
        pub fn $method(&mut self, value: $type) {
            self.buffer.extend_from_slice(&value.to_be_bytes());
        }
    )*};
}

impl Writer {
    /// A writer with an empty buffer.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// A writer that appends to `buffer`.
    pub fn with_buffer(buffer: Vec<u8>) -> Writer {
        Writer { buffer, error: None }
    }

    /// Whether a message may be as long as this one would be with `more` bytes; if not, that is its error, and nothing
    /// more is to be written.
    #[inline]
    fn has_room(&mut self, more: usize) -> bool {
        let length = self.buffer.len() + more;
        if length > MESSAGE_BYTES_MAX {
            self.fail(EncodeErrorKind::Long { what: "a message", length });
        }
        length <= MESSAGE_BYTES_MAX
    }

    /// The buffer, or the first error.
    pub fn finish(mut self) -> Result<Vec<u8>, EncodeError> {
        self.has_room(0);
        match self.error {
            None => Ok(self.buffer),
            Some(error) => Err(error),
        }
    }

    /// The first error, if there was one.
    pub fn check(&self) -> Result<(), EncodeError> {
        self.error.map_or(Ok(()), Err)
    }

    /// Bytes in the buffer.
    pub fn position(&self) -> usize {
        self.buffer.len()
    }

    /// What stands in the buffer. It is of no use after an error.
    pub fn written(&self) -> &[u8] {
        &self.buffer
    }

    /// Overwrites an int32 at `at`, a position of an int32 written before.
    pub fn patch_i32(&mut self, at: usize, value: i32) {
        self.buffer[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// Overwrites the int32 at `at` with the number of bytes behind it: the length of a frame.
    pub fn patch_length(&mut self, at: usize) {
        let length = self.buffer.len() - at - 4;
        match i32::try_from(length) {
            Ok(length) => self.patch_i32(at, length),
            Err(_) => self.fail(EncodeErrorKind::Long { what: "a frame", length }),
        }
    }

    /// Keeps an error, unless there is one.
    #[cold]
    pub fn fail(&mut self, kind: EncodeErrorKind) {
        self.error.get_or_insert(EncodeError { kind, message: "", version: -1 });
    }

    /// Puts the message's name into an error that has none.
    pub(super) fn name_error(&mut self, message: &'static str, version: i16) {
        if let Some(error) = self.error.as_mut().filter(|e| e.message.is_empty()) {
            error.message = message;
            error.version = version;
        }
    }

    /// Fails if `set`: the version lacks a field, which has a value that must not be lost.
    #[inline]
    pub fn lacks(&mut self, set: bool, field: &'static str) {
        if set {
            self.fail(EncodeErrorKind::Lacks(field));
        }
    }

    numbers! {
        i8: i8, "int8";
        i16: i16, "int16";
        i32: i32, "int32";
        i64: i64, "int64";
        u16: u16, "uint16";
        u32: u32, "uint32";
        f64: f64, "float64";
    }

    /// A bool: one byte, 0 or 1.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.buffer.push(u8::from(value));
    }

    /// Sixteen bytes.
    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.extend_from_slice(&value.0);
    }

    /// Bytes as they are.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// An unsigned varint.
    #[inline]
    pub fn uvarint(&mut self, value: u32) {
        if value < 0x80 {
            self.buffer.push(value as u8);
        } else {
            self.varint_bits(u64::from(value));
        }
    }

    /// A zigzag varint of 32 bits.
    #[inline]
    pub fn varint(&mut self, value: i32) {
        self.uvarint(((value << 1) ^ (value >> 31)) as u32);
    }

    /// A zigzag varint of 64 bits.
    #[inline]
    pub fn varlong(&mut self, value: i64) {
        self.varint_bits(((value << 1) ^ (value >> 63)) as u64);
    }

    fn varint_bits(&mut self, mut bits: u64) {
        let mut bytes = [0; 10];
        let mut length = 0;
        while bits >= 0x80 {
            bytes[length] = bits as u8 | 0x80;
            bits >>= 7;
            length += 1;
        }
        bytes[length] = bits as u8;
        self.buffer.extend_from_slice(&bytes[..=length]);
    }

    /// A length or count, as [`super::Reader`] reads it.
    #[inline]
    fn length(&mut self, flex: bool, length: usize, what: &'static str) {
        match i32::try_from(length) {
            Ok(length) if flex => self.uvarint(length as u32 + 1),
            Ok(length) => self.i32(length),
            Err(_) => self.fail(EncodeErrorKind::Long { what, length }),
        }
    }

    /// A null of a string (`short`), of bytes or of an array.
    #[inline]
    fn null(&mut self, flex: bool, short: bool) {
        match (flex, short) {
            (true, _) => self.buffer.push(0),
            (false, true) => self.i16(-1),
            (false, false) => self.i32(-1),
        }
    }

    #[inline]
    fn allowed(&mut self, null: bool, null_allowed: bool, field: &'static str) {
        if null && !null_allowed {
            self.fail(EncodeErrorKind::Null(field));
        }
    }

    /// A string, in a flexible version (`flex`) a compact one; at most 32767 bytes.
    pub fn string(&mut self, flex: bool, value: &str) {
        match i16::try_from(value.len()) {
            Ok(length) if flex => self.uvarint(length as u32 + 1),
            Ok(length) => self.i16(length),
            Err(_) => self.fail(EncodeErrorKind::Long { what: "a string", length: value.len() }),
        }
        self.buffer.extend_from_slice(value.as_bytes());
    }

    /// A string or null.
    pub fn nullable_string(&mut self, flex: bool, value: Option<&str>) {
        match value {
            Some(value) => self.string(flex, value),
            None => self.null(flex, true),
        }
    }

    /// A text about an error, or null: the end is cut off where it is too long, as it may repeat what a client sent.
    pub fn error_text(&mut self, flex: bool, text: Option<&str>) {
        let cut = |text: &str| text.floor_char_boundary(ERROR_TEXT_BYTES_MAX);
        self.nullable_string(flex, text.map(|text| &text[..cut(text)]));
    }

    /// A string, or null if the version allows it.
    pub fn maybe_string(&mut self, flex: bool, value: Option<&str>, null_allowed: bool, field: &'static str) {
        self.allowed(value.is_none(), null_allowed, field);
        self.nullable_string(flex, value);
    }

    /// Bytes with a length in front.
    pub fn bytes(&mut self, flex: bool, value: &[u8]) {
        self.length(flex, value.len(), "bytes");
        if self.has_room(value.len()) {
            self.buffer.extend_from_slice(value);
        }
    }

    /// Bytes or null.
    pub fn nullable_bytes(&mut self, flex: bool, value: Option<&[u8]>) {
        match value {
            Some(value) => self.bytes(flex, value),
            None => self.null(flex, false),
        }
    }

    /// Bytes, or null if the version allows it.
    pub fn maybe_bytes(&mut self, flex: bool, value: Option<&[u8]>, null_allowed: bool, field: &'static str) {
        self.allowed(value.is_none(), null_allowed, field);
        self.nullable_bytes(flex, value);
    }

    /// An array's count.
    #[inline]
    pub fn count(&mut self, flex: bool, count: usize) {
        self.length(flex, count, "an array");
    }

    /// An array.
    pub fn array<'a, T: Element<'a>>(&mut self, flex: bool, value: &[T], version: i16) {
        self.count(flex, value.len());
        for element in value {
            element.put(self, version);
            if !self.has_room(0) {
                return;
            }
        }
    }

    /// An array or null.
    pub fn nullable_array<'a, T: Element<'a>>(&mut self, flex: bool, value: Option<&[T]>, version: i16) {
        match value {
            Some(value) => self.array(flex, value, version),
            None => self.null(flex, false),
        }
    }

    /// An array, or null if the version allows it.
    pub fn maybe_array<'a, T: Element<'a>>(
        &mut self,
        flex: bool,
        value: Option<&[T]>,
        version: i16,
        null_allowed: bool,
        field: &'static str,
    ) {
        self.allowed(value.is_none(), null_allowed, field);
        self.nullable_array(flex, value, version);
    }

    /// An array of strings.
    pub fn strings(&mut self, flex: bool, value: &[&str]) {
        self.count(flex, value.len());
        for string in value {
            self.string(flex, string);
            if !self.has_room(0) {
                return;
            }
        }
    }

    /// An array of strings, or null.
    pub fn nullable_strings(&mut self, flex: bool, value: Option<&[&str]>) {
        match value {
            Some(value) => self.strings(flex, value),
            None => self.null(flex, false),
        }
    }

    /// An array of strings, or null if the version allows it.
    pub fn maybe_strings(
        &mut self,
        flex: bool,
        value: Option<&[&str]>,
        null_allowed: bool,
        field: &'static str,
    ) {
        self.allowed(value.is_none(), null_allowed, field);
        self.nullable_strings(flex, value);
    }

    /// A struct or null: an int8 in front, -1 for null.
    pub fn nullable_struct<'a, T: Element<'a>>(&mut self, value: Option<&T>, version: i16) {
        self.i8(if value.is_some() { 1 } else { -1 });
        if let Some(value) = value {
            value.put(self, version);
        }
    }

    /// A struct or null as the value of a tagged field: an unsigned varint in front, zero for null.
    pub fn tagged_struct<'a, T: Element<'a>>(&mut self, value: Option<&T>, version: i16) {
        self.uvarint(u32::from(value.is_some()));
        if let Some(value) = value {
            value.put(self, version);
        }
    }

    /// Opens the tagged fields at a struct's end; a struct that has none is done with this.
    #[inline]
    pub fn tags(&mut self) -> TagsAt {
        self.buffer.push(0);
        TagsAt(self.buffer.len() - 1)
    }

    /// A tagged field, whose value `put` writes. Tags are written in rising order, at most 127 of them.
    #[inline]
    pub fn tag(&mut self, tags: TagsAt, tag: u32, put: impl FnOnce(&mut Self)) {
        self.buffer[tags.0] += 1;
        self.uvarint(tag);
        self.buffer.push(0);
        let start = self.buffer.len();
        put(self);
        self.close_tag(start);
    }

    /// Writes the size of the value that began at `start` into the byte before it, and makes room if one byte is
    /// not enough.
    fn close_tag(&mut self, start: usize) {
        let size = self.buffer.len() - start;
        if size < 0x80 {
            self.buffer[start - 1] = size as u8;
            return;
        }
        match u32::try_from(size) {
            Ok(size) => self.uvarint(size),
            Err(_) => self.fail(EncodeErrorKind::Long { what: "a tagged field", length: size }),
        }
        // The size stands behind the value now: rotate it to the front, over the byte that was kept free.
        let size_bytes = self.buffer.len() - start - size;
        self.buffer[start..].rotate_right(size_bytes);
        self.buffer.remove(start - 1);
    }
}
